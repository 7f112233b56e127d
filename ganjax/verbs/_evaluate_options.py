"""What `ganjax evaluate` can be told, and which of it goes together."""

import dataclasses
import itertools
import os
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from etils import epath

from ganjax.evaluation.protocol import METRICS, is_paired, parse_metrics
from ganjax.evaluation.results import is_device
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.runs.outputs import given_path
from ganjax.runs.sampling import TruncationMode
from ganjax.runs.standing import check_standing

_MOST_IMAGES, _LARGEST_BATCH, _WIDEST_BORDER = 10_000_000, 2**16, 2**16
_PATHS = ("workdir", "config", "real", "fake", "out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measures a run's newest checkpoint, or a folder, .zip or .npz of images, against a dataset.

    Example: ganjax evaluate --workdir runs/quickstart --metrics fid,accuracy --network classifier
    Example: ganjax evaluate --fake samples.npz --real photos/ --metrics fid,kid
    Example: ganjax evaluate --fake samples.npz --config configs/r3gan_cifar10.py --metrics fid -- --data.split test
    Example: ganjax evaluate --workdir runs/mgan --generator 2 --metrics fid,modes --network classifier
    Example: ganjax evaluate --compare one.json other.json

    Metrics: fid, kid, is, prdc (precision, recall, density, coverage), class-fid, modes, accuracy, ppl; of pixels,
    without a network, swd (sliced Wasserstein distance of patches, times 1000, at each size) and diversity (MS-SSIM of
    pairs of generated images, lower is more varied; `--fake real` gives that of the reals); of a generator
    that can be told how to move the picture, as StyleGAN3's, how far it obeys, in dB: eqt, eqt-frac (by whole pixels,
    and by any share of them) and eqr (turning); and of each
    image beside the real that it should be like, psnr, ssim, psnr-y and ssim-y (of luma alone), ms-ssim,
    feature-distance (Euclidean, of a network's features): reals of the same names, of the same places in an .npz, or
    of the records that a run's generator starts from. Every number carries its protocol; those of a run are kept in
    its folder, under evaluation/. A metric that cannot be computed is named beside the others' numbers; the exit code
    is 2 only when there is no number at all.

    Attributes:
        workdir: a run's folder: its checkpoint is measured, against its dataset.
        config: the config file whose dataset is compared with; flags of the config follow after `--`, as may those of
            a run that say where its dataset is now.
        real: a folder, .zip or .npz to compare with, instead of a config's dataset.
        fake: a folder, .zip or .npz to measure, instead of a run's samples; `real` measures the reals themselves.
        metrics: what to measure, separated by commas.
        num: how many generated images, and of reals where they are compared one by one.
        border: pixels at each edge that are left out where an image is compared with its real.
        network: whose features. The classifier is trained on the dataset itself, which must have labels.
        resize: how images come to a published network's size: legacy as in most published values, clean as in
            clean-fid.
        download: whether published weights that are not there may be downloaded.
        step: the checkpoint after this many iterations instead of the newest.
        generator: which of the model's, as for `ganjax sample`: `--generator 2` of a mixture. It is compared with what
            it is to make: of CoGAN's with its domain, of a CycleGAN's way back with what the other starts from.
        weights: the averaged weights or the live ones.
        truncation: as for `ganjax sample`.
        truncation_mode: as for `ganjax sample`.
        truncated_layers: as for `ganjax sample`.
        noise: as for `ganjax sample`.
        standing: as for `ganjax sample`.
        seed: of the samples and of every other draw.
        batch_size: images at once, over all devices; by default 64 a device. It changes no sample.
        pictures: also draws pictures: nearest reals, classes, most and least realistic, learning curves.
        json: prints JSON, with the protocols.
        out: also writes that JSON to a file.
        compare: two such files, whose numbers and protocols are compared; nothing is measured.
    """

    workdir: str | None = None
    config: str | None = None
    real: str | None = None
    fake: str | None = None
    metrics: str = "fid"
    num: int = 50_000
    border: int = 0
    network: Literal["inception", "dinov2", "classifier"] = "inception"
    resize: Literal["legacy", "pytorch", "clean"] | None = None
    download: bool = False
    step: int | None = None
    generator: str = "generator"
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: TruncationMode | None = None
    truncated_layers: int | None = None
    noise: Literal["random", "constant", "none"] | None = None
    standing: int | None = None
    seed: int = 0
    batch_size: int | None = None
    pictures: bool = False
    json: bool = False
    out: str | None = None
    compare: tuple[str, str] | None = None

    @property
    def of_run(self) -> bool:
        """Whether a run's samples are measured, and not images on disk."""
        return self.fake is None

    @property
    def compares(self) -> bool:
        """Whether real images are needed."""
        metrics = parse_metrics(self.metrics)
        needed = any(METRICS[name].reals or METRICS[name].role == "classifier" for name in metrics)
        return needed or self.pictures or self.fake == "real" or self.network == "classifier"


def given_options(arguments: Sequence[str]) -> set[str]:
    """The options that a command line names, but for switches that it turns off."""
    given = set()
    for word, following in itertools.pairwise([*arguments, ""]):
        name, _, value = word.partition("=")
        if name.startswith("--") and "False" not in (value, following):
            given.add(name.removeprefix("--").replace("-", "_"))
    return given & {field.name for field in dataclasses.fields(EvaluateOptions)}


def changed_options(options: EvaluateOptions) -> set[str]:
    """The options that are not as they are by default."""
    fields = dataclasses.fields(EvaluateOptions)
    return {field.name for field in fields if getattr(options, field.name) != field.default}


def expanded(options: EvaluateOptions) -> EvaluateOptions:
    """With the user's folder for ``~`` in every path.

    Raises:
        UserError: a path is empty.
    """
    paths = {name: path for name in _PATHS if (path := getattr(options, name)) is not None}
    for name, path in [*paths.items(), *(("compare", path) for path in options.compare or ())]:
        if not path:
            raise UserError(f"--{name} is empty; expected a path (is a variable of the shell not set?)")
    compare = options.compare and tuple(os.path.expanduser(path) for path in options.compare)
    return dataclasses.replace(
        options, compare=compare, **{name: os.path.expanduser(path) for name, path in paths.items()}
    )


def check_options(options: EvaluateOptions, given: Collection[str], config_flags: Sequence[str]) -> None:
    """Looks at everything that can be looked at without reading a file.

    Args:
        options: as read.
        given: the names of those that the user gave.
        config_flags: what followed after ``--``.

    Raises:
        UserError: a number is out of range, there is nothing to measure, or an option would have no effect.
    """
    if options.compare is None:
        metrics = parse_metrics(options.metrics)
        check_number("--num", options.num, at_least=2, at_most=_MOST_IMAGES, example=50_000)
        check_number("--border", options.border, at_least=0, at_most=_WIDEST_BORDER, example=4)
        check_number("--batch-size", options.batch_size, at_least=1, at_most=_LARGEST_BATCH, example=64)
        check_number("--step", options.step, at_least=0, example=1000)
        # Far beyond, float32 has no numbers for what a network makes of such latents.
        check_number("--truncation", options.truncation, above=0, at_most=1_000_000, example=0.7)
        check_standing(options.standing)
        check_seed("--seed", options.seed)
        if options.workdir is None and options.fake is None:
            raise UserError("nothing to measure; name a run (--workdir DIR) or images (--fake FOLDER, .zip or .npz)")
        if options.workdir is not None and options.config is not None:
            raise UserError(f"--config {options.config} and --workdir {options.workdir} both name a dataset; name one")
        moving = [name for name in metrics if METRICS[name].moves]
        if options.truncation is not None and moving:
            raise UserError(
                f"--truncation is {options.truncation}; {moving[0]} goes through untruncated latents: leave one out"
            )
    idle = [rule for rule in _rules(options) if not rule.has_effect]
    for rule in idle:
        for name in rule.options:
            if name in given:
                raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} has no effect: {rule.otherwise}")
    if config_flags and not (options.compares and options.real is None and (options.config or options.workdir)):
        raise UserError(
            f"{config_flags[0]} after -- has no effect: such flags are of the dataset that --config or --workdir "
            "names, and none of it is asked for; leave them out"
        )


