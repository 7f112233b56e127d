"""Says of pictures, films and .npz files whether ganjax made them, from which run, and how sure that is."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tyro
from etils import epath

from ganjax.data.formats import why_no_image
from ganjax.ground.errors import Fault, UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.origins import checkpoint_hash
from ganjax.runs.outputs import given_path
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.using.films import is_film
from ganjax.using.verifying import ARRAYS, Found, read_marks
from ganjax.using.watermark import PUBLIC_KEY, Detection, Watermark

INTERRUPTED = "interrupted before all files were looked at"

_MAYBE = 1e-3  # the chance of a false alarm up to which a watermark is spoken of


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Reads the marks of files: what their metadata say made them, signatures (C2PA), and watermarks in the pixels.

    A line a file. The exit code is 0 if ganjax has marked all of them, and 1 if there are others among them.

    Example: ganjax verify samples.png
    Example: ganjax verify pictures/ film.mp4 --watermark-key "our studio" --json

    Attributes:
        files: pictures, films, .npz files, and folders of these.
        watermark_key: with which the pixels may have been marked; by default that of --workdir, or the public one.
        workdir: of a run: also says of each whether a checkpoint of this run made it.
        json: prints all that was found as JSON.
    """

    files: tyro.conf.Positional[tuple[str, ...]]
    watermark_key: str | None = None
    workdir: str | None = None
    json: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax verify``."""
    switches = [argument for argument in arguments if argument == "--json"]  # behind which files may stand
    rest = [argument for argument in arguments if argument != "--json"]
    run_verify(parse_arguments(VerifyOptions, [*rest, *switches[:1]], prog="ganjax verify"))


def run_verify(options: VerifyOptions) -> None:
    """Looks at each file, and prints: what ``ganjax verify`` does.

    Raises:
        Fault: there are files that ganjax has not marked.
    """
    if not options.files:
        raise UserError("no file is named; expected pictures, films, .npz files or folders: ganjax verify samples.png")
    workdir = None if options.workdir is None else workdir_path(options.workdir)
    key = options.watermark_key
    if key is None and workdir is not None:
        key = load_workdir(workdir).run.watermark
    watermark = Watermark(key or PUBLIC_KEY)
    paths, left_out = _listed(options.files)
    unmarked, records = [], []
    evidence, num, faint = np.zeros((), np.complex128), 0, False
    for path in paths:
        found = (
            read_marks(path, watermark) if _is_known(path) else Found(problem="no picture, film or .npz by its name")
        )
        unmarked += [] if found.marked else [path]
        if found.evidence is not None and found.watermark is not None:
            evidence, num = evidence + found.evidence, num + found.num_pictures
            faint = faint or not found.watermark.found
        whose = None if workdir is None else _whose(found, workdir)
        records.append(_record(path, found, whose))
        if not options.json:
            print(f"{path}: {'; '.join(_words(found, whose, asked=key is not None))}", flush=True)
    together = watermark.judge(evidence) if num > 1 and len(paths) > 1 else None
    if options.json:
        print(json.dumps({"files": records, "together": _watermark(together), "left_out": left_out}, indent=1))
    else:
        if together is not None and faint and (together.chance <= _MAYBE or key is not None):
            print(f"all {num} pictures together: {_sure(together)}")
        if left_out:
            print(f"{left_out} other file(s) are left out: no pictures, films or .npz by their names")
    if unmarked:
        more = "" if len(unmarked) == 1 else f", and {len(unmarked) - 1} more"
        raise Fault(f"{len(unmarked)} of {len(paths)} file(s) without a mark of ganjax: {unmarked[0]}{more}")


def _listed(texts: Sequence[str]) -> tuple[list[epath.Path], int]:
    """The files that are meant, and how many others are in the folders."""
    paths, left_out = [], 0
    for text in texts:
        path = given_path("FILE", text)
        if not path.exists():
            raise UserError(f"{text} is not there; expected a picture, a film, an .npz, or a folder of these")
        if not path.is_dir():
            paths.append(path)
            continue
        inside = [*_inside(path)]
        known = [found for found in inside if _is_known(found)]
        if not known:
            raise UserError(f"{text} is a folder without pictures, films or .npz files; name another")
        paths += known
        left_out += len(inside) - len(known)
    return paths, left_out


def _inside(folder: epath.Path) -> Iterator[epath.Path]:
    """All files at any depth, but for the hidden ones, by name."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _inside(path)
        elif not path.name.startswith("."):
            yield path


