"""Does a run that is killed at a random moment end where the uninterrupted one does, bit for bit?

    python benchmarks/kill_and_resume.py --num 50

Trains a small GAN to the end once. Then, each time in a new workdir: starts the same command, ends it with SIGKILL at a
random moment, runs it again to the end, and compares everything that is left: parameters, optimizer state, averaged
weights and batch statistics; every line of metrics.jsonl but for the speed; every picture. Every other moment is
uniform over the whole life of the command; the others are within a tenth of a second of the start of a random save. A
run that ends before its moment does not count. Each trial is written when it is done, and the same command goes on
where it was ended. Exits with 1 when anything differs.
"""

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from etils import epath

from ganjax.algorithms.gan import TrainState
from ganjax.algorithms.step import init
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.workdir import load_workdir

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = [
    *("--width", "32", "--batch_norm", "True", "--batch_size", "16"),
    *("--run.log_every", "80", "--run.sample_every", "480", "--run.checkpoint_every", "160", "--run.num_samples", "16"),
]


@dataclasses.dataclass(frozen=True)
class Options:
    """How often, and of what.

    Attributes:
        num: kills.
        steps: the length of the run, of 16 images each; a checkpoint every 10, a picture every 30.
        seed: of the moments.
        out: folder for kill_and_resume.json and kill_and_resume.md.
    """

    num: int = 50
    steps: int = 240
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results")


@dataclasses.dataclass(frozen=True)
class Moment:
    """When to kill: ``seconds`` after the start, then once the ``save`` of a step has begun, then after a ``delay``."""

    seconds: float = 0.0
    save: int = 0
    delay: float = 0.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """One kill, and what came of it.

    Attributes:
        killed_at: seconds after the start of the command.
        inside_a_save: whether a half-written checkpoint was left.
        last_line: the images seen by the last line of metrics.jsonl; -1 when there was none.
        resumed_from: the step of the newest checkpoint; None: there was none.
        differing: what is not as in the uninterrupted run; empty when all is.
    """

    killed_at: float
    inside_a_save: bool
    last_line: int
    resumed_from: int | None
    differing: list[str]


def start(workdir: Path, steps: int) -> subprocess.Popen:
    """Starts or resumes the run. Its output goes to a file beside the workdir."""
    command = [sys.executable, "-m", "ganjax", "train", str(ROOT / "configs" / "mlp_digits.py")]
    command += ["--workdir", str(workdir), "--total_images", str(16 * steps), *OVERRIDES]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    with workdir.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def finish(process: subprocess.Popen, workdir: Path) -> None:
    """Waits for the run's end.

    Raises:
        RuntimeError: it failed.
    """
    if process.wait():
        raise RuntimeError(f"the run ended with {process.returncode}:\n{workdir.with_suffix('.log').read_text()}")


def kill_and_resume(workdir: Path, moment: Moment, options: Options) -> Trial | None:
    """Kills a run, runs it to the end, and tells all but what differs. None: it had ended before the moment."""
    began = time.perf_counter()
    process = start(workdir, options.steps)
    while process.poll() is None and time.perf_counter() - began < moment.seconds:
        time.sleep(0.002)
    while process.poll() is None and (_begun(workdir) or 0) < moment.save:
        time.sleep(0.002)
    time.sleep(moment.delay)
    process.kill()
    killed_at = time.perf_counter() - began
    if process.wait() == 0:
        return None
    folders = (workdir / "checkpoints").glob("*")
    inside_a_save = any(not folder.name.isdecimal() for folder in folders)
    resumed_from = Checkpoints(workdir / "checkpoints").latest_step
    metrics = workdir / "metrics.jsonl"
    lines = [line for line in metrics.read_text().splitlines() if line.endswith("}")] if metrics.exists() else []
    finish(start(workdir, options.steps), workdir)
    return Trial(
        killed_at=killed_at,
        inside_a_save=inside_a_save,
        last_line=json.loads(lines[-1])["images"] if lines else -1,
        resumed_from=resumed_from,
        differing=[],
    )


def _begun(workdir: Path) -> int | None:
    """The last step of which a save has begun."""
    names = [path.name.split(".")[0] for path in (workdir / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=None)


def final_state(workdir: Path) -> dict[str, Any]:
    """The newest checkpoint's arrays, by what they are."""
    gan = load_workdir(epath.Path(workdir)).gan
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: init(gan, jax.random.key(0))))
    assert restored is not None
    step, state = restored
    assert isinstance(state, TrainState)
    players = (state.generator, state.discriminator)
    return {
        "step": (np.int64(step), state.step),
        "parameters": [player.params for player in players],
        "batch statistics": [player.variables for player in players],
        "optimizer state": [player.opt_state for player in players],
        "averaged weights": state.ema_params,
    }


