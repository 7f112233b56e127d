"""`ganjax translate` through a guard: what may not leave is made anew, or left out, and said."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_translate import made_bytes, model_of, noise, opened, save, translate

from ganjax import Guard
from ganjax.using.guard import REPLACEMENTS, OwnCheck

__all__ = ["translate"]


@pytest.fixture
def guarded(translate: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`ganjax translate` with a model whose config has a guard of one check, by the mean of the picture unless told."""

    def run(name: str, *arguments: str, scores: Any = lambda images: images.mean(axis=(1, 2, 3)), **bounds: Any) -> int:
        config, _ = model_of(name)
        guard = Guard(checks=(OwnCheck(name="light", scores=scores, **bounds),), tries=3)
        config = dataclasses.replace(config, guard=guard)
        monkeypatch.setattr("ganjax.verbs.translate.load_workdir", lambda workdir: config)
        monkeypatch.setattr("ganjax.verbs.translate.restore_state", lambda config, workdir, step: model_of(name)[1])
        return translate(name, *arguments)

    return run


def test_what_is_refused_is_left_out_and_the_others_are_there(guarded, capsys) -> None:
    pixels = {"a.png": noise(16, 20), "b.png": np.full((16, 20, 3), 30, np.uint8)}
    for name, image in pixels.items():
        save(f"in/{name}", image)
    means = {name: float(made_bytes("same", image).mean()) for name, image in pixels.items()}
    bad, good = sorted(means, key=lambda name: -means[name])
    bound = (means[bad] + means[good]) / 2
    assert guarded("same", "--inputs", "in", "--out", "out", at_most=bound) == 1
    said = capsys.readouterr()
    assert [path.name for path in Path("out").iterdir()] == [good]
    assert "guard: refused light 1" in said.out
    assert f"the guard of run refused what was made of in/{bad} (light): it is left out" in said.err
    assert guarded("same", "--inputs", "in", "--out", "out.npz", at_most=bound) == 1
    assert np.load("out.npz")["names"].tolist() == [good]
    for out in ("none", "none.npz"):
        capsys.readouterr()
        assert guarded("same", "--inputs", "in", "--out", out, at_most=0) == 1
        assert "refused all that was made (light 2): nothing was written" in capsys.readouterr().err
    assert not Path("none.npz").exists()
    assert not any(Path("none").iterdir())
    assert guarded("same", "--inputs", "in/a.png", "--out", "one.png", at_most=0) == 1
    assert not Path("one.png").exists()
    assert guarded("same", "--inputs", "in", "--out", "all", at_most=255) == 0
    assert "guard: refused nothing" in capsys.readouterr().out


def test_with_latents_another_picture_is_made_instead(guarded, capsys) -> None:
    save("in/a.png", noise(16, 20))
    calls = itertools.count()
    twice = {"scores": lambda images: np.full(len(images), float(next(calls) >= 2)), "at_least": 1}
    assert guarded("latents", "--inputs", "in", "--out", "out", **twice) == 0
    assert "guard: refused light 2" in capsys.readouterr().out
    assert guarded("latents", "--inputs", "in", "--out", "plain", at_most=255) == 0
    assert not np.array_equal(opened("out/a.png"), opened("plain/a.png"))
    assert str(2 * REPLACEMENTS).encode() in Path("out/a.png").read_bytes()


def test_an_animation_is_refused_for_one_of_its_frames(guarded, capsys) -> None:
    from PIL import Image

    frames = [Image.fromarray(noise(12, 16) // (number + 1)) for number in range(3)]
    frames[0].save("a.png", save_all=True, append_images=frames[1:], duration=[50, 100, 150])
    light = {"scores": lambda images: images.mean(axis=(1, 2, 3)) - 1000.0 * (np.arange(len(images)) == 2)}
    assert guarded("same", "--inputs", "a.png", "--out", "b.png", **light, at_least=-10) == 1
    assert "refused all that was made (light 1)" in capsys.readouterr().err
    assert not Path("b.png").exists()


def test_a_film_is_refused_for_one_of_its_frames(guarded, capsys) -> None:
    pytest.importorskip("av")
    from test_translate_films import film

    film("in/a.mp4", num_frames=3)
    save("in/b.png", noise(16, 24))
    seen = itertools.count()
    third = {"scores": lambda images: np.array([float(next(seen)) for _ in images]), "at_most": 2.5}
    assert guarded("same", "--inputs", "in", "--out", "out", "--batch-size", "1", **third) == 1
    assert [path.name for path in Path("out").iterdir()] == ["b.png"]
    assert "the guard of run refused what was made of in/a.mp4 (light)" in capsys.readouterr().err
