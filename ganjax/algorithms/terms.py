"""Terms: what a player minimises beside the adversarial loss.

A term is a frozen dataclass with a ``name``, its key in the metrics; a ``weight``; an interval ``every``; and a
``__call__`` that gives a scalar, which is added to the player's loss times ``weight``. At an interval of k iterations
it is computed every k-th one and weighs k times as much (lazy regularization, StyleGAN2, arXiv 1912.04958, 3.1).
While the weight is a step of 0 (``Steps``), the term is not computed.
``penalties.py`` has those of the discriminator, ``generator_terms.py`` those of the generator.

A term that does not go with every GAN has a ``check(generator, discriminator)`` that raises ``UserError``; one that
asks for the records' labels says with ``label_classes(discriminator)`` of how many classes these are.

A term may carry arrays from step to step: it then has an ``init()`` that gives them, is called with them last, and
returns ``(scalar, arrays)``. They are float32, and their mean over microbatches and devices is what is kept.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ganjax.algorithms.gradients import per_device
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule, check_schedule, rests, value_at

__all__ = ["Carried", "Term", "check_term", "global_mean"]

Carried = dict[str, PyTree]
"""What terms carry from step to step, by their names."""


@runtime_checkable
class Term(Protocol):
    """What all terms have. ``__call__`` takes what the player's terms are given."""

    name: ClassVar[str]
    __call__: Callable[..., Any]

    @property
    def weight(self) -> Schedule: ...

    @property
    def every(self) -> int: ...


def init_carried(terms: Sequence[Term]) -> Carried:
    """What the terms carry before the first step, of those that carry anything."""
    return {term.name: term.init() for term in terms if hasattr(term, "init")}  # pyright: ignore[reportAttributeAccessIssue]


def add_terms(
    total: Float[Array, ""],
    terms: Sequence[Term],
    given: tuple,
    carried: Carried,
    *,
    step: Int[Array, ""],
    images_seen: Float[Array, ""],
    axis_name: str | None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]], Carried]:
    """A loss with its terms.

    Args:
        total: the loss.
        terms: of one player.
        given: what they are called with.
        carried: by names, those of other terms among them.
        step: of the iteration; a term is computed where its interval divides it.
        images_seen: for the weights.
        axis_name: the mapped axis over which the batch is split.

    Returns:
        The sum; each term's value before it is weighted, 0 at the iterations at which it is not due; and ``carried``
        afterwards.
    """
    values, carried = {}, dict(carried)
    for term in terms:
        compute = functools.partial(evaluate, term, given, carried)
        if term.every == 1 and not rests(term.weight):
            value, after = compute()
        else:
            due = is_due(term, step=step, images_seen=images_seen)
            unchanged = (per_device(jnp.zeros(()), axis_name), _kept(term, carried))
            value, after = jax.lax.cond(due, compute, lambda unchanged=unchanged: unchanged)
        total += value_at(term.weight, images_seen) * term.every * value
        values[term.name] = value
        carried |= after
    return total, values, carried


def evaluate(term: Term, given: tuple, carried: Carried) -> tuple[Float[Array, ""], Carried]:
    """A term's value before it is weighted, and what it carries afterwards, by its name: {} if nothing."""
    if term.name not in carried:
        return term(*given), {}
    value, after = term(*given, carried[term.name])
    return value, {term.name: after}


def is_due(term: Term, *, step: Int[Array, ""], images_seen: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether a term is computed in an iteration."""
    due = step % term.every == 0
    return due & (value_at(term.weight, images_seen) > 0) if rests(term.weight) else due


def _kept(term: Term, carried: Carried) -> Carried:
    return {term.name: carried[term.name]} if term.name in carried else {}


def global_mean(values: Array, axis_name: str | None) -> Array:
    """The mean over the first axis, and over the mapped axis over which that is split."""
    mean = jnp.mean(values, axis=0)
    return jax.lax.pmean(mean, axis_name) if axis_name else mean


def check_term(term: Term) -> None:
    """Raises ``UserError`` unless weight and interval of a term can be meant; for its ``__post_init__``."""
    name = type(term).__name__
    check_schedule(f"{name}'s weight", term.weight, at_least=0, example=1)
    check_number(f"{name}'s every", term.every, at_least=1, example=16)


def check_latents(term: Term, generator: Any) -> None:
    """Raises ``UserError`` unless there are latents to move; for its ``check``."""
    if getattr(generator, "latent_size", 0) == 0:
        raise UserError(
            f"{type(term).__name__} is of what latents change, and this generator starts from an image alone; give it "
            "a latent_size, or take the term away"
        )


def check_names(terms: Sequence[Term]) -> None:
    """Raises ``UserError`` when two terms of a player have one name: their values could not be told apart."""
    names = [term.name for term in terms]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{names.count(name)} terms are named {name!r}; a player has one of each: take one away")
