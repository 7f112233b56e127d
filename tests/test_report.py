"""The page of `ganjax report`: all that a workdir tells is in it, and what is damaged costs a line and no more."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened_page
from etils import epath
from PIL import Image
from processes import MLP

from ganjax.cli import main
from ganjax.evaluation.protocol import Result, Stamp
from ganjax.evaluation.results import write_results
from ganjax.runs.starts import add_start, starts_of
from ganjax.runs.summary import thinned

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\">{{script}}<b>&"


def stamp(**changes: Any) -> Stamp:
    fields = {"network": "classifier", "network_sha256": "0" * 64, "classifier_accuracy": 0.98, "resize": "none"}
    fields |= {"dataset": "digits", "dataset_sha256": "1" * 64, "split": "all", "num_real": 1797, "fake": "run"}
    fields |= {"fake_sha256": None, "checkpoint_step": 4, "num_fake": 1000, "seed": 0, "weights": "ema"}
    return Stamp(**{**fields, "truncation": None, "versions": {"jax": "0.10"}, **changes})


def write_run(workdir: Path, *flags: str, num_lines: int = 8, num_pictures: int = 3) -> Path:
    """A workdir as training leaves one, without training."""
    (workdir / "samples").mkdir(parents=True)
    shutil.copy(MLP, workdir / "config.py")
    (workdir / "overrides.json").write_text(json.dumps(["--batch-size", "16", "--run.total-images", "128", *flags]))
    lines = [
        {"step": step, "images": 16 * step, "d/loss": 1 / step, "g/loss": float(step), "speed/images_per_second": 200.0}
        for step in range(1, num_lines + 1)
    ]
    lines.insert(3, {"step": 3, "images": 48, "collapse/gap": "the generator has lost"})
    lines.insert(
        4, {"step": 3, "images": 48, "rollback/reason": f"{HOSTILE} is nan: back to step 0", "rollback/number": 1}
    )
    (workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for index in range(num_pictures):
        pixels = np.full((20, 30), 80 * index % 256, np.uint8)
        Image.fromarray(pixels).save(workdir / "samples" / f"{64 * index:010}.png")
    return workdir


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def page_data(page: Path) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def report(*workdirs: Path, out: Path, code: int = 0) -> dict[str, Any]:
    assert main(["report", "--workdir", *map(str, workdirs), "--out", str(out)]) == code
    return page_data(out)


def test_all_that_a_workdir_tells_is_in_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workdir, out = write_run(tmp_path / "run"), tmp_path / "pages" / "report.html"
    (workdir / "evaluation").mkdir()
    for images, value in ((64, 3.0), (128, 2.5)):
        result = Result(metric="fid", value=value, deviation=0.1, stamp=stamp())
        write_results([result], epath.Path(workdir / "evaluation" / f"{images:010}.json"))
    add_start(epath.Path(workdir), 0)

    data = report(workdir, out=out)

    (run,) = data["runs"]
    values = [float(f"{1 / step:.5g}") for step in range(1, 9)]
    assert run["curves"]["d/loss"] == [[16 * step for step in range(1, 9)], values]
    assert ["losses", ["d/loss", "g/loss"]] in data["panels"]
    assert (run["seen"], run["total"], run["problems"]) == (128, 128, [])
    assert [note["name"] for note in run["notes"]] == ["collapse/gap", "rollback/reason"]
    assert run["notes"][1]["text"].startswith(HOSTILE)
    assert [(one["metric"], one["images"], one["value"], one["is_best"]) for one in run["results"]] == [
        ("fid", 64, 3.0, False),
        ("fid", 128, 2.5, True),
    ]
    assert ["num_fake", "1000"] in run["results"][0]["stamp"]
    assert ["versions.jax", "0.10"] in run["results"][0]["stamp"]
    assert run["best"]["value"] == 2.5
    assert run["speed"]["value"] == "200"
    assert "no peak is known for cpu" in run["mfu"]["note"]
    assert run["config"]["run.batch_size"] == "16"
    assert "8 devices, cpu" in run["facts"]["trained by"]
    assert [picture["images"] for picture in run["pictures"]] == [0, 64, 128]
    assert all(re.match(r"data:image/(webp|jpeg);base64,", picture["source"]) for picture in run["pictures"])
    assert (run["pictures"][0]["width"], run["pictures"][0]["height"]) == (30, 20)
    assert capsys.readouterr().out == f"page of 1 run: {out}\n"


def test_the_page_needs_nothing_and_runs_nothing_of_a_file(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report(write_run(tmp_path / "run"), out=page)
    text = page.read_text()
    assert HOSTILE not in text
    assert "<img src=x" not in text
    assert "{{" not in text.replace(json.dumps(HOSTILE)[1:-1].replace("<", "\\u003c"), "")
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: append(run / "metrics.jsonl", "{torn\n\n"), "line 11 is not an object of step"),
        (lambda run: (run / "metrics.jsonl").unlink(), None),
        (lambda run: shutil.rmtree(run / "samples"), None),
        (lambda run: (run / "samples" / "0000000064.png").write_bytes(b"no picture"), "0000000064.png cannot be read"),
        (lambda run: (run / "samples" / "notes.txt").write_text("mine"), None),
        (lambda run: (run / "overrides.json").write_text("{"), "overrides.json is damaged"),
        (lambda run: (run / "config.py").write_text("config = 3"), "the config of"),
        (lambda run: (run / "data.json").write_text("[]"), "data.json is damaged"),
        (lambda run: (run / "origin.json").write_text("[]"), "origin.json is damaged"),
        (lambda run: (run / "starts.json").write_text('[{"step": "x"}]'), "starts.json is damaged"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_shown(damage: Any, said: str | None, tmp_path: Path) -> None:
    workdir = write_run(tmp_path / "run")
    damage(workdir)
    (run,) = report(workdir, out=tmp_path / "report.html")["runs"]
    assert len(run["problems"]) == (said is not None)
    assert said is None or said in run["problems"][0]
    assert run["curves"] or said is None


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (run,) = report(tmp_path / "run", out=tmp_path / "report.html")["runs"]
    assert (run["curves"], run["pictures"], run["results"], run["seen"], run["total"]) == ({}, [], [], 0, None)


def test_numbers_that_are_none_leave_gaps(tmp_path: Path) -> None:
    workdir = write_run(tmp_path / "run")
    append(
        workdir / "metrics.jsonl",
        '{"step": 9, "images": 144, "d/loss": NaN, "g/loss": Infinity, "speed/images_per_second": NaN}\n',
    )
    (run,) = report(workdir, out=tmp_path / "report.html")["runs"]
    assert run["curves"]["d/loss"][1][-1] is None
    assert run["curves"]["g/loss"][1][-1] is None
    assert run["speed"]["value"] == "200"


def test_runs_stand_side_by_side_under_names_that_tell_them_apart(tmp_path: Path) -> None:
    workdirs = [write_run(tmp_path / place / "run", "--run.seed", place) for place in ("1", "2")]
    other = write_run(tmp_path / "other", num_pictures=200)
    (tmp_path / "sweep.md").write_text("")  # a folder of runs is each of them
    assert [run["path"] for run in report(tmp_path, out=tmp_path / "a.html")["runs"]] == [str(other)]
    data = report(tmp_path / "1", tmp_path / "2", other, out=tmp_path / "report.html")
    assert [run["path"] for run in data["runs"]] == [*map(str, workdirs), str(other)]
    assert [run["name"] for run in data["runs"]] == [*map(str, workdirs), "other"]
    assert [run["config"]["run.seed"] for run in data["runs"]] == ["1", "2", "0"]
    pictures = [picture["images"] for picture in data["runs"][2]["pictures"]]
    assert (len(pictures), pictures[0], pictures[-1]) == (16, 0, 64 * 199)
    assert data["runs"][2]["num_pictures"] == 200


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workdir", "{tmp}/none", "--out", "{tmp}/a.html"], "does not exist; expected the folder of a run"),
        (["--workdir", "{tmp}/file", "--out", "{tmp}/a.html"], "is a file"),
        (["--workdir", "{tmp}/photos", "--out", "{tmp}/a.html"], "holds files but no run of ganjax"),
        (["--workdir", "{tmp}/run", "{tmp}/run", "--out", "{tmp}/a.html"], "of which one comes twice"),
        (["--workdir", "{tmp}/run", "--out", "{tmp}/a.png"], "expected a name that ends in .html"),
        (["--workdir", "{tmp}/run", "--out", "{tmp}/file/a.html"], "cannot be written"),
        (["--workdir", "{tmp}/run", "--out", "{tmp}/a.html", "--watch", "--every", "0"], "--every is 0"),
        (["--workdir", "--out", "{tmp}/a.html"], "--workdir"),
    ],
)
def test_what_cannot_be_meant_gets_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    assert main(["report", *(flag.format(tmp=tmp_path) for flag in flags)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ganjax: ")
    assert said in line
    assert not (tmp_path / "a.html").exists()


def test_the_page_is_written_anew_until_the_run_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir, out, seen = write_run(tmp_path / "run", num_lines=4), tmp_path / "report.html", []

    def train_on(seconds: float) -> None:
        assert seconds == 5
        seen.append(page_data(out)["runs"][0]["seen"])
        step = 4 + len(seen) * 2
        append(workdir / "metrics.jsonl", json.dumps({"step": step, "images": 16 * step, "d/loss": 1.0}) + "\n")

    monkeypatch.setattr("time.sleep", train_on)
    assert main(["report", "--workdir", str(workdir), "--out", str(out), "--watch", "--every", "5"]) == 0
    assert seen == [64, 96]
    assert page_data(out)["runs"][0]["seen"] == 128


def test_a_run_that_ended_itself_is_over(tmp_path: Path) -> None:
    workdir, out = write_run(tmp_path / "run", num_lines=4), tmp_path / "report.html"
    append(workdir / "metrics.jsonl", '{"step": 4, "images": 64, "stop/reason": "fid < 3"}\n')
    assert main(["report", "--workdir", str(workdir), "--out", str(out), "--watch"]) == 0
    assert page_data(out)["runs"][0]["notes"][-1]["text"] == "fid < 3"


def test_ctrl_c_ends_the_watching_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    workdir, out = write_run(tmp_path / "run", num_lines=4), tmp_path / "report.html"
    assert main(["report", "--workdir", str(workdir), "--out", str(out), "--watch"]) == 0
    assert page_data(out)["runs"][0]["seen"] == 64


def test_a_long_curve_keeps_its_peaks() -> None:
    values = np.sin(np.arange(20_000) / 50)
    values[7_777], values[12_345] = 9.0, -9.0
    curve = thinned(list(range(20_000)), values.tolist())
    assert len(curve.images) <= 602
    assert curve.images == sorted(set(curve.images))
    assert (9.0 in curve.values, -9.0 in curve.values) == (True, True)
    assert (curve.images[0], curve.images[-1]) == (0, 19_999)
    assert thinned([1, 2], [float("nan"), 2.0]).values == [None, 2.0]


def test_a_start_is_written_down_when_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir = epath.Path(tmp_path)
    add_start(workdir, 0)
    add_start(workdir, 5)
    assert [start.step for start in starts_of(workdir)] == [0]
    monkeypatch.setattr("ganjax.runs.starts.library_versions", lambda: {"jax": "1.0", "device": "cpu"})
    add_start(workdir, 9)
    assert [(start.step, start.versions["jax"]) for start in starts_of(workdir)][1] == (9, "1.0")
    (tmp_path / "starts.json").write_text("{")
    add_start(workdir, 11)
    assert [start.step for start in starts_of(workdir)] == [11]


def test_in_a_browser_the_page_shows_the_runs(tmp_path: Path) -> None:
    workdirs, page = [write_run(tmp_path / name) for name in ("first", "second")], tmp_path / "report.html"
    report(workdirs[0], out=page)
    with opened_page(page.as_uri(), viewport={"width": 390, "height": 800}, color_scheme="dark") as shown:
        assert shown.title() == "first · ganjax"
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert HOSTILE in shown.text_content("main")
        last = shown.get_attribute(".samples img", "src")
        shown.focus("input[type=range]")
        shown.keyboard.press("Home")
        assert shown.get_attribute(".samples img", "src") != last
        assert shown.get_attribute(".samples img", "alt") == "Samples of first at 0 images"
        before = shown.get_attribute(".chart svg path", "d")
        shown.check("text=Logarithmic")
        assert shown.get_attribute(".chart svg path", "d") != before
        shown.hover(".chart svg")
        assert "images" in shown.text_content(".chart svg text:last-of-type")
        dark = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    report(*workdirs, out=page)
    with opened_page(page.as_uri(), viewport={"width": 1200, "height": 800}, color_scheme="light") as shown:
        assert shown.locator(".samples figure").count() == 2
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        assert "The configs are alike" in shown.text_content("main")
