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
    "algorithms/generators.py": ("sample", "translate"),
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
    "using/films.py": ("translate",),
    "using/translating.py": ("translate",),
}
# What a file says to some of its verbs alone: a workdir is claimed by `train` only, and `translate` truncates nothing.
SAYS_TO: dict[tuple[str, str], tuple[str, ...]] = {
    ("runs/workdir.py", "--run.total-images"): ("train",),
    ("runs/sampling.py", "--truncation"): ("sample", "evaluate"),
    ("runs/train.py", "--from"): ("train",),
}
ARGUMENTS = {verb: [verb, "--help"] for verb in ("sample", "translate", "evaluate", "import", "export")} | {
    "train": ["train", "r3gan_folder", "--help"],
    "bench": ["bench", "r3gan_folder", "--help"],
    "plan": ["plan", "r3gan_folder", "--help"],
    "data": ["data", "preview", "r3gan_folder", "--help"],
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
