"""The ``ganjax`` command: reads the arguments, calls a verb, and turns a user's mistake into one line."""

import dataclasses
import difflib
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from etils import epath

from ganjax.errors import UserError

_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Flags of ``ganjax train`` beside those of the config.

    Attributes:
        workdir: the run's folder: a new one, or one to go on from.
    """

    workdir: str


def train_command(arguments: Sequence[str]) -> None:
    """Trains a GAN or a VAE, or goes on where the run in the workdir stopped.

    Usage:   ganjax train CONFIG --workdir DIR [--flag value ...]
    Example: ganjax train configs/quickstart.py --workdir runs/quickstart --run.seed 1

    `ganjax train CONFIG --help` lists the flags of a config.
    """
    named = _config_and_flags(train_command, arguments, usage="ganjax train CONFIG --workdir DIR")
    if named is None:
        return

    from ganjax.config import parse_config  # here, so that --help need not wait for JAX
    from ganjax.distributed import join
    from ganjax.train import train
    from ganjax.workdir import claim, workdir_path

    config_file, flags = named
    config, options = parse_config(config_file, flags, TrainOptions, prog=f"ganjax train {config_file}")
    workdir = workdir_path(options.workdir)
    join(config.run.distributed, timeout=config.run.distributed_timeout)
    claim(workdir, epath.Path(config_file), _without(flags, "--workdir"), config)
    train(config, workdir)


def sample_command(arguments: Sequence[str]) -> None:
    """Draws samples from a run's newest checkpoint: a grid, arrays, or a folder of pictures."""
    from ganjax.config import parse_arguments
    from ganjax.sampling import SampleOptions, run_sample

    run_sample(parse_arguments(SampleOptions, arguments, prog="ganjax sample"))


def evaluate_command(arguments: Sequence[str]) -> None:
    """Measures a run's newest checkpoint, or a folder of images, against a dataset: FID and others, with protocols."""
    from ganjax.config import parse_arguments
    from ganjax.evaluate import EvaluateOptions, run_evaluate

    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse_arguments(EvaluateOptions, arguments[:split], prog="ganjax evaluate")
    run_evaluate(options, arguments[split + 1 :])


