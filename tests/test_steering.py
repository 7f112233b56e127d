"""`ganjax interpolate`, `mix`, `steer`, `project`, and `sample` by seeds."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax import init, load_config
from ganjax.cli import main
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.workdir import claim
from ganjax.using.verifying import read_marks
from ganjax.using.watermark import Watermark

CONFIG = """
from ganjax import GAN, R1, Adam, Config, Run
from ganjax.data import Npz
from ganjax.models import mlp, stylegan2
from ganjax.using.guard import Guard, OwnCheck

def config(*, path: str, styled: bool = False, size: int = 3, guarded: bool = False):
    shape = (8, 8, 1)
    if styled:
        generator = stylegan2.Generator(shape, channel_base=32, channel_limit=4, latent_size=size, style_size=size,
                                        num_classes=2, num_mapping_layers=1, mixing=0.0)
    else:
        generator = mlp.Generator(image_shape=shape, hidden=(8,), num_classes=2, latent_size=size)
    gan = GAN(
        generator=generator,
        discriminator=mlp.Discriminator(image_shape=shape, hidden=(16,), num_classes=2),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    run = Run(batch_size=8, total_images=8, log_every=8, sample_every=1000, checkpoint_every=8, num_samples=4)
    dark = OwnCheck(name="dark", scores=lambda images: images.mean(axis=(1, 2, 3)), at_least=126.5)
    return Config(gan=gan, data=Npz(path), run=run, guard=Guard(checks=(dark,)) if guarded else None)
"""


def made(home: Path, name: str, *flags: str) -> Path:
    """A run of initial weights, for no step has to be compiled for that."""
    workdir, flags = epath.Path(home / name), ("--path", str(home / "x.npz"), *flags)
    config = load_config(home / "mine.py", flags)
    claim(workdir, epath.Path(home / "mine.py"), flags, config)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, jax.jit(init, static_argnums=0)(config.gan, jax.random.key(0)))
    return home / name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("steering")
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    np.savez(home / "x.npz", images=images, labels=np.arange(16) % 2)
    (home / "mine.py").write_text(CONFIG)
    return home


@pytest.fixture(scope="module")
def plain(home: Path) -> Path:
    """A run of a generator without styles."""
    return made(home, "plain")


@pytest.fixture(scope="module")
def styled(home: Path) -> Path:
    return made(home, "styled", "--styled", "True")


def call(verb: str, workdir: Path, out: Path | str, *flags: str) -> int:
    return main([verb, "--workdir", str(workdir), "--out", str(out), *flags])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")]
    return line


def test_seeds_are_first_samples_and_points_that_all_tools_take(plain: Path, tmp_path: Path) -> None:
    assert call("sample", plain, tmp_path / "seeds.npz", "--seeds", "5-6", "9", "--label", "1") == 0
    with np.load(tmp_path / "seeds.npz") as found:
        arrays = dict(found)
    assert arrays["seeds"].tolist() == [5, 6, 9]
    for row, seed in enumerate((5, 6, 9)):
        assert call("sample", plain, tmp_path / "one.npz", "--seed", str(seed), "--num", "1", "--label", "1") == 0
        with np.load(tmp_path / "one.npz") as one:
            np.testing.assert_array_equal(one["images"][0], arrays["images"][row])
    assert call("interpolate", plain, tmp_path / "way.npz", "--latents", f"{tmp_path}/seeds.npz", "--frames", "2") == 0
    with np.load(tmp_path / "way.npz") as way:
        np.testing.assert_array_equal(way["images"][::2], arrays["images"])
        np.testing.assert_allclose(way["latents"][::2], arrays["latents"], atol=1e-6)
        assert way["labels"].tolist() == [1] * 5
    assert call("sample", plain, tmp_path / "pictures", "--seeds", "3", "--truncations", "0.5", "1") == 0
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["seed000003-truncation0.5.png", "seed000003-truncation1.png"]
    asked = [_settings(tmp_path / "pictures" / name) for name in names]
    assert asked == ["truncation 0.5 (scale)", "truncation 1 (scale)"]
    assert call("sample", plain, tmp_path / "sheet.png", "--seeds", "3", "--truncations", "0.5", "1") == 0
    assert _settings(tmp_path / "sheet.png") == "; ".join(asked)


def _settings(path: Path) -> str | None:
    origin = read_marks(epath.Path(path), Watermark()).origin
    return origin and origin.get("settings")


def test_a_way_between_classes_leaves_as_a_strip_frames_and_films(plain: Path, tmp_path: Path) -> None:
    flags = ["--seeds", "1", "--labels", "0", "1", "--frames", "3"]
    for name in ("strip.png", "frames", "film.gif", "film.webp", "film.mp4"):
        assert call("interpolate", plain, tmp_path / name, *flags) == 0
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (2 + 4 * 50, 52)
    frames = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
    assert [frame.shape for frame in frames] == [(8, 8)] * 4
    with Image.open(tmp_path / "film.webp") as film:
        assert (film.n_frames, film.size) == (4, (128, 128))  # pyright: ignore[reportAttributeAccessIssue]
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 4


def test_layers_are_mixed_and_moved(styled: Path, tmp_path: Path) -> None:
    assert call("mix", styled, tmp_path / "mix.npz", "--rows", "0-1", "--columns", "5", "--layers", "2-3") == 0
    assert call("sample", styled, tmp_path / "s.npz", "--seeds", "0", "1", "5", "--label", "0") == 0
    with np.load(tmp_path / "mix.npz") as mix, np.load(tmp_path / "s.npz") as drawn:
        assert mix["labels"].tolist() == [0, 1]
        np.testing.assert_allclose(mix["styles"][0, :2], drawn["styles"][0, :2], atol=1e-6)
        np.testing.assert_allclose(mix["styles"][:, 2:], drawn["styles"][[2, 2], 2:], atol=1e-6)
    flags = ["--seeds", "0", "--labels", "0", "--num", "2", "--frames", "3", "--layers", "0"]
    for method in ("sefa", "pca"):
        out = tmp_path / f"{method}.npz"
        assert call("steer", styled, out, *flags, "--method", method) == 0
        with np.load(out) as steered:
            assert steered["images"].shape == (6, 8, 8, 1)
            step = 3 * steered["deviations"][:, None] * steered["directions"]
            moved = steered["styles"].reshape(2, 3, 4, 3)
            np.testing.assert_allclose(moved[:, 2] - moved[:, 1], np.stack([step, *[0 * step] * 3], 1), atol=1e-5)


def test_a_projected_picture_is_found_again(
    styled: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Samples of the run itself, whose class and latents are known."""
    assert call("sample", plain, tmp_path / "s.npz", "--seeds", "0-1") == 0
    flags = ["--inputs", str(tmp_path / "s.npz"), "--steps", "150"]
    capsys.readouterr()
    for name in ("p", "q"):
        assert (
            call("project", plain, tmp_path / f"{name}.npz", *flags, "--progress", str(tmp_path / f"{name}.png")) == 0
        )
    assert "1, class 1: distance 0.0" in capsys.readouterr().out
    with np.load(tmp_path / "s.npz") as drawn, np.load(tmp_path / "p.npz") as one, np.load(tmp_path / "q.npz") as two:
        assert one["labels"].tolist() == drawn["labels"].tolist()
        np.testing.assert_array_equal(one["latents"], two["latents"])  # to the bit
        assert one["distances"].shape == (150, 2)
        assert one["distances"][-1].max() < 0.01 * one["distances"][0].max()
        np.testing.assert_allclose(one["images"].astype(int), drawn["images"], atol=6)
    with Image.open(tmp_path / "p.png") as strip:  # the picture, and 8 frames
        assert strip.size == (2 + 9 * 50, 2 + 2 * 50)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "wide.png")
    (tmp_path / "few").mkdir()
    shutil.move(tmp_path / "wide.png", tmp_path / "few")
    (tmp_path / "few" / "notes.txt").write_text("")
    flags = [
        "--inputs",
        str(tmp_path / "few"),
        "--steps",
        "3",
        "--space",
        "w+",
        "--network",
        "pixels",
        "--skip-corrupt",
    ]
    assert call("project", styled, tmp_path / "w.npz", *flags, "--noise-maps") == 0
    with np.load(tmp_path / "w.npz") as found:
        assert found["styles"].shape == (1, 4, 3)
        assert found["names"].tolist() == ["wide.png"]
    assert call("mix", styled, tmp_path / "m.npz", "--latents", str(tmp_path / "w.npz"), "--columns", "1") == 0