def compare(workdir: Path, expected: Path) -> list[str]:
    """What of one run differs from the other."""
    states = final_state(workdir), final_state(expected)
    differing = [name for name in states[1] if _bytes(states[0][name]) != _bytes(states[1][name])]
    metrics = [_metrics(folder / "metrics.jsonl") for folder in (workdir, expected)]
    if metrics[0] != metrics[1]:
        first = next((i for i, pair in enumerate(zip(*metrics, strict=False)) if pair[0] != pair[1]), "the end")
        differing.append(f"metrics ({len(metrics[0])} lines of {len(metrics[1])}, from line {first})")
    pictures = [
        {path.name: path.read_bytes() for path in (folder / "samples").iterdir()} for folder in (workdir, expected)
    ]
    names = [name for name in {**pictures[0], **pictures[1]} if pictures[0].get(name) != pictures[1].get(name)]
    if names:
        differing.append(f"pictures {', '.join(sorted(names))}")
    return differing


def _bytes(tree: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def _metrics(path: Path) -> list[dict[str, float]]:
    """The lines, without what no two runs share."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def run(options: Options, folder: Path) -> list[Trial]:
    """All trials, printed as they come."""
    expected = folder / "uninterrupted"
    began = time.perf_counter()
    finish(start(expected, options.steps), expected)
    duration = time.perf_counter() - began
    print(f"uninterrupted: {duration:.1f} s, {len(_metrics(expected / 'metrics.jsonl'))} lines of metrics")
    print(row("kill", "at", "inside a save", "last line", "resumed from", "differing"))
    too_late = 0
    trials = earlier_trials(options)
    while len(trials) < options.num:
        rng = np.random.default_rng([options.seed, len(trials), too_late])
        workdir = folder / f"killed_{len(trials)}"
        if len(trials) % 2:
            moment = Moment(seconds=rng.uniform(0, duration))
        else:
            moment = Moment(save=10 * int(rng.integers(1, options.steps // 10)), delay=rng.uniform(0, 0.1))
        trial = kill_and_resume(workdir, moment, options)
        if trial is None:
            too_late += 1
            shutil.rmtree(workdir)
            continue
        trials.append(dataclasses.replace(trial, differing=compare(workdir, expected)))
        print(trial_row(len(trials), trials[-1]), flush=True)
        shutil.rmtree(workdir)
        report(options, trials)
    return trials


def earlier_trials(options: Options) -> list[Trial]:
    """Those that an earlier, ended, run of the same options has written."""
    path = Path(options.out) / "kill_and_resume.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    same = (content.get("steps"), content.get("seed"), content.get("machine")) == (
        options.steps,
        options.seed,
        machine(),
    )
    return [Trial(**trial) for trial in content["trials"]][: options.num] if same else []


def machine() -> str:
    """What it was measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, JAX {jax.__version__}"


def trial_row(number: int, trial: Trial) -> str:
    """A line of the table."""
    return row(
        str(number),
        f"{trial.killed_at:.2f} s",
        "yes" if trial.inside_a_save else "",
        "none" if trial.last_line < 0 else f"{trial.last_line:,} images",
        "the start" if trial.resumed_from is None else f"step {trial.resumed_from}",
        "; ".join(trial.differing) or "nothing",
    )


def row(*cells: str) -> str:
    """Cells of a Markdown table."""
    return f"| {' | '.join(f'{cell:13}' for cell in cells)} |"


def report(options: Options, trials: list[Trial]) -> None:
    """Writes the JSON and the Markdown."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "seed": options.seed,
        "kills": len(trials),
        "identical": sum(not trial.differing for trial in trials),
        "inside a save": sum(trial.inside_a_save for trial in trials),
        "steps": options.steps,
        "trials": [dataclasses.asdict(trial) for trial in trials],
    }
    (out / "kill_and_resume.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [
        "# Killed and resumed",
        "",
        f"`python benchmarks/kill_and_resume.py --num {len(trials)} --steps {options.steps} --seed {options.seed}`",
        "",
        f"{content['identical']} of {len(trials)} runs that were killed with SIGKILL at a random moment, "
        f"{content['inside a save']} of them inside a save, ended bit for bit where the uninterrupted one did: "
        f"parameters, optimizer state, averaged weights, batch statistics, metrics and pictures. {content['machine']}.",
        "",
        row("kill", "at", "inside a save", "last line", "resumed from", "differing"),
        row(*["---"] * 6),
        *(trial_row(number, trial) for number, trial in enumerate(trials, 1)),
    ]
    (out / "kill_and_resume.md").write_text("\n".join(lines) + "\n")


def main() -> int:
    """0 when nothing differs."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        trials = run(options, Path(folder))
    failed = sum(bool(trial.differing) for trial in trials)
    print(
        f"{len(trials) - failed} of {len(trials)} identical; {sum(trial.inside_a_save for trial in trials)} in a save"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
