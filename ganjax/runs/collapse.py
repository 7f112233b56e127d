"""Signs that a GAN has collapsed, from what is computed anyway. They are grounds to look at the pictures, no proof."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

Line = Mapping[str, float | int]
"""Of the log: scalars by name, with the step and the images seen."""

LEAST_HISTORY = 10
"""Lines of the log before which nothing is said of gaps and gradients, for there is nothing to compare with."""


def spread(images: UInt8[np.ndarray, "num height width channels"]) -> float:
    """How much images differ from each other: the standard deviation of a pixel, root mean square over all pixels."""
    return float(np.sqrt(np.mean(np.var(images.astype(np.float32) / 127.5, axis=0))))


def narrow(samples: float, reals: float) -> str | None:
    """Says that the samples from fixed latents are all alike: their spread is under a tenth of as many reals'."""
    if samples >= 0.1 * reals:
        return None
    return f"samples from fixed latents spread by {samples:.3g}, reals by {reals:.3g}: they are nearly all alike"


def imbalance(scalars: Line, history: Sequence[Line]) -> dict[str, str]:
    """What a line of the log says about the balance of the players, by the sign's name.

    Args:
        scalars: the line.
        history: the lines before it.
    """
    signs = {}
    usual_gap = _usual(_gap, history)
    gap = _gap(scalars)
    if gap is not None and usual_gap is not None and gap > max(10.0, 10 * usual_gap):
        signs["collapse/gap"] = (
            f"the discriminator scores reals {gap:.3g} above fakes, usually {usual_gap:.3g}: the generator has lost"
        )
    gradient, usual = _gradient(scalars), _usual(_gradient, history)
    if gradient is not None and usual is not None and not 1e-3 * usual <= gradient <= 1e3 * usual:
        change = "has vanished" if gradient < usual else "explodes"
        signs["collapse/gradient"] = f"the generator's gradient is {gradient:.3g}, usually {usual:.3g}: it {change}"
    return signs


def _gap(line: Line) -> float | None:
    return line["d/real"] - line["d/fake"] if line.keys() >= {"d/real", "d/fake"} else None


def _gradient(line: Line) -> float | None:
    return line.get("g/grad_norm")


def _usual(quantity: Callable[[Line], float | None], history: Sequence[Line]) -> float | None:
    """The median over the lines that have the quantity, which an evaluation's have not; None if those are few."""
    values = [value for value in map(quantity, history) if value is not None]
    return statistics.median(values) if len(values) >= LEAST_HISTORY else None
