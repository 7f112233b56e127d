"""A run as a value: ``Config``, and how a config file and command-line overrides become one.

A config file defines ``def config(*, width: int = 64, ...) -> Config``. Its arguments are flags (``--width 96``), and
so are the fields of the run and of the dataset that it returns (``--run.seed 3``, ``--data.mirror True``).
"""

import contextlib
import dataclasses
import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import flax.linen as nn
import tyro

from ganjax.algorithms.losses import Loss
from ganjax.algorithms.model import Model
from ganjax.data import Dataset
from ganjax.evaluation.protocol import METRICS, parse_metrics
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import check_distributed

_CONFIG_MODULE = "ganjax_config_"  # a config file is imported as this and its stem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How long, how often, how many. Totals and intervals count images seen, in steps of the batch size.

    Attributes:
        seed: of everything that is drawn: initial weights, noise, the order of the data.
        batch_size: images an update, over all devices.
        total_images: where training ends.
        log_every: interval of scalars, in images.
        sample_every: interval of sample grids, in images.
        checkpoint_every: interval of checkpoints, in images; the end and a clean stop are saved as well.
        keep_checkpoints: how many of the newest checkpoints to keep.
        keep_every: additionally, keep for good the checkpoints at multiples of so many images.
        num_samples: how many images a sample grid has.
        resident: whether the dataset lives on the device, is streamed to it, or whichever its size allows.
        num_workers: processes that decode a streamed dataset; 0 is threads.
        unreadable: what a record that cannot be read does: ``stop`` the run, saved, or be ``replace``d by the next one.
        distributed: ``auto`` joins the processes that Cloud TPU, Slurm, Kubernetes or MPI started together; ``off``
            does not; ``HOST:PORT,COUNT,INDEX`` says where the first one listens, how many there are and which this is.
        distributed_timeout: seconds to wait for the others.
        shard_state: whether parameters, optimizer state and averaged weights are split over the devices.
        on_divergence: what infinite numbers do: ``stop`` the run, or ``rollback`` to the last checkpoint and go on
            without the batch in which they came.
        max_rollbacks: how often in a run's life.
        steps_per_launch: iterations that the device runs before it turns to Python, for a dataset that lives on it;
            auto is 1 on a CPU and for iterations that take long anyway. It moves no number but by rounding.
        compilation_cache: keeps compiled programs in the user's cache folder ($GANJAX_CACHE, else
            ~/.cache/ganjax), so that the next start need not compile; JAX_COMPILATION_CACHE_DIR names another.
        evaluate_every: interval of evaluations, in images; the end is evaluated as well. None: none.
        evaluate_metrics: what they measure, such as fid,kid.
        evaluate_num: how many samples they measure.
        evaluate_network: whose features they use.
        best_metric: keep the checkpoint with the best value of this one of their numbers for good.
    """

    seed: int = 0
    batch_size: int
    total_images: int
    log_every: int
    sample_every: int
    checkpoint_every: int
    keep_checkpoints: int = 2
    keep_every: int | None = None
    num_samples: int = 64
    resident: Literal["auto", "device", "stream"] = "auto"
    num_workers: int = 0
    unreadable: Literal["stop", "replace"] = "stop"
    distributed: str = "auto"
    distributed_timeout: int = 300
    shard_state: bool = False
    on_divergence: Literal["stop", "rollback"] = "stop"
    max_rollbacks: int = 3
    steps_per_launch: int | Literal["auto"] = "auto"
    compilation_cache: bool = True
    evaluate_every: int | None = None
    evaluate_metrics: str = "fid"
    evaluate_num: int = 10_000
    evaluate_network: Literal["inception", "dinov2", "classifier"] = "inception"
    best_metric: str | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if (
                isinstance(value, int)
                and not isinstance(value, bool)
                and value < (0 if field.name in ("seed", "num_workers") else 1)
            ):
                raise UserError(f"run.{field.name} is {value}; expected a positive number")
        check_distributed(self.distributed)
        if self.keep_every is not None and self.keep_every % self.checkpoint_every:
            raise UserError(
                f"run.keep_every is {self.keep_every}; expected a multiple of run.checkpoint_every "
                f"({self.checkpoint_every})"
            )
        metrics = parse_metrics(self.evaluate_metrics)
        numbers = [number for name in metrics for number in METRICS[name].results]
        if "ppl" in metrics:
            raise UserError("run.evaluate_metrics names ppl, which needs a program of its own; use `ganjax evaluate`")
        if self.best_metric is not None and (self.evaluate_every is None or self.best_metric not in numbers):
            raise UserError(
                f"run.best_metric is {self.best_metric}; expected one of {', '.join(numbers)}, and run.evaluate_every"
            )

    @property
    def num_steps(self) -> int:
        """Iterations until at least ``total_images`` have been seen."""
        return -(-self.total_images // self.batch_size)

    def due(self, every: int, step: int) -> bool:
        """Whether the step, counted from 1, brings the images seen to or past a multiple of ``every``."""
        return step * self.batch_size // every > (step - 1) * self.batch_size // every

    def due_between(self, step: int, last: int) -> bool:
        """Whether the state is wanted between these two steps: for samples, an evaluation or a checkpoint."""
        seen, ahead = step * self.batch_size, (last - 1) * self.batch_size
        intervals = (self.sample_every, self.checkpoint_every, self.evaluate_every)
        return any(every is not None and ahead // every > seen // every for every in intervals)

    def evaluates(self, step: int) -> bool:
        """Whether the state after this step is evaluated."""
        return self.evaluate_every is not None and (self.due(self.evaluate_every, step) or step == self.num_steps)

    def keeps(self, step: int) -> bool:
        """Whether the checkpoint after this step is kept for good."""
        return self.keep_every is not None and self.due(self.keep_every, step)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is trained, on what, and for how long.

    Attributes:
        gan: what is trained.
        data: on what.
        run: for how long.
        origin: of one that ``load_config`` made; no part of its value.
    """

    gan: Model
    data: Dataset
    run: Run
    origin: "Origin | None" = dataclasses.field(default=None, compare=False, repr=False)

    def from_file(self, path: str | os.PathLike, flags: Sequence[str]) -> "Config":
        """The same config, which remembers that a file and flags make it."""
        return dataclasses.replace(self, origin=Origin(Path(path).absolute(), tuple(flags), self))

    @property
    def is_as_loaded(self) -> bool:
        """Whether ``origin`` still makes this config: it came from a file, and nothing was replaced in Python since."""
        if self.origin is None or not self.origin.file.is_file():
            return False
        loaded = self.origin.config
        return all(getattr(self, part) is getattr(loaded, part) for part in ("gan", "data", "run"))


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a config came from.

    Attributes:
        file: the config file.
        flags: what was given with it.
        config: what they made.
    """

    file: Path
    flags: tuple[str, ...]
    config: Config


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """No flags but the config's own."""