class _Rule(NamedTuple):
    """Options that have an effect under one condition, and what to say and to do where it does not hold."""

    options: tuple[str, ...]
    has_effect: bool
    otherwise: str


def _rules(options: EvaluateOptions) -> list[_Rule]:
    names = tuple(field.name for field in dataclasses.fields(EvaluateOptions) if field.name != "compare")
    if options.compare is not None:
        return [_Rule(names, False, "--compare only reads two files; leave it out")]
    metrics = parse_metrics(options.metrics)
    roles = {METRICS[name].role for name in metrics}
    asked = "always asks the dataset's own classifier" if "classifier" in roles else "asks no network"
    alone = "it goes with --truncation; leave it out"
    of_samples = ("step", "generator", "weights", "truncation", "truncation_mode", "truncated_layers", "noise")
    of_samples += ("standing", "pictures")
    return [
        _Rule(of_samples, options.of_run, "it is for a run's samples, and --fake names images; leave one of them out"),
        _Rule(("truncation_mode", "truncated_layers"), options.truncation is not None, alone),
        _Rule(("real", "config"), options.compares, f"{options.metrics} compares with no images; leave it out"),
        _Rule(("config",), options.real is None, "--real names what is compared with; leave one of them out"),
        _Rule(
            ("workdir",),
            options.of_run or options.real is None,
            "--fake names what is measured and --real what is compared with; leave it out",
        ),
        _Rule(
            ("network",),
            "network" in roles or options.network == "classifier",
            f"{options.metrics} {asked}; leave it out",
        ),
        _Rule(
            ("resize", "download"),
            "network" in roles and options.network != "classifier",
            "it is for a published network, and "
            + ("no network" if roles == {None} else "the dataset's own classifier")
            + " is asked; leave it out",
        ),
        _Rule(
            ("border",),
            any(is_paired(name) for name in metrics),
            f"{options.metrics} compares no image with its own real; leave it out",
        ),
        _Rule(
            ("batch_size",),
            options.pictures or any(METRICS[name].keeps or (is_paired(name) and options.of_run) for name in metrics),
            f"{options.metrics} has batches of its own; leave it out",
        ),
    ]


def check_place(out: str) -> epath.Path:
    """Where the results are to be written, tried before they are computed; folders on the way are made.

    Raises:
        UserError: nothing can be written there.
    """
    path = given_path("--out", out)
    if path.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it, such as {path / 'results.json'}")
    try_place(path, f"--out {out}")
    return path


def try_place(path: epath.Path, name: str) -> None:
    """Makes the folders on the way to a file, and looks whether it could be written.

    Raises:
        UserError: it could not.
    """
    if is_device(path):
        return
    tried = path.parent / f"{path.name}.unfinished"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tried.write_text("")
        tried.unlink()
    except Exception as error:  # an object store has errors of its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} cannot be written: {reason}; name another place") from error
