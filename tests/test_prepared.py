"""Prepared datasets: the same batches as of the dataset itself, written so that it can go on, and runs on them."""

import dataclasses
import itertools
import json
import pathlib
import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest
from etils import epath
from PIL import Image

from ganjax import GAN, Config, Run, UserError
from ganjax.cli import main
from ganjax.data import FewLabels, Folder, Latents, Npz, Pairs, Prepared, Unpaired, open_feed, open_stored
from ganjax.data.crops import CropFrom
from ganjax.data.source import ArraySource, Dataset
from ganjax.models import mlp
from ganjax.runs.identity import changes_since, check_identity, identify
from ganjax.runs.preparing import dataset_of, prepare
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

NETWORKS: dict[str, Any] = {"image_shape": (8, 8, 3), "hidden": (4,)}
GAN_OF_EIGHT = GAN(
    generator=mlp.Generator(**NETWORKS, latent_size=4),
    discriminator=mlp.Discriminator(**NETWORKS),
    generator_optimizer=optax.sgd(1e-2),
    discriminator_optimizer=optax.sgd(1e-2),
)
RUN = Run(batch_size=4, total_images=4, log_every=4, sample_every=4, checkpoint_every=4)


def config_of(dataset: Dataset, **run: Any) -> Config:
    return Config(gan=GAN_OF_EIGHT, data=dataset, run=dataclasses.replace(RUN, **run))


