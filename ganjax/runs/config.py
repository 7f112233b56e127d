"""A run as a value: ``Config``, and how a config file and command-line overrides become one.

A config file defines ``def config(*, width: int = 64, ...) -> Config``. Its arguments are flags (``--width 96``), and
so are the fields of the run and of the dataset that it returns (``--run.seed 3``, ``--data.mirror True``).
"""

import dataclasses
import functools
import inspect
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import flax.linen as nn
import optax
import tyro

from ganjax.algorithms.losses import Loss
from ganjax.algorithms.model import Model
from ganjax.data import Dataset
from ganjax.evaluation.protocol import METRICS, parse_metrics
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import check_distributed
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.config_files import CONFIG_MODULE, config_path, imports_beside, load_function
from ganjax.runs.stopping_rule import Condition, parse_rule
from ganjax.using.guard import Guard

_MOST_STEPS = 2**31 - 1  # they are counted in int32
_LONGEST_WAIT = 7 * 24 * 3600  # seconds
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in memory: another one in each process
# Fields of a run that are 1 or more, each with an example.
_COUNTS = {
    "batch_size": 64,
    "total_images": 1_000_000,
    "log_every": 10_000,
    "sample_every": 100_000,
    "checkpoint_every": 100_000,
    "keep_checkpoints": 2,
    "keep_every": 1_000_000,
    "num_samples": 64,
    "max_rollbacks": 3,
    "steps_per_launch": 8,
    "evaluate_every": 500_000,
    "model_parallel": 2,
}


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
        prepared: a folder that `ganjax data prepare` has written of the dataset, which is read in its place.
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
        profile: steps to trace, as 100:110 for those after the 100th up to the 110th, into the folder profile of the
            workdir, for XProf.
        freeze_discriminator: how many stages of the discriminator, from the image on, stay as they are (FreezeD), of a
            run that begins with another's weights.
        watermark: the key of an invisible watermark, any text, which every picture that the run makes then gets.
        track: whom the log is shown to as well: a service for experiments, whose package is installed.
        stop_when: what ends the run before ``total_images``, such as "fid has not improved for 2M images".
        model_parallel: how many devices, of one host, share each network, by its heads and hidden units; with
            shard_state what is left is split over the others. For networks that have these: see ``gat.py``.
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
    prepared: str | None = None
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
    profile: str | None = None
    freeze_discriminator: int = 0
    watermark: str | None = None
    track: Literal["wandb", "mlflow", "trackio"] | None = None
    stop_when: str | None = None
    model_parallel: int = 1

    def __post_init__(self) -> None:
        check_seed("run.seed", self.seed)
        check_number("run.freeze_discriminator", self.freeze_discriminator, at_least=0, example=3)
        check_number("run.num_workers", self.num_workers, at_least=0, example=4)
        check_number(
            "run.distributed_timeout", self.distributed_timeout, at_least=1, at_most=_LONGEST_WAIT, example=300
        )
        check_number("run.evaluate_num", self.evaluate_num, at_least=2, example=10_000)
        for name in _COUNTS:
            if getattr(self, name) != "auto":
                check_number(f"run.{name}", getattr(self, name), at_least=1, example=_COUNTS[name])
        if self.num_steps > _MOST_STEPS:
            raise UserError(
                f"run.total_images is {self.total_images}, which takes {self.num_steps:,} steps of run.batch_size "
                f"{self.batch_size}; expected {_MOST_STEPS:,} steps or fewer"
            )
        check_distributed(self.distributed)
        if self.profile is not None:
            first, _ = self.profiled_steps
            if first >= self.num_steps:
                raise UserError(
                    f"run.profile is {self.profile!r}, and the run ends at step {self.num_steps}; "
                    "expected earlier steps"
                )
        if self.keep_every is not None and self.keep_every % self.checkpoint_every:
            raise UserError(
                f"run.keep_every is {self.keep_every}; expected a multiple of run.checkpoint_every "
                f"({self.checkpoint_every})"
            )
        metrics = parse_metrics(self.evaluate_metrics)
        numbers = [number for name in metrics for number in METRICS[name].results]
        for name in metrics:
            if METRICS[name].moves:
                raise UserError(
                    f"run.evaluate_metrics names {name}, which needs a program of its own; use `ganjax evaluate`"
                )
        _ = self.stopping_conditions
        if self.watermark is not None and not self.watermark.strip():
            raise UserError("run.watermark is empty; expected a key, which is any text, such as ganjax")
        if self.best_metric is not None and (self.evaluate_every is None or self.best_metric not in numbers):
            raise UserError(
                f"run.best_metric is {self.best_metric}; expected one of {', '.join(numbers)}, and run.evaluate_every"
            )

    @property
    def stopping_conditions(self) -> tuple[Condition, ...]:
        """What ``stop_when`` says; none where nothing ends the run early.

        Raises:
            UserError: it is not understood.
        """
        if self.stop_when is None:
            return ()
        metrics = () if self.evaluate_every is None else parse_metrics(self.evaluate_metrics)
        return parse_rule(self.stop_when, [number for name in metrics for number in METRICS[name].results])

    @property
    def num_steps(self) -> int:
        """Iterations until at least ``total_images`` have been seen."""
        return -(-self.total_images // self.batch_size)

    @property
    def profiled_steps(self) -> tuple[int, int]:
        """Between which two steps ``profile`` is.

        Raises:
            UserError: it says nothing of the kind.
        """
        found = re.fullmatch(r"([0-9]{1,10}):([0-9]{1,10})", self.profile or "")
        first, last = (int(found[1]), int(found[2])) if found else (0, 0)
        if first >= last:
            raise UserError(
                f"run.profile is {self.profile!r}; expected two steps, the first of them earlier, such as 100:110"
            )
        return first, last

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
        guard: what of its pictures may leave; no part of its value, for it moves no number of training.
        origin: of one that ``load_config`` made; no part of its value.
    """

    gan: Model
    data: Dataset
    run: Run
    guard: Guard | None = dataclasses.field(default=None, compare=False)
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
        return all(getattr(self, part) is getattr(loaded, part) for part in ("gan", "data", "run", "guard"))


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

    A name alone, as ``load_config("quickstart")``, is a config that comes with ganjax, unless there is such a file.

    Raises:
        UserError: no such file, no ``config`` function in it, or a flag that is unknown or ill-typed.
    """
    return parse_config(path, overrides, NoOptions, prog=str(path))[0].from_file(config_path(path), overrides)


def config_files(path: str | os.PathLike, overrides: Sequence[str] = ()) -> dict[str, Path]:
    """What has to be kept to load a config again: its file, as ``config.py``, and those that it imports from beside it.

    Args:
        path: as ``load_config`` takes it.
        overrides: likewise; they may decide what is imported.

    Returns:
        The files by their names in the folder where they are to be kept.

    Raises:
        UserError: as ``load_config``; or one of the files beside the config has the name that the config is to get.
    """
    config_file = config_path(path)
    with imports_beside(config_file) as files:
        load_config(config_file, overrides)
    if "config.py" in files:
        raise UserError(f"{config_file} imports config.py, the name that a run keeps {config_file.name} by; rename it")
    return {**files, "config.py": config_file}


def parse_config(path: str | os.PathLike, arguments: Sequence[str], options: type, *, prog: str) -> tuple[Config, Any]:
    """As ``load_config``, with further flags: those of the dataclass ``options``, a value of which is returned too."""
    config_file = config_path(path)
    with imports_beside(config_file):
        return _parse(config_file, arguments, options, prog)


def _parse(path: Path, arguments: Sequence[str], options: type, prog: str) -> tuple[Config, Any]:
    function = load_function(path)
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
            ("data", _type_of(base.data), dataclasses.field(default=base.data)),
        ],
    )
    description = sys.modules[function.__module__].__doc__ or ""
    parsed = parse_arguments(flags, arguments, prog=prog, description=description)
    return dataclasses.replace(parsed.config, run=parsed.run, data=parsed.data), parsed.options