def data_command(arguments: Sequence[str]) -> None:
    """Shows what training sees of a dataset: `preview` draws reals, and the same reals augmented.

    Usage:   ganjax data preview CONFIG --out FILE.png [--augment 0.5] [--flag value ...]
    Example: ganjax data preview configs/r3gan_cifar10.py --augment 0.5 --out preview.png

    `ganjax data preview CONFIG --help` lists all flags.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_paragraphs(data_command))
        return
    action, *rest = arguments
    if action != "preview":
        raise UserError(f"unknown action {action!r} of `ganjax data`; expected preview")
    named = _config_and_flags(data_command, rest, usage="ganjax data preview CONFIG --out FILE.png")
    if named is None:
        return

    from ganjax.config import parse_config
    from ganjax.preview import PreviewOptions, preview

    config_file, flags = named
    config, options = parse_config(config_file, flags, PreviewOptions, prog=f"ganjax data preview {config_file}")
    preview(config, options)


def bench_command(arguments: Sequence[str]) -> None:
    """Measures a config on this machine: its step, and the whole loop; steps/s, images/s, FLOPs, MFU, memory.

    Usage:   ganjax bench CONFIG [--json] [--flag value ...]
    Example: ganjax bench configs/quickstart.py --batch-size 128

    Every rate is the median of some rounds; its spread is the lowest and the highest of them.
    `ganjax bench CONFIG --help` lists all flags.
    """
    named = _config_and_flags(bench_command, arguments, usage="ganjax bench CONFIG")
    if named is None:
        return

    from ganjax.bench import BenchOptions, run_bench
    from ganjax.config import parse_config

    config_file, flags = named
    config, options = parse_config(config_file, flags, BenchOptions, prog=f"ganjax bench {config_file}")
    run_bench(config, options, name=config_file)


def plan_command(arguments: Sequence[str]) -> None:
    """Compiles a config's step for a TPU slice that you do not have: does it fit, and how fast can it be.

    Usage:   ganjax plan CONFIG --topology SLICE [--json] [--top 15] [--flag value ...]
    Example: ganjax plan configs/r3gan_cifar10.py --topology v5e:4x4 --batch-size 1024

    Needs no TPU, but its compiler: pip install 'ganjax[tpu]'. What is reported are the compiler's estimates.
    `ganjax plan CONFIG --help` lists all flags.
    """
    named = _config_and_flags(plan_command, arguments, usage="ganjax plan CONFIG --topology v5e:4x4")
    if named is None:
        return
    os.environ["JAX_PLATFORMS"] = "cpu"  # else JAX looks for TPUs where their compiler is installed

    from ganjax.config import parse_config
    from ganjax.plan import PlanOptions, run_plan

    config_file, flags = named
    config, options = parse_config(config_file, flags, PlanOptions, prog=f"ganjax plan {config_file}")
    run_plan(config, options, name=config_file)


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train_command,
    "sample": sample_command,
    "evaluate": evaluate_command,
    "data": data_command,
    "bench": bench_command,
    "plan": plan_command,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb. Returns the exit code: 0 on success, 2 for a user's mistake, 1 when training diverged or something
    around it failed, 128 + n after signal n."""
    verb, *rest = arguments if arguments is not None else sys.argv[1:] or ["--help"]
    _log_plainly()
    try:
        if verb in ("-h", "--help"):
            print("usage: ganjax VERB ...   (ganjax VERB --help tells more)\n")
            print("\n".join(f"  {name:10}{_paragraphs(command).splitlines()[0]}" for name, command in VERBS.items()))
        elif verb not in VERBS:
            nearest = difflib.get_close_matches(verb, VERBS, n=1)
            known = f"perhaps you meant {nearest[0]}" if nearest else f"expected one of {', '.join(VERBS)}"
            raise UserError(f"unknown verb {verb!r}; {known}")
        else:
            VERBS[verb](rest)
    except (Exception, KeyboardInterrupt) as error:
        from ganjax.distributed import leave
        from ganjax.interruption import Interrupted

        exit_code, line = _outcome(error)
        if line is None:
            if not isinstance(error, Exception) or not _several_processes():
                raise
            traceback.print_exc()
        else:
            print(f"ganjax: {' '.join(line.split())}", file=sys.stderr)
        if not isinstance(error, Interrupted):  # on which all have agreed
            leave(exit_code)
        return exit_code
    return 0


def _config_and_flags(command: Callable, arguments: Sequence[str], *, usage: str) -> tuple[str, list[str]] | None:
    """The config file that a command was given, and the flags after it; None after printing the help it was asked for.

    Raises:
        UserError: no file is named.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        print(_paragraphs(command))
        return None
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"no config named; expected `{usage}`, CONFIG such as configs/quickstart.py")
    return arguments[0], list(arguments[1:])


def _outcome(error: BaseException) -> tuple[int, str | None]:
    """The exit code, and the line that tells the user; None when it is an error of the program."""
    from ganjax.distributed import lost_process
    from ganjax.interruption import Interrupted
    from ganjax.watch import Diverged

    match error:
        case UserError():
            return error.exit_code, str(error)
        case Interrupted():
            return 128 + error.signal_number, str(error)
        case Diverged():
            return 1, str(error)
        case KeyboardInterrupt():
            return 130, "interrupted before training began; nothing was lost"
        case OSError() if error.errno in _STORAGE_ERRORS:
            return 1, f"{error}; older checkpoints are untouched: mend it, and run the command again"
        case Exception():
            return 1, lost_process(error)
    return 1, None


def _log_plainly() -> None:
    """Makes a warning of ours a line that begins with ``ganjax:``, as our other lines do."""
    logging.basicConfig()
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # ours, or one of a library that was imported before
            handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def _several_processes() -> bool:
    import jax

    return jax.process_count() > 1


def _without(flags: Sequence[str], name: str) -> list[str]:
    """The flags without one of them and its value."""
    kept, skip = [], False
    for flag in flags:
        if skip:
            skip = False
        elif flag == name:
            skip = True
        elif not flag.startswith(f"{name}="):
            kept.append(flag)
    return kept


def _paragraphs(function: Callable) -> str:
    return "\n".join(line.removeprefix("    ") for line in (function.__doc__ or "").strip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
