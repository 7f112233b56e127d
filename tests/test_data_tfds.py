"""Datasets of TensorFlow Datasets, prepared and read without TensorFlow."""

import io
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import registered

from ganjax.data import Tfds
from ganjax.ground.errors import UserError

SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"

# Preparing, which is TFDS's work and not ours, warns of its own deprecated imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def prepare(
    data_dir: pathlib.Path,
    name: str,
    features: dict[str, Any],
    splits: dict[str, list[dict[str, Any]]],
) -> None:
    """Writes a TFDS dataset. Images must be Pillow's or bytes: TFDS encodes arrays with TensorFlow."""

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def split_generators(self, download_manager):
        del download_manager
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def generate_examples(self, examples):
        yield from enumerate(examples)

    methods = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": split_generators,
        "_generate_examples": generate_examples,
    }
    with registered.skip_registration():
        builder = type(name, (tfds.core.GeneratorBasedBuilder,), methods)(
            data_dir=str(data_dir), file_format="array_record"
        )
        builder.download_and_prepare()


def noise(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def examples(images: np.ndarray, **columns: Any) -> list[dict[str, Any]]:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] or [{}] * len(
        images
    )
    squeezed = images[..., 0] if images.shape[-1] == 1 else images
    return [{"image": Image.fromarray(image)} | row for image, row in zip(squeezed, rows, strict=True)]


IMAGE = tfds.features.Image(shape=(8, 8, 3))
LABEL = tfds.features.ClassLabel(names=["cat", "dog"])


def by_label(arrays: dict[str, np.ndarray]) -> list[tuple[int, bytes]]:
    """TFDS shuffles when it writes, so records are compared as a set."""
    return sorted(
        (int(label), image.tobytes()) for image, label in zip(arrays["images"], arrays["labels"], strict=True)
    )


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    data_dir = tmp_path_factory.mktemp("tfds")
    images, labels = noise(12), [0, 1] * 6
    prepare(
        data_dir,
        "Pets",
        {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()},
        {
            "train": examples(images, label=labels, note=["…"] * 12),
            "test": examples(images[:3], label=[-1] * 3, note=[""] * 3),
        },
    )
    return data_dir


def test_images_labels_and_names(pets: pathlib.Path) -> None:
    source = Tfds("pets", data_dir=pets).open()
    assert (len(source), source.image_shape, source.class_names) == (12, (8, 8, 3), ("cat", "dog"))
    arrays = source.load()
    assert arrays["labels"].dtype == np.int32
    assert by_label(arrays) == by_label({"images": noise(12), "labels": np.array([0, 1] * 6)})
    assert source[4]["labels"] == arrays["labels"][4]
    np.testing.assert_array_equal(source[4]["images"], arrays["images"][4])


def test_a_source_can_be_sent_to_another_process(pets: pathlib.Path) -> None:
    source = Tfds("pets", data_dir=pets).open()
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[11]["images"], source[11]["images"])


def test_parts_of_a_split_and_other_sizes(pets: pathlib.Path) -> None:
    source = Tfds("pets", split="train[:50%]", data_dir=str(pets), size=(4, 6), channels=1).open()
    assert len(source) == 6
    assert source.load()["images"].shape == (6, 4, 6, 1)
    with pytest.raises(UserError, match=r"record 0 of pets/train is 8x8 pixels, smaller than the 9x9"):
        Tfds("pets", data_dir=pets, size=9).open().load()


def test_reading_does_not_import_tensorflow(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    # A TensorFlow that is installed, and that cannot be imported without being noticed.
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise AssertionError('TensorFlow was imported')")
    program = f"""
import importlib.util, sys
sys.path.insert(0, {str(tmp_path)!r})
assert importlib.util.find_spec("tensorflow").origin.startswith({str(tmp_path)!r})
from ganjax.data import Tfds
assert len(Tfds("pets", data_dir={str(pets)!r}).open().load()["images"]) == 12
assert "tensorflow" not in sys.modules
"""
    repository = pathlib.Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_features_are_chosen_by_kind(tmp_path: pathlib.Path) -> None:
    grey = tfds.features.Image(shape=(None, None, 1))
    images = [{"picture": Image.fromarray(image[:, :, 0])} for image in noise(4)]
    prepare(tmp_path, "Greys", {"picture": grey}, {"train": images})
    source = Tfds("greys", data_dir=tmp_path, size=8).open()
    assert (source.image_shape, source.num_classes) == ((8, 8, 1), 0)
    assert sorted(image.tobytes() for image in source.load()["images"]) == sorted(
        image[:, :, :1].tobytes() for image in noise(4)
    )
    with pytest.raises(UserError, match="images of many sizes and none was asked for: set size"):
        Tfds("greys", data_dir=tmp_path).open()

    many = {"left": IMAGE, "right": IMAGE, "fine": LABEL, "coarse": LABEL}
    pair = [{"left": Image.new("RGB", (8, 8)), "right": Image.new("RGB", (8, 8), "white"), "fine": 1, "coarse": 0}]
    prepare(tmp_path, "Pairs", many, {"train": pair})
    with pytest.raises(UserError, match=r"pairs: image_key is not set .*choose among \['left', 'right'\]"):
        Tfds("pairs", data_dir=tmp_path).open()
    with pytest.raises(UserError, match=r"label_key is 'nope', expected a ClassLabel feature.*\['coarse', 'fine'\]"):
        Tfds("pairs", data_dir=tmp_path, image_key="right", label_key="nope").open()
    record = Tfds("pairs", data_dir=tmp_path, image_key="right", label_key="fine").open()[0]
    assert record["labels"] == 1
    assert record["images"].min() == 255


def test_16_bit_images(tmp_path: pathlib.Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 257 * 200, np.uint16)).save(file, "PNG")
    deep = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16)
    prepare(tmp_path, "Deep", {"image": deep}, {"train": [{"image": file.getvalue()}]})
    np.testing.assert_array_equal(Tfds("deep", data_dir=tmp_path).open()[0]["images"], np.full((8, 8, 1), 200))