def load_config(path: str | os.PathLike, overrides: Sequence[str] = ()) -> Config:
    """The config that a file and flags define, as in ``load_config("configs/quickstart.py", ["--run.seed", "3"])``.

    Raises:
        UserError: no such file, no ``config`` function in it, or a flag that is unknown or ill-typed.
    """
    return parse_config(path, overrides, NoOptions, prog=str(path))[0].from_file(path, overrides)


def parse_config(path: str | os.PathLike, arguments: Sequence[str], options: type, *, prog: str) -> tuple[Config, Any]:
    """As ``load_config``, with further flags: those of the dataclass ``options``, a value of which is returned too."""
    function = _config_function(Path(path))
    # The defaults of the run and of the data follow from the function's own arguments, so these are read first.
    wants_help = not {"-h", "--help"}.isdisjoint(arguments)
    base, _ = parse_arguments(function, [] if wants_help else arguments, prog=prog, return_unknown_args=True)
    if not isinstance(base, Config):
        raise UserError(f"config() in {path} returns {type(base).__name__}; expected a ganjax.Config")
    flags = dataclasses.make_dataclass(
        "Flags",
        [
            ("options", Annotated[options, tyro.conf.arg(name="")]),
            ("config", Annotated[Config, tyro.conf.arg(name="", constructor=function)]),
            ("run", Run, dataclasses.field(default=base.run)),
            ("data", type(base.data), dataclasses.field(default=base.data)),
        ],
    )
    description = sys.modules[function.__module__].__doc__ or ""
    parsed = parse_arguments(flags, arguments, prog=prog, description=description)
    return dataclasses.replace(parsed.config, run=parsed.run, data=parsed.data), parsed.options