def _type_of(data: Dataset) -> Any:
    """The type whose fields are flags: of a dataset that holds others, with these others' types."""
    kind: Any = type(data)
    if not getattr(kind, "__parameters__", ()):
        return kind
    held = (getattr(data, field.name) for field in dataclasses.fields(kind))
    return kind[tuple(type(value) for value in held if dataclasses.is_dataclass(value))]


def describe(config: Config, *, defaults: bool = True) -> dict[str, str]:
    """Every resolved value of a config by its dotted name: to compare runs, and to see what a new default changes.

    Args:
        config: the run's.
        defaults: whether values that are as if nobody had given them are among them.
    """
    return dict(_leaves("", config, defaults))


def _leaves(name: str, value: Any, defaults: bool) -> list[tuple[str, str]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind, hidden = type(value).__qualname__, ()
        if isinstance(value, nn.Module):  # every family has a Generator: tell them apart by their file
            file = type(value).__module__.rpartition(".")[2]
            if file.startswith(CONFIG_MODULE):  # the workdir's copy of the config file has another name
                file = "config"
            kind, hidden = f"{file}.{kind}", ("parent", "name")
        leaves = [(f"{name}.type" if name else "type", kind)]
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            if field.compare and field.name not in hidden and (defaults or not _is_default(field, inner)):
                leaves += _leaves(f"{name}.{field.name}".lstrip("."), inner, defaults)
        return leaves
    if isinstance(value, Loss):
        return [leaf for key, item in value._asdict().items() for leaf in _leaves(f"{name}.{key}", item, defaults)]
    if isinstance(value, optax.GradientTransformation):  # functions, whose numbers are in what they enclose
        return [(f"{name}.{key}", _in_words(item)) for key, item in value._asdict().items()]
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(item) or callable(item) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(f"{name}.{index}", item, defaults)]
    if callable(value):
        return [(name, getattr(value, "__qualname__", type(value).__qualname__))]
    return [(name, _in_words(value) if " at 0x" in str(value) else str(value))]


def _in_words(value: Any, above: tuple[Any, ...] = ()) -> str:
    """A function by its name and what it encloses, an object by what it has, and nothing by its place in memory."""
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if any(value is one for one in above):
        return name
    inner = functools.partial(_in_words, above=(*above, value))
    if isinstance(value, tuple | list):
        return f"({', '.join(map(inner, value))})"
    if isinstance(value, Mapping):
        return f"({', '.join(f'{key}={inner(item)}' for key, item in value.items())})"
    if inspect.isfunction(value):
        return name + inner(inspect.getclosurevars(value).nonlocals)
    if isinstance(value, functools.partial):
        return inner(value.func) + inner({"arguments": value.args, **value.keywords})
    if type(value).__repr__ is object.__repr__:
        return name + inner(getattr(value, "__dict__", {}))
    return name if isinstance(value, type) else _ADDRESS.sub("", str(value))


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return value == field.default_factory()
    return field.default is not dataclasses.MISSING and value == field.default