def _is_known(path: epath.Path) -> bool:
    return why_no_image(path.name) is None or is_film(path.name) or path.suffix.lower() == ARRAYS


def _whose(found: Found, workdir: epath.Path) -> str:
    """Whether a run's checkpoint made it, in words."""
    said, step = found.origin.get("checkpoint"), found.origin.get("step", "")
    if said is None:
        return "it does not say which checkpoint made it"
    ours = checkpoint_hash(workdir, int(step)) if step.isdecimal() else None
    if ours is None:
        return f"{workdir} has no checkpoint of step {step} (any more)"
    return f"made by this checkpoint of {workdir}" if ours == said else f"not made by the checkpoint of {workdir}"


def _words(found: Found, whose: str | None, *, asked: bool) -> Iterator[str]:
    """What was found, in words; of no watermark only where one was asked for, or there is nothing else to say."""
    said = found.origin or (found.credentials.origin if found.credentials else {})
    if said:
        where = [f"run {said['run']}"] if "run" in said else []
        where += [f"{name} {said[name]}" for name in ("step", "seed") if name in said]
        where += [f"sample {said['number']}"] if "number" in said else []
        where += [f"{name} {said[name]}" for name in ("label", "guard") if name in said]
        where += [said["settings"]] if "settings" in said else []
        yield ", ".join([f"made by {said.get('tool', '?')} {said.get('version', '?')}", *where])
        if "checkpoint" in said:
            yield f"checkpoint {said['checkpoint'][:19]}…"
    elif found.made_by_model:
        yield "says that a trained model made it, and not that ganjax did"
    if whose is not None:
        yield whose
    if found.credentials is not None:
        yield _signature(found)
    if found.watermark is not None and (found.watermark.chance <= _MAYBE or asked or not said):
        yield _sure(found.watermark)
    if found.problem is not None:
        yield found.problem
    elif not found.marked and found.credentials is None and not found.made_by_model:
        yield "no mark of ganjax"


def _signature(found: Found) -> str:
    """What a signature is worth, in words."""
    credentials = found.credentials
    assert credentials is not None
    who = f"signed by {credentials.signer}" if credentials.signer else "signed"
    if not credentials.intact:
        return f"{who}, and CHANGED since or damaged ({credentials.problem})"
    known = "known to C2PA" if credentials.trusted else "unknown to C2PA"
    return f"{who}, unchanged since (by an authority {known})"


def _sure(watermark: Detection) -> str:
    """What the test for a watermark says, in words."""
    chance = f"a false alarm has a chance of at most {watermark.chance:.1g}"
    if watermark.found:
        scaled = "" if 0.97 < watermark.scale < 1.03 else f", enlarged {watermark.scale:.2f} times since"
        return f"watermark found ({chance}{scaled})"
    return f"perhaps a watermark ({chance})" if watermark.chance <= _MAYBE else "no watermark found"


def _watermark(watermark: Detection | None) -> dict[str, Any] | None:
    return None if watermark is None else {"found": watermark.found, **watermark._asdict()}


def _record(path: epath.Path, found: Found, whose: str | None) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "file": str(path),
        "marked": found.marked,
        "made_by_model": found.made_by_model,
        "origin": found.origin,
        "watermark": _watermark(found.watermark),
        "signature": None if found.credentials is None else found.credentials._asdict(),
        "problem": found.problem,
        **({} if whose is None else {"workdir": whose}),
    }
