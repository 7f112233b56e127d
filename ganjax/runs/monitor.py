"""Evaluation while a run trains."""

import logging

import jax
from etils import epath

from ganjax.algorithms.model import State
from ganjax.data import Latents, Source
from ganjax.evaluation.content import read_content
from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.protocol import RESULTS, parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.evaluation.results import keep_results
from ganjax.evaluation.tables import refusal_lines
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import decided_by_first, is_first
from ganjax.runs.config import Config
from ganjax.runs.latents import pictures_behind
from ganjax.runs.provenance import provenance_of
from ganjax.runs.report import is_note, read_log
from ganjax.runs.sampling import Sampler
from ganjax.runs.subjects import BATCH_SIZE_OF_A_DEVICE, generated, open_evaluator

_logger = logging.getLogger("ganjax")


class TrainingEvaluation:
    """Evaluates a run while it goes on, with programs that are compiled once; changes nothing of it.

    The samples are those of ``ganjax sample`` with the run's seed, from the averaged weights.

    Attributes:
        best_step: the evaluated step with the best value of ``run.best_metric`` so far.
        refused: the metrics that the last evaluation could not compute, and why.
    """

    def __init__(self, config: Config, workdir: epath.Path, source: Source, *, first_step: int) -> None:
        """Opens the networks and computes the statistics of the reals.

        Args:
            config: of the run.
            workdir: of the run; what it has measured up to ``first_step`` decides which checkpoint is the best yet.
            source: the opened dataset.
            first_step: which the run goes on from.

        Raises:
            UserError: a metric lacks something that can be known before the first step: weights, labels, images. Or
                the run's log is damaged.
        """
        run = config.run
        self._config, self._workdir = config, workdir
        self._best_value: float | None = None
        self.best_step: int | None = None
        for step, value in decided_by_first(
            lambda: _measured(workdir / "metrics.jsonl", f"evaluate/{run.best_metric}")
        ):
            if step <= first_step:
                self._consider(step, value)
        pictures = pictures_behind(config)
        source = pictures.open() if isinstance(config.data, Latents) else source
        self._reals = Reals(source, read_content(source), str(getattr(pictures, "split", "all")))
        self._batch_size = BATCH_SIZE_OF_A_DEVICE * jax.device_count()
        self._evaluator, self.refused = open_evaluator(
            parse_metrics(run.evaluate_metrics),
            run.evaluate_network,
            self._fakes(None),
            reals=self._reals,
            dataset=pictures,
            num=run.evaluate_num,
            seed=run.seed,
            batch_size=self._batch_size,
            otherwise="or take the features of the labelled dataset itself: --run.evaluate-network classifier",
        )
        if self.refused:  # what is known now can be mended now
            raise UserError(
                f"run.evaluate_metrics is {run.evaluate_metrics}, and not all can be computed: "
                f"{'; '.join(refusal_lines(self.refused))}"
            )

    def __call__(self, state: State, *, step: int) -> dict[str, float]:
        """Measures the state after ``step`` iterations; also writes the results with their protocols.

        A metric that cannot be computed, for what the samples are now, is named in a warning and in ``refused``.

        Returns:
            Scalars named ``evaluate/…``, of the metrics that could be computed.
        """
        run = self._config.run
        results, self.refused = self._evaluator(self._fakes(state))
        if is_first():
            for line in refusal_lines(self.refused):
                _logger.warning("at %s images: %s", f"{step * run.batch_size:,}", line)
            keep_results(results, self._workdir, images_seen=step * run.batch_size, refused=self.refused)
        # Of which checkpoint is the best all must be of one mind, to the last bit of a sum.
        scalars = decided_by_first(lambda: {result.metric: result.value for result in results})
        if run.best_metric in scalars:
            self._consider(step, scalars[run.best_metric])
        return {f"evaluate/{name}": value for name, value in scalars.items()}

    def _fakes(self, state: State | None) -> Fakes:
        run = self._config.run
        return generated(
            Sampler(self._config.gan, seed=run.seed),
            state,
            reals=self._reals,
            batch_size=self._batch_size,
            name=str(self._workdir),
            provenance=provenance_of(self._workdir),
            num=run.evaluate_num,
        )

    def _consider(self, step: int, value: float) -> None:
        assert self._config.run.best_metric is not None
        sign = 1 if RESULTS[self._config.run.best_metric] == "higher" else -1
        if self._best_value is None or sign * value > sign * self._best_value:
            self._best_value, self.best_step = value, step


def _measured(log: epath.Path, name: str) -> list[tuple[int, float]]:
    """What a log says of a scalar, with the steps."""
    return [(line["step"], line[name]) for line in read_log(log) if name in line and not is_note(line)]
