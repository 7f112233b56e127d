"""Measures a run's newest checkpoint, or a folder of images, against a dataset: FID and others, with protocols."""

import dataclasses
import functools
import logging
from collections.abc import Collection, Sequence
from typing import Any

import jax
from etils import epath

from ganjax.algorithms.gan import GAN
from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.data import Latents
from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.pairs import Pairs
from ganjax.evaluation.protocol import METRICS, is_paired, parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.evaluation.results import keep_results, read_results, to_json, write_results
from ganjax.evaluation.tables import compare, refusal_lines, result_lines
from ganjax.ground.errors import UserError
from ganjax.platform.sharding import data_mesh, replicated
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names
from ganjax.runs.conditions import takes_more_than_labels
from ganjax.runs.config import Config, load_config
from ganjax.runs.identity import changes_since
from ganjax.runs.latents import pictures_behind
from ganjax.runs.makes import made_by
from ganjax.runs.origins import marks_of
from ganjax.runs.outputs import given_path
from ganjax.runs.pairs import Side, pairs_alone, side_at, side_of, stored_pairs
from ganjax.runs.provenance import provenance_of
from ganjax.runs.sampling import Sampler, restore_state
from ganjax.runs.standing import with_standing_statistics
from ganjax.runs.subjects import (
    BATCH_SIZE_OF_A_DEVICE,
    generated,
    open_evaluator,
    open_images,
    open_reals,
    stored,
)
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.using.marks import write_marked
from ganjax.verbs._evaluate_options import (
    EvaluateOptions,
    changed_options,
    check_options,
    check_place,
    expanded,
    given_options,
    try_place,
)
from ganjax.verbs._evaluate_pictures import pictures_of

INTERRUPTED = "interrupted before all was measured; run the same command again"

_logger = logging.getLogger("ganjax")


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax evaluate``."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse_arguments(EvaluateOptions, arguments[:split], prog="ganjax evaluate")
    run_evaluate(options, arguments[split + 1 :], given=given_options(arguments[:split]))


def run_evaluate(
    options: EvaluateOptions, config_flags: Sequence[str] = (), *, given: Collection[str] | None = None
) -> None:
    """Measures and writes: what ``ganjax evaluate`` does.

    Args:
        options: what is measured.
        config_flags: of the config, or where a run's dataset is now.
        given: the names of the options that were given; by default those that are not as they are by default.

    Raises:
        UserError: something is asked for that cannot be, or no metric can be computed. A metric beside others that
            cannot is named, and the others' numbers are printed, written and kept.
    """
    options = expanded(options)
    check_options(options, changed_options(options) if given is None else given, config_flags)
    if options.compare is not None:
        print("\n".join(compare(*(read_results(given_path("--compare", path)) for path in options.compare))))
        return
    # What costs little comes first, so that its mistakes are met before anything is computed.
    out = check_place(options.out) if options.out else None
    workdir = workdir_path(options.workdir) if options.workdir else None
    config = load_workdir(workdir, config_flags) if workdir else None
    if options.config is not None:
        config = load_config(options.config, config_flags)
    if workdir is not None and options.of_run:
        assert config is not None
        _evaluate_run(options, config, workdir, out)
    else:
        _evaluate_images(options, config, out)


def _evaluate_images(options: EvaluateOptions, config: Config | None, out: epath.Path | None) -> None:
    """Measures images on disk."""
    assert options.fake is not None
    metrics = parse_metrics(options.metrics)
    if all(map(is_paired, metrics)) and "network" not in {METRICS[name].role for name in metrics}:
        images, pairs = _open_pairs(options, config, None)
        _finish(options, config, pairs_alone(images, pairs), None, out)
        return
    measured = None if options.fake == "real" else open_images(options.fake)
    reals = _open_reals(options, config)
    source = measured if reals is None or measured is not None else reals.source
    if source is None:
        raise UserError("--fake real measures the real images; name them: --real FOLDER or --config CONFIG")
    fakes = stored(source, name=options.fake, seed=options.seed, batch_size=_batch_size(options), reals=reals)
    if any(map(is_paired, metrics)) and options.fake != "real":
        try:
            fakes = dataclasses.replace(fakes, pairs=_open_pairs(options, config, reals)[1])
        except UserError as error:  # which is no reason against the other metrics
            fakes = dataclasses.replace(fakes, unpaired=f"there is none for each: {error}")
    _finish(options, config, fakes, reals, out)


def _finish(
    options: EvaluateOptions, config: Config | None, fakes: Fakes, reals: Reals | None, out: epath.Path | None
) -> None:
    evaluator, refused = _open_evaluator(options, config, fakes, reals)
    results, more = evaluator(fakes)
    _report(results, refused | more, options, out)


def _open_pairs(options: EvaluateOptions, config: Config | None, reals: Reals | None) -> tuple[Side, Pairs]:
    """The images to measure, and each of them with its real."""
    assert options.fake is not None
    if options.fake == "real":
        raise UserError(
            f"--fake real measures the reals themselves, and {options.metrics} compares with these; name images"
        )
    if options.real is None and config is None:
        raise UserError(f"{options.metrics} compares with real images; name them: --real, --config or --workdir")
    images, stamp = side_at(options.fake), None
    if options.real is not None:
        others = side_at(options.real)
    else:
        reals = reals or _open_reals(options, config)
        assert reals is not None
        others, stamp = side_of(reals.source), reals.stamp
    return images, stored_pairs(images, others, border=options.border, stamp=stamp)