def test_mistakes(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    prepare(tmp_path, "Words", {"text": tfds.features.Text()}, {"train": [{"text": "…"}]})
    # As if it had been written for TensorFlow, which only TensorFlow can do.
    prepare(tmp_path, "Records", {"image": IMAGE}, {"train": examples(noise(2))})
    info = tmp_path / "records" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    for dataset, message in {
        Tfds("cifra10", data_dir=pets): "no dataset 'cifra10' .*did you mean .*cifar10",
        Tfds("q" * 20, data_dir=pets): "no dataset 'qqq.*tensorflow.org/datasets/catalog",
        Tfds("mnist:9.9.9", data_dir=pets): "dataset 'mnist:9.9.9' cannot be opened: .*3.0.1",
        Tfds("https://x", data_dir=pets): "dataset 'https://x' cannot be opened",
        Tfds("pets", split="trian", data_dir=pets): r"has no split 'trian' .*choose among \['test', 'train'\]",
        Tfds("pets", split="train[:0]", data_dir=pets): r"split 'train\[:0\]' of pets is empty",
        Tfds("words", data_dir=tmp_path): r"words has no image among its features \['text'\]",
        Tfds("records", data_dir=tmp_path): "is stored as tfrecord, expected array_record",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            dataset.open()
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"record 0 of pets/test has label -1, not one of 2 classes"):
        Tfds("pets", split="test", data_dir=pets).open().load()


def test_what_cannot_be_prepared_here_says_how(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fail(self, **options):
        asked.update(options)
        raise ImportError("Failed importing tensorflow.\nMore lines.")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=r"mnist is not prepared in .*pip install 'ganjax\[tfds\]'") as caught:
        Tfds("mnist", data_dir=tmp_path).open()
    assert "\n" not in str(caught.value)
    assert asked["file_format"] == "array_record"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the folder of shared data is not beside the repository")
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_real_images_through_tfds(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED_DATA))
    load = pytest.importorskip("load", reason="the loader of the shared data is absent")
    monkeypatch.delitem(sys.modules, "load")
    images, labels = (array[:200] for array in getattr(load, name)())
    features = {"image": tfds.features.Image(shape=images.shape[1:]), "label": tfds.features.ClassLabel(num_classes=10)}
    prepare(tmp_path, "RealImages", features, {"train": examples(images, label=labels.tolist())})
    source = Tfds("real_images", data_dir=tmp_path).open()
    assert source.image_shape == images.shape[1:]
    assert source.num_classes == 10
    assert by_label(source.load()) == by_label({"images": images, "labels": labels})


@pytest.fixture(scope="module")
def div2k(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """As the catalogue's div2k: photos of many sizes, and each at half its size."""
    folder = tmp_path_factory.mktemp("div2k")
    photos = [noise(1, height, width)[0].repeat(2, axis=0).repeat(2, axis=1) for height, width in ((8, 9), (12, 7))]
    any_size = tfds.features.Image(shape=(None, None, 3))
    rows = [{"hr": Image.fromarray(photo), "lr": Image.fromarray(photo[::2, ::2])} for photo in photos]
    prepare(folder, "enlarging", {"hr": any_size, "lr": any_size}, {"train": rows})
    return folder


def test_an_image_to_start_from_and_crops_of_both(div2k: pathlib.Path) -> None:
    dataset = Tfds(
        "enlarging", data_dir=div2k, image_key="hr", input_key="lr", size=8, input_size=4, crop_from="original"
    )
    source = pickle.loads(pickle.dumps(dataset.open()))
    assert (source.image_shape, source.input_shape, source.draws) == ((8, 8, 3), (4, 4, 3), True)
    for place in ((0.0, 0.0), (0.5, 0.99), (0.99, 0.3)):
        record = source.shown(1, place)
        np.testing.assert_array_equal(record["images"][::2, ::2], record["inputs"])
    corner, other = source.shown(0, (0.0, 0.0)), source.shown(0, (0.0, 0.99))
    assert (corner["images"] != other["images"]).any()
    with pytest.raises(UserError, match=r"input_key is 'low', expected a Image feature: choose among \['hr', 'lr'\]"):
        Tfds("enlarging", data_dir=div2k, image_key="hr", input_key="low", size=8, input_size=4).open()
    with pytest.raises(UserError, match=r"images of many sizes and none was asked for: set input_size, such as 64"):
        Tfds("enlarging", data_dir=div2k, image_key="hr", input_key="lr", size=8).open()
