"""The gallery: its configs are what they say and short, and its benchmark works from training to the page."""

import ast
import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import gallery
import gallery_page
import gallery_resumes
import jax
import numpy as np
import pytest
from tiny_evaluation import Projection, projection

from ganjax import GAN, example_batch, init, load_config, train_step
from ganjax.cli import main
from ganjax.runs.config_files import shipped_configs

CONFIGS = {name: path for name, path in shipped_configs().items() if name.startswith("gallery/")}
TRACED = ("gallery/bigan", "gallery/cogan", "gallery/sgan")
"""Those whose steps are traced here; ``benchmarks/gallery_resumes.py`` trains, stops and samples every one."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (120, 28, 28), np.uint8), labels=np.arange(120) % 10)
    return str(path)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_short_and_says_what_it_is(name: str, images: str) -> None:
    text = CONFIGS[name].read_text()
    assert 20 <= len(text.splitlines()) <= 45
    told = gallery.introduction(CONFIGS[name].stem)
    assert 2013 <= int(told["year"]) <= 2025
    assert "\n\nExpect: " in str(ast.get_docstring(ast.parse(text)))
    config = load_config(name, ["--path", images, "--total-images", "1000"])
    assert config.gan.generator.image_shape == (32, 32, 1)
    assert config.run.num_steps == 32


@pytest.mark.parametrize("name", TRACED)
def test_a_configs_step_gives_a_state_as_before(name: str, images: str) -> None:
    gan = load_config(name, ["--path", images]).gan
    state, batch = jax.eval_shape(lambda: (init(gan, jax.random.key(0)), example_batch(gan, 4)))
    after, metrics = jax.eval_shape(functools.partial(train_step, gan), state, batch, jax.random.key(0))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (after,)) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), (state,)
    )
    assert all(value.shape == () for value in metrics.values())


def test_the_shelf_is_listed_copied_and_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["configs"]) == 0
    assert "gallery/dcgan" in capsys.readouterr().out
    assert main(["configs", "--copy", "gallery/dcgan", str(tmp_path)]) == 0
    assert (tmp_path / "dcgan.py").read_bytes() == CONFIGS["gallery/dcgan"].read_bytes()
    assert main(["train", "gallery/dcgna", "--workdir", str(tmp_path / "run")]) == 2
    assert "or gallery/dcgan, which comes with ganjax" in capsys.readouterr().err


TINY = '''"""TINY (Somebody 2024, arXiv 1234.56789): {what}.

