"""The command trains on real images, grey and colour, from an .npz and from a TFDS directory in ArrayRecord form."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from test_data_tfds import SHARED_DATA, examples, prepare

from ganjax.cli import main

CONFIGS = Path(__file__).parent.parent / "configs"
RUNS = {
    "fashion_mnist": ["dcgan_fashion_mnist.py", "--features", "4"],
    "cifar10": ["r3gan_cifar10.py", "--width", "8", "--dtype", "float32", "--augmentation", "0"],
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TFDS's own, when it prepares
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the folder of shared data is not beside the repository"),
]


@pytest.mark.parametrize("name", RUNS)
def test_real_images_train_from_npz_and_from_tfds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED_DATA))
    load = pytest.importorskip("load", reason="the loader of the shared data is absent")
    monkeypatch.delitem(sys.modules, "load")
    images, labels = (array[:64] for array in getattr(load, name)())
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    features = {"image": tfds.features.Image(shape=images.shape[1:]), "label": tfds.features.ClassLabel(num_classes=10)}
    prepare(tmp_path / "tfds", "RealImages", features, {"train": examples(images, label=labels.tolist())})
    config, *flags = RUNS[name]
    flags += ["--batch-size", "8", "--run.total-images", "16", "--run.log-every", "8", "--run.num-samples", "10"]
    places = {
        "npz": ["--path", str(tmp_path / "images.npz")],
        "tfds": ["--data.name", "real_images", "--data.data-dir", str(tmp_path / "tfds")],
    }
    for kind, place in places.items():
        workdir = tmp_path / "runs" / kind
        assert main(["train", str(CONFIGS / config), "--workdir", str(workdir), *flags, *place]) == 0
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        assert [line["images"] for line in lines] == [8, 16]
        assert all(math.isfinite(value) for line in lines for value in line.values())
