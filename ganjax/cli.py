"""The ``ganjax`` command: reads the arguments, calls a verb, and turns a user's mistake into one line."""

import dataclasses
import difflib
import logging
import sys
from collections.abc import Callable, Sequence

from etils import epath

from ganjax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Flags of ``ganjax train`` beside those of the config.

    Attributes:
        workdir: the run's folder: a new one, or one to go on from.
    """

    workdir: str


def train_command(arguments: Sequence[str]) -> None:
    """Trains a GAN, or goes on where the run in the workdir stopped.

    Usage:   ganjax train CONFIG --workdir DIR [--flag value ...]
    Example: ganjax train configs/quickstart.py --workdir runs/quickstart --run.seed 1

    `ganjax train CONFIG --help` lists the flags of a config.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        print(_paragraphs(train_command))
        return
    if not arguments or arguments[0].startswith("-"):
        raise UserError(
            "no config named; expected `ganjax train CONFIG --workdir DIR`, CONFIG such as configs/quickstart.py"
        )

    from ganjax.config import parse_config  # here, so that --help need not wait for JAX
    from ganjax.train import train
    from ganjax.workdir import claim

    config_file, *flags = arguments
    config, options = parse_config(config_file, flags, TrainOptions, prog=f"ganjax train {config_file}")
    workdir = epath.Path(options.workdir)
    claim(workdir, epath.Path(config_file), _without(flags, "--workdir"), config)
    train(config, workdir)


def sample_command(arguments: Sequence[str]) -> None:
    """Draws samples from a run's newest checkpoint: a grid, arrays, or a folder of pictures."""
    from ganjax.config import parse_arguments
    from ganjax.sample import SampleOptions, run_sample

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
    if rest and rest[0] in ("-h", "--help"):
        print(_paragraphs(data_command))
        return
    if not rest or rest[0].startswith("-"):
        raise UserError("no config named; expected `ganjax data preview CONFIG --out FILE.png`")

    from ganjax.config import parse_config
    from ganjax.preview import PreviewOptions, preview

    config_file, *flags = rest
    config, options = parse_config(config_file, flags, PreviewOptions, prog=f"ganjax data preview {config_file}")
    preview(config, options)


VERBS: dict[str, Callable[[Sequence[str]], None]] = {
    "train": train_command,
    "sample": sample_command,
    "evaluate": evaluate_command,
    "data": data_command,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb. Returns the exit code: 0 on success, 2 for a user's mistake, 1 when training diverged, 128 + n after
    signal n."""
    verb, *rest = arguments if arguments is not None else sys.argv[1:] or ["--help"]
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
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
    except UserError as error:
        print(f"ganjax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ganjax: interrupted before training began; nothing was lost", file=sys.stderr)
        return 130
    except Exception as error:
        from ganjax.interruption import Interrupted
        from ganjax.watch import Diverged

        if not isinstance(error, Diverged | Interrupted):
            raise
        print(f"ganjax: {error}", file=sys.stderr)
        return 128 + error.signal_number if isinstance(error, Interrupted) else 1
    return 0


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