Expect: nothing.
"""
from pathlib import Path
from ganjax import GAN, Adam, Codes, Config, Run
from ganjax.data import Npz
from ganjax.models import coupled, mlp

def config(*, total_images: int = 64, path: Path) -> Config:
    """Tiny.

    Args:
        total_images: to train on.
        path: of the images.
    """
    codes = Codes(categories=(2,))
    gan = GAN(
        generator=coupled.Generator((16, 16, 1), latent_size=5, num_members=2, own_first=1, features=2, codes=codes),
        discriminator=mlp.Discriminator((16, 16, 1), hidden=(4,)),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    run = Run(batch_size=32, total_images=total_images, log_every=32, sample_every=64, checkpoint_every=32)
    return Config(gan=gan, data=Npz(path, size=16), run=run)
'''


ENCODED = '''"""A model with an encoder."""
from pathlib import Path
from ganjax import Adam, AdversarialAutoencoder, Config, Run
from ganjax.data import Npz
from ganjax.models import mlp, vae

def config(*, total_images: int = 64, path: Path) -> Config:
    """Tiny.

    Args:
        total_images: to train on.
        path: of the images.
    """
    networks = {"image_shape": (8, 8, 1), "latent_size": 4}
    model = AdversarialAutoencoder(
        generator=mlp.Generator(**networks, hidden=(8,)),
        encoder=vae.Encoder(**networks, features=2),
        discriminator=mlp.Discriminator((1, 1, 4), hidden=(8,)),
        optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    run = Run(batch_size=32, total_images=total_images, log_every=32, sample_every=64, checkpoint_every=32)
    return Config(gan=model, data=Npz(path, size=8), run=run)
'''


def test_a_config_goes_on_to_the_bit_from_where_it_ended(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aae.py").write_text(ENCODED)
    monkeypatch.setattr(gallery_resumes, "CONFIGS", {"aae": tmp_path / "aae.py"})
    options = gallery_resumes.Options(images, results=tmp_path / "results", progress=tmp_path / "progress.json")
    (row,) = gallery_resumes.main(options)
    assert row["differing"] == []
    assert row["arrays"] > 40
    assert "| aae |" in (tmp_path / "results" / "gallery_resumes.md").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(gallery_resumes, "compare", None)  # it goes on from what is done
        assert gallery_resumes.main(options) == [row]
    whole = {"weights": np.float32([1, 2]), "step": np.int32(2)}
    for parts in ({**whole, "weights": np.float32([1, np.nextafter(np.float32(2), 3)])}, {"step": np.int32(2)}):
        (tmp_path / "progress.json").unlink()
        both = iter((whole, parts))
        monkeypatch.setattr(gallery_resumes, "train", lambda *_: None)
        monkeypatch.setattr(gallery_resumes, "outcome", lambda _, both=both: next(both))
        with pytest.raises(SystemExit):
            gallery_resumes.main(dataclasses.replace(options, results=None))


def test_the_benchmark_trains_measures_and_shows(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """In this process, with a network that needs no training; what is there already is not computed again."""

    class Told(Projection):
        """Has the accuracy that a classifier has."""

        accuracy = 0.9

    plain = projection(256)
    known = Told(plain.matrix, fingerprint=plain.fingerprint, num_classes=10)
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: known)
    monkeypatch.setattr(gallery, "SIZE", 16)
    for name in ("mgan", "plain"):
        (tmp_path / f"{name}.py").write_text(TINY.format(what=f"what {name} changed"))
    monkeypatch.setattr(gallery, "CONFIGS", {name: tmp_path / f"{name}.py" for name in ("mgan", "plain")})
    results, page = tmp_path / "results", tmp_path / "docs" / "gallery.md"
    page.parent.mkdir()
    shared: Any = {"workers": 0, "num": 20, "workdirs": tmp_path / "runs", "results": results, "page": page}
    options = gallery.Options(images, smoke=True, **shared)
    gallery.main(options)
    rows = json.loads((results / "gallery.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["mgan", "plain", gallery.REALS]
    assert rows[0]["images"] == 64
    assert set(rows[0]["parameters"]) == {"generator", "discriminator"}
    assert all(np.isfinite(row[name]) for row in rows for name in ("fid", "precision", "coverage", "swd", "diversity"))
    assert "distance of 0 and 1" in rows[0]["figures"]
    text = page.read_text()
    assert "What mgan changed" in text
    assert "[TINY](https://arxiv.org/abs/1234.56789) | 2024 |" in text
    assert f"beside the {gallery_page.THEIRS:,} of PyTorch-GAN's scripts" in text
    for picture in ("gallery.png", "gallery_mgan_generators.png"):
        assert (results / picture).exists()
        assert f"]({os.path.relpath(results, page.parent)}/{picture})" in text
    monkeypatch.setattr(gallery, "work", None)  # all rows are there
    gallery.main(options)
    with pytest.raises(SystemExit, match="no config nothing is in the gallery; expected some of mgan, plain"):
        gallery.main(gallery.Options(images, only=("nothing",), **shared))


def test_what_the_page_counts_is_there() -> None:
    for part in (*gallery_page.PARTS, *gallery_page.PARTS_OF_TRANSLATIONS):
        assert (Path(gallery_page.ROOT) / "ganjax" / part).is_file()
    assert isinstance(load_config("gallery/gan", ["--path", "x.npz"]).gan, GAN)