def _evaluate_run(options: EvaluateOptions, config: Config, workdir: epath.Path, out: epath.Path | None) -> None:
    """Measures samples of a run's checkpoint, keeps the numbers in its folder, and draws."""
    gan, alone = with_generator(config.gan, options.generator), options.generator != "generator"
    kept = workdir / "evaluation"
    try:
        try_place(kept / "results.json", str(kept))
    except UserError as error:
        if options.pictures:
            raise UserError(f"{error}, for the pictures: --pictures draws there") from error
        _logger.warning("%s cannot be written: the results will not be kept there", kept)
    whole = restore_state(config, workdir, step=options.step, sharding=replicated(data_mesh()))
    reals = _open_reals(options, config)
    learned = reals if options.real is None and not isinstance(config.data, Latents) else None
    if learned is not None and (changes := changes_since(workdir, learned.whole or learned.source)):
        _logger.warning("%s is not what %s was trained on: %s", learned.source.name, workdir, ", ".join(changes))
    sampler = Sampler(
        gan,
        seed=options.seed,
        weights=options.weights,
        truncation=options.truncation,
        truncation_mode=options.truncation_mode,
        truncated_layers=options.truncated_layers,
        noise=options.noise,
        standing=options.standing,
    )
    state = with_standing_statistics(sampler, generator_state(whole, options.generator))
    fakes = generated(
        sampler,
        state,
        reals=reals,
        batch_size=_batch_size(options),
        name=str(options.workdir),
        num=options.num,
        class_names=class_names(workdir, gan.generator.num_classes) or None,
        provenance=provenance_of(workdir),
        generator=options.generator if alone else None,
    )
    if fakes.pairs is not None:
        fakes = dataclasses.replace(fakes, pairs=dataclasses.replace(fakes.pairs, border=options.border))
    evaluator, refused = _open_evaluator(options, config, fakes, reals)
    results, more = evaluator(fakes)
    refused |= more
    _report(results, refused, options, out)
    images_seen = int(state.step) * config.run.batch_size
    lines = keep_results(results, workdir, images_seen=images_seen, refused=refused)
    if options.pictures:
        assert reals is not None
        for name, draw in pictures_of(workdir, fakes, evaluator, reals, sampler, state).items():
            path = kept / f"{images_seen:010}_{name}{f'_of_{options.generator}' if alone else ''}.png"
            try:
                picture = draw()
                with path.open("wb") as file:
                    if name == "curves":  # which no model made
                        picture.save(file, format="png")
                    else:
                        marks = marks_of(config, workdir, int(state.step), seed=options.seed)
                        write_marked(file, picture, suffix=".png", marks=marks)
                lines.append(f"drawn in {path}")
            except (UserError, OSError) as error:
                _logger.warning("%s is not drawn: %s", path, error)
        if not isinstance(gan, GAN):
            lines.append("realism by density alone: what was measured has no discriminator to ask")
    if not options.json:
        print("\n".join(lines))


def _batch_size(options: EvaluateOptions) -> int:
    return options.batch_size or BATCH_SIZE_OF_A_DEVICE * jax.device_count()


def _open_reals(options: EvaluateOptions, config: Config | None) -> Reals | None:
    """The images that are compared with or drawn for, where that is asked for and they are named."""
    draws_for_records = options.of_run and config is not None and takes_more_than_labels(config.gan)
    if not (options.compares or draws_for_records) or (options.real is None and config is None):
        return None
    if config is None or options.real:
        return open_reals(None, options.real)
    return open_reals(pictures_behind(config), None, part=functools.partial(made_by, config.gan, options.generator))


def _open_evaluator(
    options: EvaluateOptions, config: Config | None, fakes: Fakes, reals: Reals | None
) -> tuple[Evaluator, dict[str, str]]:
    """What measures, and why it leaves out some of the metrics; not all."""
    metrics = parse_metrics(options.metrics)
    if options.pictures and reals is not None and fakes.image_shape != reals.source.image_shape:
        raise UserError(
            f"--pictures compares images of one size and colour, and the run's are {fakes.image_shape} and those of "
            f"{reals.source.name} {reals.source.image_shape}; leave it out, or convert them"
        )
    evaluator, refused = open_evaluator(
        metrics,
        options.network,
        fakes,
        reals=reals,
        dataset=None if config is None or options.real else pictures_behind(config),
        num=options.num,
        seed=options.seed,
        batch_size=_batch_size(options),
        resize=options.resize,
        download=options.download,
        otherwise="or give --download; or take the features of the labelled dataset itself: --network classifier",
    )
    if not evaluator.metrics:
        raise UserError("; ".join(refusal_lines(refused)))
    return evaluator, refused


def _report(results: Sequence[Any], refused: dict[str, str], options: EvaluateOptions, out: epath.Path | None) -> None:
    """Prints, and writes.

    Raises:
        UserError: there are no numbers at all, or the file cannot be written now; the numbers are printed before.
    """
    if not results:
        raise UserError("; ".join(refusal_lines(refused)))
    print(to_json(results, refused) if options.json else "\n".join(result_lines(results, refused)))
    if out is not None:
        try:
            write_results(results, out, refused)
        except OSError as error:
            raise UserError(f"--out {out} cannot be written: {error.strerror}; name another place") from error
