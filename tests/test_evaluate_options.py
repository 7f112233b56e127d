"""What `ganjax evaluate` is told and cannot follow: one line, before anything is computed. Damaged files of its own."""

import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from tiny_evaluation import CONFIG, projection, refusal, stamp

from ganjax import UserError
from ganjax.cli import main
from ganjax.evaluation.protocol import Result
from ganjax.evaluation.results import is_device, read_results
from ganjax.evaluation.tables import result_lines
from ganjax.platform.cache import cache_folder
from ganjax.verbs._evaluate_options import EvaluateOptions, given_options
from ganjax.verbs.evaluate import run_evaluate

RUN, FAKE, REAL, SET = ["--workdir", "none"], ["--fake", "a.npz"], ["--real", "b.npz"], ["--config", str(CONFIG)]


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection())


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Flags that measure some images on disk."""
    rng = np.random.default_rng(0)
    for name in ("fake", "real"):
        np.savez(tmp_path / f"{name}.npz", images=rng.integers(0, 256, (30, 8, 8, 1), np.uint8))
    names = [str(tmp_path / f"{name}.npz") for name in ("fake", "real")]
    return ["evaluate", "--fake", names[0], "--real", names[1], "--network", "classifier"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*FAKE, *REAL, "--pictures"], "--pictures True has no effect: it is for a run's samples, and --fake names"),
        ([*FAKE, *REAL, "--truncation", "0.7"], "--truncation 0.7 has no effect: it is for a run's samples"),
        ([*FAKE, *REAL, "--truncation_mode=resample"], "--truncation-mode resample has no effect"),
        ([*FAKE, *REAL, "--step", "0"], "--step 0 has no effect"),
        ([*FAKE, *REAL, "--weights", "ema"], "--weights ema has no effect"),
        ([*RUN, *FAKE, "--weights=live"], "--weights live has no effect"),
        (["--fake", "real", *RUN, "--step", "8"], "--step 8 has no effect"),
        ([*RUN, "--truncation-mode", "scale"], "--truncation-mode scale has no effect: it goes with --truncation"),
        ([*FAKE, *REAL, *SET], "has no effect: --real names what is compared with; leave one of them out"),
        (
            [*FAKE, *REAL, *RUN],
            "--workdir none has no effect: --fake names what is measured and --real what is compared",
        ),
        ([*FAKE, *REAL, "--metrics", "is"], "--real b.npz has no effect: is compares with no images; leave it out"),
        ([*FAKE, *SET, "--metrics", "is"], "has no effect: is compares with no images; leave it out"),
        ([*RUN, "--network", "classifier", "--resize", "clean"], "--resize clean has no effect: it is for a published"),
        ([*RUN, "--network", "classifier", "--download"], "--download True has no effect: it is for a published"),
        ([*RUN, "--metrics", "modes", "--download"], "--download True has no effect: it is for a published"),
        ([*RUN, "--metrics", "modes", "--network", "dinov2"], "--network dinov2 has no effect: modes always asks the"),
        ([*RUN, "--metrics", "ppl", "--batch-size", "8"], "--batch-size 8 has no effect: ppl has batches of its own"),
        ([*RUN, *REAL, "--", "--data.path", "x"], "--data.path after -- has no effect: such flags are of the dataset"),
        ([*FAKE, *REAL, "--", "--data.split", "test"], "--data.split after -- has no effect: such flags are of the"),
        ([*RUN, "--metrics", "is", "--", "--data.path=x"], "--data.path=x after -- has no effect: such flags are of"),
        (["--compare", "a", "b", "--metrics", "fid"], "--metrics fid has no effect: --compare only reads two files"),
        (["--compare", "a", "b", "--json"], "--json True has no effect: --compare only reads two files"),
        (["--compare", "a", "b", "--seed", "0"], "--seed 0 has no effect: --compare only reads two files"),
        (["--compare", "a", "b", *RUN], "--workdir none has no effect: --compare only reads two files"),
        (["--compare", "a", "b", "--", "--width", "8"], "--width after -- has no effect: such flags are of the"),
    ],
)
def test_options_without_effect(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in refusal(arguments, capsys)


def test_what_was_given_is_told_from_what_is_so_by_default() -> None:
    assert given_options([]) == set()
    assert given_options(["--fake", "a", "--batch_size=3", "--json"]) == {"fake", "batch_size", "json"}
    assert given_options(["--json", "False", "--download=False", "--pictures", "True"]) == {"pictures"}
    with pytest.raises(UserError, match="--step 3 has no effect"):
        run_evaluate(EvaluateOptions(fake="a.npz", real="b.npz", step=3))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--truncation", "nan"], "finite"),
        (["--truncation", "-inf"], "finite"),
        (["--truncation", "0"], "--truncation is 0.0; expected a number above 0"),
        (["--truncation", "-0.7"], "--truncation is -0.7; expected a number above 0"),
        (["--truncation", "1e39"], "--truncation is 1e+39; expected a number above 0 and at most 1000000"),
        (["--num", "0"], "--num is 0; expected a number from 2 to"),
        (["--num", f"{10**20}"], f"--num is {10**20}; expected a number from 2 to"),
        (["--num", "nan"], "--num"),
        (["--batch-size", "0"], "--batch-size is 0; expected a number from 1 to"),
        (["--batch-size", f"{10**9}"], f"--batch-size is {10**9}; expected"),
        (["--step", "-1"], "--step is -1; expected a number at least 0"),
        (["--seed", "-1"], "--seed is -1; expected a number from 0 to 4294967295"),
        (["--seed", f"{2**32}"], f"--seed is {2**32}; expected a number from 0 to 4294967295"),
        (["--seed", f"{10**20}"], f"--seed is {10**20}; expected"),
        (["--real", ""], "--real is empty; expected a path"),
        (["--out="], "--out is empty; expected a path"),
    ],
)
def test_numbers_and_paths_that_cannot_be_meant(flags: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert message in refusal([*RUN, *flags], capsys)


def test_a_python_caller_is_told_of_nan_as_well() -> None:
    with pytest.raises(UserError, match="--truncation is nan; expected a number above 0"):
        run_evaluate(EvaluateOptions(workdir="none", truncation=float("nan")))


def test_the_largest_seed_is_one(images: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main([*images, "--metrics", "kid,is", "--num", "20", "--seed", f"{2**32 - 1}"]) == 0
    assert "seed 4294967295" in capsys.readouterr().out


# Where the results go.


def test_the_place_of_the_results_is_tried_before_the_work(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.json").mkdir()
    (tmp_path / "file").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr("ganjax.runs.subjects.open_evaluator", None)  # nothing is measured
        for out, message in [
            (tmp_path / "x.json", f"x.json is a folder; name a file in it, such as {tmp_path}/x.json/results.json"),
            (tmp_path / "file" / "x.json", "cannot be written: "),
            (Path("/proc/none/x.json"), "cannot be written: No such file or directory; name another place"),
            (Path("/proc/x.json"), "cannot be written: "),
            (tmp_path / ("n" * 300), "File name too long; name another place"),
        ]:
            assert message in refusal([*images[1:], "--out", str(out)], capsys)
        for out, message in [("ftp://a/b.json", "begins with ftp://"), ("gs://bucket/x.json", "gs://bucket/x.json")]:
            assert message in refusal([*images[1:], "--out", out], capsys)
    assert (tmp_path / "file").read_text() == "mine"
    assert main([*images, "--out", str(tmp_path / "new" / "deep" / "x.json")]) == 0
    assert [result.metric for result in read_results(epath.Path(tmp_path / "new" / "deep" / "x.json"))] == ["fid"]
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["x.json"]


def test_a_pipe_is_written_to_and_not_replaced(images: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert is_device(epath.Path(tmp_path / "pipe"))
    assert not is_device(epath.Path(tmp_path))
    with ThreadPoolExecutor() as reader:
        text = reader.submit((tmp_path / "pipe").read_text)
        assert main([*images, "--out", str(tmp_path / "pipe")]) == 0
        assert [result["metric"] for result in json.loads(text.result(timeout=60))["results"]] == ["fid"]
    assert (tmp_path / "pipe").is_fifo()


def test_the_users_folder_has_a_short_name(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["evaluate", "--fake", "~/fake.npz", "--real=~/real.npz", *images[-2:], "--out=~/out.json"]) == 0
    assert main(["evaluate", "--compare", "~/out.json", "~/out.json"]) == 0
    assert "same protocol" in capsys.readouterr().out
    assert not list(Path.cwd().glob("~*"))
    assert "no config file" in refusal(["--fake", "~/fake.npz", "--config", "~/none.py"], capsys)


def test_numbers_are_printed_before_a_disk_turns_out_to_be_full(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganjax.verbs.evaluate.write_results", full)
    assert main([*images, "--out", str(tmp_path / "out.json")]) == 2
    output = capsys.readouterr()
    assert output.out.startswith("fid ")
    assert "out.json cannot be written: No space left on device" in output.err


# The cache.


def test_a_cache_that_cannot_be_is_one_line_and_one_that_cannot_be_written_is_done_without(
    images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        monkeypatch.setenv("GANJAX_CACHE", str(place))
        line = refusal(images[1:], capsys)
        assert f"the cache folder {place} cannot be: {tmp_path}/file is a file; name a folder as $GANJAX_CACHE" in line
    monkeypatch.setenv("GANJAX_CACHE", "/proc/cache")
    assert main(images) == 0
    assert "cannot be written (No such file or directory); it will be computed anew next time" in caplog.text
    monkeypatch.setenv("GANJAX_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


# The terminal.


def test_a_terminal_that_knows_ascii_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Result(metric="kid", value=1.0, deviation=0.5, stamp=stamp())
    for encoding, line in (("ascii", "kid        1 +/- 0.5"), ("latin-1", "kid        1 ± 0.5")):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        lines = result_lines([result], {})
        monkeypatch.undo()
        assert lines[0] == line