def write_pictures(folder: pathlib.Path, count: int, side: int, *, classes: bool = True) -> pathlib.Path:
    for index in range(count):
        place = folder / ("cats", "dogs")[index % 2] if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (side, side + 4 * (side // 8), 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{index:02}.png")
    return folder


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    top = tmp_path_factory.mktemp("prepared")
    write_pictures(top / "photos", 10, 16)
    write_pictures(top / "small", 10, 8)
    write_pictures(top / "paintings", 7, 16, classes=False)
    rng = np.random.default_rng(0)
    np.savez(
        top / "arrays.npz",
        images=rng.integers(0, 256, (9, 8, 8, 3), np.uint8),
        inputs=rng.integers(0, 256, (9, 4, 4, 1), np.uint8),
        attributes=rng.random((9, 3), np.float32),
        attribute_names=np.array(["a", "b", "c"]),
    )
    return top


def datasets(top: pathlib.Path) -> dict[str, Dataset]:
    folder = Folder(top / "photos", size=8, mirror=True)
    crops: dict[str, CropFrom] = {"crop_from": (12, 14)}
    pairs = Pairs(top / "photos", inputs=top / "small", size=8, input_size=4, mirror=True)
    return {
        "folder": folder,
        "grey": Folder(top / "paintings", size=(8, 12), channels=1),
        "crops": dataclasses.replace(folder, **crops),
        "pairs": pairs,
        "crops of pairs": dataclasses.replace(pairs, **crops),
        "unpaired": Unpaired(folder, Folder(top / "paintings", size=16, mirror=True)),
        "crops of one unpaired": Unpaired(
            dataclasses.replace(folder, **crops), Folder(top / "paintings", 8, mirror=True)
        ),
        "arrays": Npz(top / "arrays.npz"),
        "few labels": FewLabels(folder, num=4),
    }


def batches(dataset: Dataset, resident: Any) -> list[dict[str, np.ndarray]]:
    """Those of a little more than an epoch."""
    feed = open_feed(dataset.open(), seed=3, rows_per_step=4, mirror=dataset.mirror, resident=resident)
    with feed.iterate(0) as inputs:
        return [
            {key: np.asarray(value) for key, value in feed.batch(feed.arrays, step).items()}
            for step in itertools.islice(inputs, 6)
        ]


@pytest.mark.parametrize("kind", datasets(pathlib.Path()))
def test_batches_are_those_of_the_dataset(kind: str, top: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dataset = datasets(top)[kind]
    prepare(config_of(dataset), epath.Path(tmp_path / "out"), records=4)
    prepared = Prepared(tmp_path / "out")
    before, after = dataset.open(), pickle.loads(pickle.dumps(prepared.open()))
    for name in ("image_shape", "input_shape", "class_names", "num_attributes", "attribute_names", "draws", "fields"):
        assert getattr(before, name) == getattr(after, name), name
    assert (len(before), prepared.mirror) == (len(after), dataset.mirror)
    assert identify(before) == identify(after)
    for resident in ("stream",) if before.draws else ("stream", "device"):
        for one, other in zip(batches(dataset, resident), batches(prepared, resident), strict=True):
            jax.tree.map(np.testing.assert_array_equal, one, other)


CONFIG = '''
"""An MLP on a folder."""

from pathlib import Path

from ganjax import GAN, Adam, Config, Run
from ganjax.data import Folder
from ganjax.models import mlp


def config(*, path: Path, size: int = 8) -> Config:
    """An MLP on a folder."""
    networks = {"image_shape": (size, size, 3), "num_classes": 2, "hidden": (4,)}
    gan = GAN(
        generator=mlp.Generator(**networks, latent_size=4),
        discriminator=mlp.Discriminator(**networks),
        generator_optimizer=Adam(1e-2),
        discriminator_optimizer=Adam(1e-2),
    )
    run = Run(batch_size=8, total_images=32, log_every=8, sample_every=32, checkpoint_every=16, num_samples=4)
    return Config(gan=gan, data=Folder(path, size=size, mirror=True), run=run)
'''


@pytest.fixture(scope="module")
def command(top: pathlib.Path) -> list[str]:
    """A config on the photos, prepared in three files in ``top / "out"`` by the command line."""
    (top / "own.py").write_text(CONFIG)
    command = [str(top / "own.py"), "--path", str(top / "photos")]
    assert main(["data", "prepare", command[0], "--out", str(top / "out"), "--records", "4", "--", *command[1:]]) == 0
    return command


def test_a_run_goes_on_with_what_was_prepared(top: pathlib.Path, command: list[str], tmp_path: pathlib.Path) -> None:
    """Bit for bit, the photos themselves being gone."""
    assert main(["train", *command, "--workdir", str(tmp_path / "whole")]) == 0
    assert main(["train", *command, "--workdir", str(tmp_path / "parts"), "--run.total-images", "16"]) == 0
    elsewhere = ["--path", str(tmp_path / "gone"), "--run.prepared", str(top / "out")]
    assert main(["train", command[0], *elsewhere, "--workdir", str(tmp_path / "parts")]) == 0
    whole, parts = (
        restore_state(load_workdir(epath.Path(tmp_path / name)), epath.Path(tmp_path / name))
        for name in ("whole", "parts")
    )
    assert int(parts.step) == 4
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_preparing_goes_on(top: pathlib.Path, command: list[str], tmp_path: pathlib.Path, capsys: Any) -> None:
    def again(*flags: str) -> str:
        code = main(["data", "prepare", *command, "--out", str(out), "--records", "4", *flags])
        return "" if code == 0 else capsys.readouterr().err

    out = tmp_path / "out"
    for file in (top / "out").iterdir():
        out.mkdir(exist_ok=True)
        (out / file.name).write_bytes(file.read_bytes())
    files = sorted(out.glob("*.npz"))
    assert [file.name for file in files] == [f"images-{number:05}-of-00003.npz" for number in range(3)]
    whole, index = [file.read_bytes() for file in files], (out / "prepared.json").read_text()
    files[0].unlink()
    files[1].write_bytes(whole[1][:-200])
    with pytest.raises(UserError, match=r"lacks images-00000-of-00003.npz, .* \(2 of 3\): run `ganjax data prepare`"):
        Prepared(out).open()
    (out / "prepared.json").unlink()
    with pytest.raises(UserError, match=f"{out} is not finished; expected what `ganjax data prepare CONFIG --out"):
        Prepared(out).open()
    kept = files[2].stat().st_mtime_ns
    assert again() == ""
    assert [file.read_bytes() for file in files] == whole
    assert (files[2].stat().st_mtime_ns, (out / "prepared.json").read_text()) == (kept, index)
    shown = capsys.readouterr().out
    assert "10 images of 8x8x3" in shown
    assert f"--run.prepared {out}, or with data=Prepared('{out}')" in shown
    assert f"{out} was begun with other data" in again("--data.channels", "1")
    assert f"{out} was begun with other records ([4] -> [5])" in again("--records", "5")
    assert f"{out} was begun with other images; give the same" in again("--path", str(top / "small"))
    assert "--records is 0; expected" in again("--records", "0")
    files[1].write_bytes(whole[1][:-200] + bytes(200))  # as long as it was
    with pytest.raises(UserError, match=r"images-00001-of-00003.npz cannot be read \(.*\): run `ganjax data prepare`"):
        Prepared(out).open().load()
    assert again() == ""
    assert files[1].read_bytes() == whole[1]


def test_what_cannot_be_meant(top: pathlib.Path, command: list[str], tmp_path: pathlib.Path, capsys: Any) -> None:
    out = top / "out"
    config = config_of(Folder(top / "photos", size=8, mirror=True), prepared=str(out))
    assert isinstance(dataset_of(config), Prepared)
    larger = dataclasses.replace(config, data=Folder(top / "photos", size=16))
    with pytest.raises(UserError, match=r"was prepared with data.size 8, and here it is 16; give the same"):
        dataset_of(larger)
    with pytest.raises(UserError, match=r"was prepared with data.path None|was prepared with data.type Folder"):
        dataset_of(dataclasses.replace(config, data=Npz(top / "arrays.npz")))
    with pytest.raises(
        UserError, match=f"{out} holds what `ganjax data prepare` has written: give it as --run.prepared"
    ):
        Folder(out, size=8).open()
    assert open_stored(out).image_shape == (8, 8, 3)  # as --real of `ganjax evaluate`
    with pytest.raises(UserError, match=f"{out} holds no latents; expected"):
        Latents(out).open()
    with pytest.raises(UserError, match=f"{tmp_path} holds no prepared dataset; expected what"):
        _ = Prepared(tmp_path).mirror
    crops = Folder(top / "photos", size=8, crop_from="original")
    with pytest.raises(
        UserError, match=r"crop_from is 'original', and the pictures of .* need not have one size, .* 16"
    ):
        prepare(config_of(crops), epath.Path(tmp_path / "crops"))
    with pytest.raises(UserError, match=f"--out {top / 'photos'} holds something else already"):
        prepare(config_of(crops.__class__(top / "photos", size=8)), epath.Path(top / "photos"))
    assert not (tmp_path / "crops").exists()
    with pytest.raises(UserError, match=r"arrays has images of float16; expected pictures \(uint8\), labels"):
        prepare(config_of(_Floats()), epath.Path(tmp_path / "floats"))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for change in ({"parts": []}, {"image_shape": [8, 8]}, {"more": 1}):
        content = json.loads((out / "prepared.json").read_text()) | change
        (damaged / "prepared.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"prepared.json is damaged .* prepare it anew, or copy it again"):
            Prepared(damaged).open()
    assert main(["data", "prepare"]) == 2
    assert "no config named; expected `ganjax data prepare CONFIG --out FOLDER`" in capsys.readouterr().err
    assert main(["data", "paint"]) == 2
    assert "unknown action 'paint' of `ganjax data`; expected preview, prepare or encode" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class _Floats:
    mirror: bool = False

    def open(self) -> ArraySource:
        """Of a kind that no picture has."""
        source = ArraySource(np.zeros((4, 8, 8, 3), np.uint8))
        fields = {"images": source.fields["images"]._replace(dtype=np.float16)}
        source.__class__ = type("Floats", (ArraySource,), {"fields": property(lambda self: fields)})
        return source


def test_other_images_than_a_run_learns_from_are_told(top: pathlib.Path, command: Any, tmp_path: pathlib.Path) -> None:
    prepare(config_of(Folder(top / "small", size=8)), epath.Path(tmp_path / "other"))
    workdir = epath.Path(tmp_path)
    check_identity(workdir, Folder(top / "photos", size=8).open())
    assert changes_since(workdir, Prepared(top / "out").open()) == []
    assert changes_since(workdir, Prepared(tmp_path / "other").open()) == [
        f"record 0 of {tmp_path / 'other'} has changed"
    ]


def test_what_cannot_be_read_is_what_a_run_makes_of_it(top: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_pictures(tmp_path / "photos", 6, 8, classes=False)
    damaged = tmp_path / "photos" / "03.png"
    damaged.write_bytes(damaged.read_bytes()[:150])
    dataset = Folder(tmp_path / "photos", size=8)
    with pytest.raises(UserError, match=r"03.png cannot be read as an image"):
        prepare(config_of(dataset), epath.Path(tmp_path / "out"))
    prepare(config_of(dataset, unreadable="replace"), epath.Path(tmp_path / "out"))
    source = Prepared(tmp_path / "out").open()
    np.testing.assert_array_equal(source[3]["images"], dataset.open()[4]["images"])


def test_jpegs_are_decoded_at_a_reduced_scale_where_that_is_twice_the_size(tmp_path: pathlib.Path) -> None:
    rows, columns = np.mgrid[:160, :256]
    waves = [128 + 100 * np.sin(rows / 5) * np.cos(columns / length) for length in (7, 8, 9)]
    smooth = np.stack(waves, -1).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, options in {"a.jpg": {}, "b.jpg": {"exif": turned}, "c.png": {}, "d.webp": {"lossless": True}}.items():
        Image.fromarray(smooth).save(tmp_path / name, **options)

    def read(size: Any, **options: Any) -> np.ndarray:
        return Folder(tmp_path, size=size, **options).open().load()["images"].astype(int)

    for size in (16, (20, 32), 40):
        plain, reduced = read(size), read(size, decode_reduced=True)
        differs = np.abs(plain - reduced)
        assert (differs.reshape(4, -1).max(1) > 0).tolist() == [True, True, False, False]
        assert differs.max() <= 8
    np.testing.assert_array_equal(read(41), read(41, decode_reduced=True))  # half of it would be too small
    with pytest.raises(UserError, match="decode_reduced is True and crop_from 'original'"):
        read(16, decode_reduced=True, crop_from="original")