def test_what_a_guard_refuses_is_grey_and_counted(
    home: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(plain, tmp_path / "run")
    (tmp_path / "run" / "overrides.json").write_text(f'["--path", "{home}/x.npz", "--guarded", "True"]')
    assert call("sample", plain, tmp_path / "all.npz", "--seeds", "0-9") == 0
    assert call("sample", tmp_path / "run", tmp_path / "some.npz", "--seeds", "0-9") == 0
    said = capsys.readouterr().out
    with np.load(tmp_path / "all.npz") as everything, np.load(tmp_path / "some.npz") as left:
        refused = everything["images"].mean(axis=(1, 2, 3)) < 126.5
        assert 0 < refused.sum() < 10
        np.testing.assert_array_equal(left["images"][~refused], everything["images"][~refused])
        assert (left["images"][refused] == 128).all()
    assert f"guard: {refused.sum()} pictures were refused and are grey (dark: {refused.sum()})" in said


MISTAKES: dict[str, tuple[str, list[str], str]] = {
    "range": ("interpolate", ["--seeds", "5-2"], "--seeds is 5-2; expected seeds from 0 to 4294967295, or ranges of"),
    "none": (
        "interpolate",
        ["--seeds"],
        "--seeds is given without any; expected seeds from 0 to 4294967295, or ranges",
    ),
    "label": ("sample", ["--seeds", "1", "--label", "cat"], "--label is cat; expected a class from 0 to 1"),
    "seed": ("interpolate", ["--seeds", "x"], "--seeds is x; expected seeds"),
    "one point": ("interpolate", ["--seeds", "3", "--labels", "1"], "there is one point alone, and nowhere to go"),
    "class": ("interpolate", ["--labels", "2"], "--labels is 2; expected a class from 0 to 1"),
    "counts": ("interpolate", ["--seeds", "0-2", "--labels", "0", "1"], "--labels names 2 and --seeds 3; name one for"),
    "frames": ("interpolate", ["--frames", "0"], "--frames is 0; expected a number from 1"),
    "rate": ("interpolate", ["--rate", "0"], "--rate is 0.0; expected a number from 0.1 to 240"),
    "attributes": ("interpolate", ["--attributes", "1"], "--attributes is 1.0; expected none"),
    "mix": ("mix", [], "takes its latents in one layer, and there is nothing to mix"),
    "layers": ("steer", ["--layers", "0"], "--layers is for styles, and this generator has none"),
    "too many": ("steer", ["--num", "4"], "4 directions are asked for; expected 1 to 3"),
    "amounts": ("steer", ["--amounts", "2", "-2"], "--amounts is (2.0, -2.0); expected a tuple of the least"),
    "space": ("project", ["--inputs", "x.npz", "--space", "w"], "--space is w, and this generator has no styles"),
    "maps": ("project", ["--inputs", "x.npz", "--noise-maps", "True"], "this generator has no maps of noise; leave it"),
    "no inputs": ("project", ["--inputs", "nowhere"], "nowhere does not exist: give a folder or a .zip"),
    "no picture": ("project", ["--inputs", "torn.png"], "torn.png cannot be read as an image"),
    "no arrays": ("interpolate", ["--latents", "torn.png"], "--latents torn.png cannot be read"),
    "other model": (
        "interpolate",
        ["--latents", "other.npz"],
        "has latents of float32[2, 4]; this model's are float32",
    ),
    "no points": ("interpolate", ["--latents", "x.npz"], "has neither latents nor styles; name a file that was made"),
    "labels": ("interpolate", ["--latents", "labels.npz"], "has labels up to 7; this model has 2 classes"),
    "both": ("sample", ["--seeds", "1", "--num", "2"], "--seeds and --num are given; give one of the two"),
    "truncations": ("sample", ["--truncations", "0.5", "-1"], "--truncation is -1.0; expected a number above 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    name: str,
    home: Path,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(home / "x.npz", "x.npz")
    Path("torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.savez("other.npz", latents=np.zeros((2, 4), np.float32), labels=np.zeros(2, np.int32))
    np.savez("labels.npz", latents=np.zeros((2, 3), np.float32), labels=np.full(2, 7, np.int32))
    before = sorted(tmp_path.iterdir())
    verb, flags, words = MISTAKES[name]
    assert call(verb, plain, "out.npz", *flags) == 2
    assert words in refusal(capsys)
    assert sorted(tmp_path.iterdir()) == before