def parse_arguments(target: Callable, arguments: Sequence[str], **settings: Any) -> Any:
    """``tyro.cli``, with its boxed refusals turned into a one-line ``UserError``."""
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            return tyro.cli(
                target, args=list(arguments), config=(tyro.conf.FlagConversionOff,), registry=_switches, **settings
            )
    except SystemExit as exit_request:
        if not exit_request.code:
            raise  # --help
        raise UserError(_one_line(refusal.getvalue())) from None


_switches = tyro.constructors.ConstructorRegistry()


@_switches.primitive_rule
def _switch(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[bool] | None:
    """A flag that is on when it stands alone, as ``--json``, and takes True or False."""
    if info.type is not bool:
        return None

    def parse(words: list[str]) -> bool:
        if words in ([], ["True"], ["False"]):
            return words != ["False"]
        raise ValueError(f"{words[0]!r} is not True or False")

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[True|False]",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def describe(config: Config) -> dict[str, str]:
    """Every resolved value of a config by its dotted name: to compare runs, and to see what a new default changes."""
    return dict(_leaves("", config))


def _config_function(path: Path) -> Callable[..., Any]:
    if not path.is_file():
        raise UserError(f"no config file {path}; expected the path of a Python file, such as configs/quickstart.py")
    name = f"{_CONFIG_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; expected one that defines config() -> ganjax.Config")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # tyro looks the function's module up to read its docstrings
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "config", None)):
        raise UserError(f"{path} does not define config(); expected a function config(...) -> ganjax.Config")
    return module.config


def _one_line(refusal: str) -> str:
    """The first part of one of tyro's boxes, and the name that it suggests, if any."""
    text = re.sub(r"[│╭╮╰╯]", " ", refusal)
    parts = [" ".join(part.split()) for part in re.split(r"[─-]{3,}", text)]
    parts = [part for part in parts if part]
    message = next((part for part in parts[1:] if not part.startswith("Perhaps")), refusal.strip())
    suggestion = re.search(r"Perhaps you meant: (--\S+)", " ".join(parts))
    return f"{message.rstrip('.')}; " + (f"perhaps you meant {suggestion[1]}" if suggestion else "see --help")


def _leaves(name: str, value: Any) -> list[tuple[str, str]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind, hidden = type(value).__qualname__, ()
        if isinstance(value, nn.Module):  # every family has a Generator: tell them apart by their file
            file = type(value).__module__.rpartition(".")[2]
            if file.startswith(_CONFIG_MODULE):  # the workdir's copy of the config file has another name
                file = "config"
            kind, hidden = f"{file}.{kind}", ("parent", "name")
        leaves = [(f"{name}.type" if name else "type", kind)]
        for field in dataclasses.fields(value):
            if field.compare and field.name not in hidden:
                leaves += _leaves(f"{name}.{field.name}".lstrip("."), getattr(value, field.name))
        return leaves
    if isinstance(value, Loss):
        return [leaf for key, item in value._asdict().items() for leaf in _leaves(f"{name}.{key}", item)]
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(f"{name}.{index}", item)]
    if callable(value):
        return [(name, getattr(value, "__qualname__", type(value).__qualname__))]
    return [(name, str(value))]
