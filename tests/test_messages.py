"""Advice names flags that the reader has: each flag in a message belongs to every verb that may say it."""

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

from ganjax.cli import main

PACKAGE = Path(__file__).parent.parent / "ganjax"
# Which verbs a file speaks to. A verb's own file speaks to that verb; any other file names no flag.
SPEAKS_TO: dict[str, tuple[str, ...]] = {
    "algorithms/generators.py": ("sample", "translate", "evaluate", "score", "export", "explore"),
    "runs/transfer.py": ("train",),
    "runs/train.py": ("train", "bench"),
    "runs/launches.py": ("train", "bench"),
    "runs/inputs.py": ("train", "bench"),
    "runs/classes.py": ("sample", "translate"),
    "runs/conditions.py": ("sample", "translate"),
    "runs/forecast.py": ("train", "bench"),
    "runs/identity.py": ("train",),
    "runs/monitor.py": ("train",),
    "runs/ownership.py": ("train",),
    "runs/translating.py": ("translate",),
    "runs/workdir.py": ("train", "sample", "translate", "evaluate"),
    "runs/sampling.py": ("sample", "translate", "evaluate"),
    "runs/standing.py": ("sample", "evaluate"),
    "runs/subjects.py": ("evaluate",),
    "evaluation/classifier.py": ("evaluate",),
    "evaluation/measure.py": ("evaluate",),
    "evaluation/preconditions.py": ("evaluate",),
    "platform/distributed.py": ("train",),
    "runs/points.py": ("interpolate", "mix", "steer", "sample"),
    "runs/projecting.py": ("project",),
    "runs/sweeping.py": ("sweep",),
    "using/directions.py": ("steer",),
    "using/films.py": ("translate", "interpolate", "steer", "project"),
    "verbs/_leaving.py": ("interpolate", "steer", "project"),
    "verbs/_points.py": ("interpolate", "mix", "steer"),
    "using/translating.py": ("translate",),
    "data/files.py": ("train",),
    "data/latents.py": ("encode",),
    "data/prepared.py": ("prepare",),
    "evaluation/calibration.py": ("score",),
    "runs/encoding.py": ("encode",),
    "runs/preparing.py": ("train",),
    "runs/shards.py": ("encode", "prepare"),
    "runs/guarding.py": ("sample",),
    "runs/judging.py": ("score",),
    "runs/latents.py": ("evaluate",),
    "runs/refining.py": ("sample",),
    "runs/stop_when.py": ("train",),
    "runs/stopping_rule.py": ("train",),
    "runs/verdict.py": ("train",),
    "using/credentials.py": ("sample", "translate"),
    "using/guard.py": ("sample",),
    "verbs/_judge_inputs.py": ("score",),
    "verbs/_outliers.py": ("score",),
}
# What a file says to some of its verbs alone: a workdir is claimed by `train` only, and `translate` truncates nothing.
SAYS_TO: dict[tuple[str, str], tuple[str, ...]] = {
    ("runs/workdir.py", "--run.total-images"): ("train",),
    ("runs/sampling.py", "--truncation"): ("sample", "evaluate"),
    ("runs/train.py", "--from"): ("train",),
    ("runs/encoding.py", "--data.channels"): ("train",),  # of the autoencoder's config
    ("runs/encoding.py", "--data.size"): ("train",),
}
_FROM_POINTS = ("interpolate", "mix", "steer", "project")
ARGUMENTS = {
    verb: [verb, "--help"]
    for verb in ("score", "explore", "report", "sample", "translate", "evaluate", "import", "export", *_FROM_POINTS)
} | {
    "sweep": ["sweep", "r3gan_folder", "--help"],
    "train": ["train", "r3gan_folder", "--help"],
    "bench": ["bench", "r3gan_folder", "--help"],
    "plan": ["plan", "r3gan_folder", "--help"],
    "data": ["data", "preview", "r3gan_folder", "--help"],
    "prepare": ["data", "prepare", "r3gan_folder", "--help"],
    "encode": ["data", "encode", "--help"],
    "configs": ["configs", "--help"],
}
OF_ALL = {"--help", "--version"}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*[a-z]")


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """The flags of each verb that has any, by its help."""
    found = {}
    for verb, arguments in ARGUMENTS.items():
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main(arguments)
        found[verb] = OF_ALL | set(FLAG.findall(text.getvalue()))
    return found


def messages(file: Path) -> list[str]:
    """The strings of a file that are no docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [str(node.value) for node in strings if node not in statements]


def test_messages_name_flags_that_their_readers_have(flags: dict[str, set[str]]) -> None:
    looked_at = 0
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        own = name.removeprefix("verbs/").removeprefix("_").partition("_")[0].removesuffix(".py")
        verbs = SPEAKS_TO.get(name, (own,) if name.startswith("verbs/") and own in ARGUMENTS else ())
        for message in messages(file):
            text = re.sub(r"`[^`]*`|^--[\w-]*$", "", message)  # a whole command, or a word of the program's own
            for flag in set(FLAG.findall(text)) - OF_ALL:
                looked_at += 1
                assert verbs, f"{name} names {flag}, and it is not known who reads it: {message!r}"
                for verb in SAYS_TO.get((name, flag), verbs):
                    assert flag in flags[verb], f"{name} names {flag}, which `ganjax {verb}` has not: {message!r}"
    assert looked_at > 20
