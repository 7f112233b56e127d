"""From a discriminator's logits to probabilities that mean what they say, and how well they do.

A discriminator that was trained in a game is no classifier: its logits are too large or too small, and those of a
relativistic one have no zero, or one for each class, for it compared pictures of a class alone. What a logit says of
a picture is learnt from pictures that it was not trained on.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ganjax.ground.errors import UserError

__all__ = ["Calibration", "Reliability", "calibrate", "reliability_of"]

Kind = Literal["logistic", "isotonic"]

_LARGEST_SLOPE = 30.0  # over logits of deviation 1, or so: that of separable sets is not infinite
_DRAWS = 200  # of what a calibrated judge's error would be


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What the logits of a discriminator say, where a real and a generated picture are equally likely beforehand.

    Attributes:
        slope: of the log of the density ratio, over logits.
        intercepts: its values at a logit of 0, one a class; one alone where there are none.
        corners: of an isotonic one, where the probability begins to rise and where it ends, of that log.
        probabilities: at these; () of a logistic one, whose probability is the logistic function of the log.
    """

    slope: float
    intercepts: tuple[float, ...]
    corners: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def log_ratio(
        self, logits: Float[np.ndarray, " num"], labels: Int[np.ndarray, " num"] | None = None
    ) -> Float[np.ndarray, " num"]:
        """The log of the density ratio of reals to generated pictures, linear in the logit.

        Args:
            logits: the discriminator's.
            labels: of the pictures; there is no need of any where there are no classes.
        """
        intercepts = np.array(self.intercepts)
        by_class = labels is not None and len(intercepts) > 1
        return self.slope * logits.astype(np.float64) + intercepts[labels if by_class else 0]

    def probability(
        self, logits: Float[np.ndarray, " num"], labels: Int[np.ndarray, " num"] | None = None
    ) -> Float[np.ndarray, " num"]:
        """Of being real; see ``log_ratio``."""
        log_ratio = self.log_ratio(logits, labels)
        if self.corners:
            return np.interp(log_ratio, self.corners, self.probabilities)
        return 0.5 * (1 + np.tanh(0.5 * log_ratio))


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often pictures of about one probability are real. Of bins without pictures there is nothing.

    Attributes:
        confidence: the mean probability in each bin.
        frequency: the share of reals among its pictures.
        counts: how many these are.
        error: the expected calibration error (Guo et al., arXiv 1706.04599, equation 3): the mean distance of the two.
        chance: what the error of a judge without fault would be on so many pictures, on average.
        accuracy: share of pictures that are on their side of a half.
    """

    confidence: Float[np.ndarray, " bins"]
    frequency: Float[np.ndarray, " bins"]
    counts: Int[np.ndarray, " bins"]
    error: float
    chance: float
    accuracy: float


def calibrate(
    logits: Float[np.ndarray, " num"],
    is_real: Bool[np.ndarray, " num"],
    labels: Int[np.ndarray, " num"] | None = None,
    *,
    num_classes: int = 0,
    kind: Kind = "logistic",
) -> Calibration:
    """Learns what logits mean, reals and generated pictures having equal weight.

    It is a logistic regression (Platt 1999) of how far logits are from the middle of their class, with an intercept
    for each class that a few pictures move little. An isotonic function is fitted to what comes out of it.

    Args:
        logits: of both.
        is_real: which are of reals.
        labels: of the pictures, where there are classes.
        num_classes: how many.
        kind: of function; the logistic one has a slope, the isotonic one any form that falls nowhere.

    Raises:
        UserError: there are fewer than two of either, or a logit is not finite.
    """
    from sklearn.isotonic import IsotonicRegression  # a second to import
    from sklearn.linear_model import LogisticRegression

    num_real, num_fake = int(is_real.sum()), int((~is_real).sum())
    if min(num_real, num_fake) < 2:
        raise UserError(f"there are {num_real} reals and {num_fake} generated pictures; expected 2 or more of each")
    if not np.isfinite(logits).all():
        raise UserError("the discriminator's logits are not finite; name an earlier --step")
    logits = logits.astype(np.float64)
    weights = np.where(is_real, 0.5 / num_real, 0.5 / num_fake) * len(logits)
    by_class = bool(num_classes) and labels is not None
    if labels is None or not by_class:
        labels = np.zeros(len(logits), np.int32)
    middles = _middles(logits, labels, num_classes if by_class else 1)
    apart = logits - middles[labels]
    deviation = float(apart.std()) or 1.0
    columns = [_LARGEST_SLOPE * apart[:, None] / deviation, *([np.eye(num_classes)[labels]] if by_class else [])]
    # Its penalty is that of weights from N(0, 1), so the factor of a column is how large its weight is expected to be.
    fitted = LogisticRegression().fit(np.hstack(columns), is_real, sample_weight=weights)
    first, *offsets = fitted.coef_[0]
    slope = float(first) * _LARGEST_SLOPE / deviation
    intercepts = tuple((fitted.intercept_[0] + np.array(offsets or [0.0]) - slope * middles).tolist())
    logistic = Calibration(slope, intercepts)
    if kind == "logistic":
        return logistic
    log_ratios = logistic.log_ratio(logits, labels)
    steps = IsotonicRegression(y_min=0.0, y_max=1.0).fit(log_ratios, is_real, sample_weight=weights)
    corners = (tuple(np.asarray(values).tolist()) for values in (steps.X_thresholds_, steps.y_thresholds_))
    return Calibration(slope, intercepts, *corners)


def _middles(
    logits: Float[np.ndarray, " num"], labels: Int[np.ndarray, " num"], num_classes: int
) -> Float[np.ndarray, " classes"]:
    """The mean logit of each class; of few pictures, between that and the mean of all (James and Stein 1961)."""
    counts = np.bincount(labels, minlength=num_classes)
    mean = logits.mean()
    means = np.where(counts, np.bincount(labels, logits, num_classes) / np.maximum(counts, 1), mean)
    within = np.mean((logits - means[labels]) ** 2)
    between = np.mean((means[counts > 0] - mean) ** 2)
    return mean + (means - mean) * counts * between / np.maximum(counts * between + within, 1e-300)


def reliability_of(
    probabilities: Float[np.ndarray, " num"], is_real: Bool[np.ndarray, " num"], *, num_bins: int = 10
) -> Reliability:
    """Of pictures that the probabilities were not learnt from.

    Args:
        probabilities: of being real.
        is_real: whether they are.
        num_bins: of equal width.
    """
    bins = np.minimum((probabilities * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    there = counts > 0
    confidence = np.bincount(bins, probabilities, num_bins)[there] / counts[there]

    def error(outcomes: np.ndarray) -> float:
        frequency = np.bincount(bins, outcomes, num_bins)[there] / counts[there]
        return float(np.sum(counts[there] * np.abs(frequency - confidence)) / len(bins))

    draws = np.random.default_rng(0).random((_DRAWS, len(bins))) < probabilities
    return Reliability(
        confidence=confidence,
        frequency=np.bincount(bins, is_real, num_bins)[there] / counts[there],
        counts=counts[there],
        error=error(is_real),
        chance=float(np.mean([error(draw) for draw in draws])),
        accuracy=float(np.mean((probabilities >= 0.5) == is_real)),
    )
