"""The command line on terminals of all kinds: plain ones, closed ones, interrupted ones, and its answer to errors."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganjax import load_config
from ganjax.cli import main, verbs
from ganjax.runs.interruption import Interrupted
from ganjax.verbs import bench, configs

MLP = str(Path(__file__).parent.parent / "configs" / "mlp_digits.py")
PLAIN = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONIOENCODING": "ascii:strict"}


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes ``ganjax configs`` raise an error in the middle of its work."""

    def fail() -> list[str]:
        raise error

    monkeypatch.setattr(configs, "listed", fail)


def test_versions_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    for name in ("ganjax ", "JAX 0.", "jaxlib 0.", "Flax 0.", "Python 3."):
        assert name in line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_a_letter_gets_another(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    monkeypatch.setattr(configs, "listed", lambda: ["2 ± 1, 3 \N{MULTIPLICATION SIGN} 4 … → Zoë 日"])
    assert main(["configs"]) == 0
    expected = {"ascii": "2 +- 1, 3 x 4 ... -> Zoe \\u65e5", "latin-1": "2 ± 1, 3 \xd7 4 ... -> Zoë \\u65e5"}
    assert written.getvalue().decode(encoding) == expected[encoding] + "\n"


@pytest.mark.parametrize(("arguments", "unbuffered"), [(["configs"], "1"), (["train", MLP, "--help"], "")])
def test_a_reader_that_leaves_is_no_error(arguments: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ganjax", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**PLAIN, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_pipe_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    with pytest.raises(BrokenPipeError):
        main(["configs"])


@pytest.mark.parametrize("verb", ["train", "bench", "plan", "data", "sample", "evaluate"])
def test_an_interruption_says_what_is_true(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    main([verb, "--help"] if verb in ("train", "bench", "plan", "data") else [verb])  # loads it
    capsys.readouterr()
    monkeypatch.setattr(f"ganjax.verbs.{verb}.run", interrupt)
    assert main([verb]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ganjax: interrupted")
    assert ("before training began" in line) == (verb == "train")


def test_an_interrupted_measurement_has_no_run_to_go_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise Interrupted(15, "stopped at 64 images; run the same command to go on")

    monkeypatch.setattr(bench, "train", stop)
    with pytest.raises(Interrupted, match="nothing was measured to its end, and nothing written") as interruption:
        bench.loop_rate(load_config(MLP), 8, rounds=1)
    assert interruption.value.signal_number == 15


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/file"), 2, ["/a/file", "Permission denied", "check"]),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "d.png"), 2, ["d.png", "Is a directory"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xxx"), 2, ["xxx", "File name too long"]),
        (OSError(errno.ENOSPC, "No space left on device"), 1, ["No space left", "untouched"]),
        (OSError(errno.EROFS, "Read-only file system", "/a"), 1, ["Read-only file system", "/a"]),
        (MemoryError("Unable to allocate 7 TiB"), 1, ["7 TiB", "smaller"]),
    ],
)
def test_an_error_of_the_surroundings_is_one_line(
    error: Exception,
    code: int,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(monkeypatch, error)
    assert main(["configs"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    for word in words:
        assert word in line


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("of ours"))
    with pytest.raises(ZeroDivisionError):
        main(["configs"])


def test_every_verb_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert {"train", "sample", "evaluate", "bench", "plan", "data", "configs", "import"} <= set(verbs())
    for verb, line in verbs().items():
        assert f"  {verb:10}{line}" in told


# --- ganjax configs ---


def test_configs_are_listed_and_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert sorted(names) == sorted(configs.shipped_configs())
    assert names == sorted(names, key=lambda name: ("/" in name, name))  # the gallery after all others
    assert any(line.startswith("quickstart") and "Handwritten digits at 16x16" in line for line in lines)
    assert main(["configs", "--copy", "quickstart", "mine.py"]) == 0
    assert "copied to mine.py" in capsys.readouterr().out
    text = configs.shipped_configs()["quickstart"].read_text()
    assert (tmp_path / "mine.py").read_text() == text
    (tmp_path / "mine.py").write_text("precious")
    (tmp_path / "folder").mkdir()
    assert main(["configs", "--copy", "quickstart", "folder"]) == 0
    assert (tmp_path / "folder" / "quickstart.py").read_text() == text
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["configs", "--copy", "quickstart", "~/home.py"]) == 0
    assert (tmp_path / "home.py").read_text() == text
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "folder", "home.py"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--copy", "quickstart", "mine.py"], "mine.py is there already; name another file"),
        (["--copy", "quickstart", "folder"], "folder/quickstart.py is there already"),
        (["--copy", "quickstart", "mine.txt"], "mine.txt is to be a config; expected a name that ends in .py"),
        (["--copy", "quickstart", "no/where.py"], "no/where.py cannot be written: No such file or directory"),
        (["--copy", "quickstart", "mine.py/x.py"], "mine.py/x.py cannot be written: Not a directory"),
        (["--copy", "quikstart", "x.py"], "no config quikstart comes with ganjax; expected one of "),
        (["--copy", "quickstart"], "'--copy quickstart' is no use of `ganjax configs`"),
        (["quickstart"], "'quickstart' is no use of `ganjax configs`; expected --copy NAME FILE, or nothing"),
    ],
)
def test_a_mistake_copies_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "quickstart.py").write_text("precious")
    assert main(["configs", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert (tmp_path / "mine.py").read_text() == (tmp_path / "folder" / "quickstart.py").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "folder"}
