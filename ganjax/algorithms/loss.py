"""What an adversarial objective is: the two players' functions of logits, and how a step asks them."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.given import logits_of_images, wide
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule, check_schedule, value_at

__all__ = ["Logits", "Loss", "Scales", "at_all_scales", "check_plain", "mean_logit", "top_k"]

Logits = Float[Array, "batch *patches"]
"""What the discriminator says: one number an image, or one a patch of each; higher is more real."""
Scales = Logits | tuple[Float[Array, "batch *_"], ...]
"""Of a discriminator that judges an image at several sizes: those at each."""
GeneratorObjective = Callable[[Logits | None, Logits], Float[Array, ""]]


def in_float32(objective: Callable[..., Any]) -> Callable[..., Any]:
    """The objective, of logits of bfloat16 as well: in float32, or wider where they are."""

    @functools.wraps(objective)
    def computed(*logits: Logits | None) -> Any:
        return objective(*(None if one is None else wide(one) for one in logits))

    return computed


class Loss(NamedTuple):
    """What each player minimises.

    Attributes:
        discriminator: ``(real_logits, fake_logits) -> scalar``; of a loss that carries something, it is given that last
            and returns ``(scalar, carried)``.
        generator: ``(real_logits, fake_logits) -> scalar``.
        generator_uses_reals: whether the generator's update needs reals of its own, scored as ``real_logits``.
        compares_samples: whether what it says of a sample depends on the logits of others, so that under a mapped axis
            each device needs those of all; with microbatches it is given those of one.
        init: gives the float32 arrays that it carries from step to step; their mean over microbatches is what is kept.
            None: nothing.
        kept: the share of the fakes, those with the highest logits, that the generator learns from; see ``top_k``.
        energies: whether logits have to be minus an energy, which is never below 0: an autoencoding discriminator's.
    """

    discriminator: Callable[..., Any]
    generator: GeneratorObjective
    generator_uses_reals: bool = False
    compares_samples: bool = False
    init: Callable[[], PyTree] | None = None
    kept: Schedule = 1.0
    energies: bool = False

    @property
    def keeps_all(self) -> bool:
        """Whether the generator learns from all fakes, at all times."""
        return isinstance(self.kept, int | float) and self.kept == 1

    def of_discriminator(
        self, real_logits: Logits, fake_logits: Logits, carried: PyTree, axis_name: str | None
    ) -> tuple[Float[Array, ""], PyTree]:
        """What the discriminator minimises, and what the loss carries afterwards.

        Args:
            real_logits: this device's, as the others.
            fake_logits: those of the fakes.
            carried: before; any of a loss that carries nothing.
            axis_name: the mapped axis over which the batch is split.
        """
        logits = real_logits, fake_logits
        if self.compares_samples or self.init is not None:  # what is carried is of all
            logits = tuple(_gathered(one, axis_name) for one in logits)
        return (self.discriminator(*logits), carried) if self.init is None else self.discriminator(*logits, carried)

    def of_generator(
        self,
        real_logits: Logits | None,
        fake_logits: Logits,
        images_seen: Float[Array, ""],
        axis_name: str | None,
    ) -> Float[Array, ""]:
        """What the generator minimises.

        Args:
            real_logits: this device's, as the others; None unless ``generator_uses_reals``.
            fake_logits: those of the fakes.
            images_seen: for the share that is kept.
            axis_name: the mapped axis over which the batch is split.
        """
        if self.compares_samples or not self.keeps_all:
            fake_logits = _gathered(fake_logits, axis_name)
            real_logits = None if real_logits is None else _gathered(real_logits, axis_name)
        if self.keeps_all:
            return self.generator(real_logits, fake_logits)

        def one(real: Array | None, fake: Array) -> Float[Array, ""]:
            return self.generator(None if real is None else real[None], fake[None])

        number = len(fake_logits)
        # In float32, 0.7 x 10 may be a little below 7.
        num_kept = jnp.clip(jnp.floor(value_at(self.kept, images_seen) * number + 1e-3), 1, number)
        order = jnp.argsort(-jax.lax.stop_gradient(logits_of_images(fake_logits)))
        kept = jnp.zeros(number, bool).at[order].set(jnp.arange(number, dtype=jnp.float32) < num_kept)
        return jnp.sum(jnp.where(kept, jax.vmap(one)(real_logits, fake_logits), 0.0)) / num_kept


def _gathered(logits: Array, axis_name: str | None) -> Array:
    """Those of all over the mapped axis."""
    return jax.lax.all_gather(logits, axis_name, tiled=True) if axis_name else logits


def top_k(loss: Loss, share: Schedule) -> Loss:
    """The loss, of whose fakes the generator learns only from those that the discriminator finds best.

    Top-k training (Sinha et al., arXiv 2002.06224): of the logits, the means over an image's patches where
    it has several, the k highest count. The paper's share is all of the batch at first, 0.99 of what it was at each
    epoch, and never less than half: ``Geometric(1.0, 0.99, every=len(data), end=0.5)``. k is at least 1, and of the
    batch over all devices; with microbatches, of each of them.

    Args:
        loss: one that says something of each fake by itself, or of each pair.
        share: of the fakes, above 0.

    Raises:
        UserError: the loss compares samples, so that there is nothing to choose from.
    """
    check_schedule("share of top_k", share, above=0, at_most=1, example=0.5)
    if loss.compares_samples:
        raise UserError(
            "top_k is given a loss that compares samples; it keeps some of the terms of a sum over fakes, and this "
            "loss is not one: give another, such as losses.non_saturating"
        )
    return loss._replace(kept=share)


def check_plain(loss: Loss, model: str) -> None:
    """Raises ``UserError`` unless a loss is nothing but two functions; for models whose step asks for no more."""
    if loss.init is not None or not loss.keeps_all or loss.energies:
        what = "carries arrays" if loss.init is not None else "is of energies" if loss.energies else "keeps some fakes"
        raise UserError(f"{model}'s loss {what}, which only GAN can do; give another, such as losses.least_squares")


def at_all_scales(objective: Callable[..., Float[Array, ""]], *logits: Scales | None) -> Float[Array, ""]:
    """The sum of an objective over the sizes at which images are judged: one, or several.

    Args:
        objective: of one size.
        logits: each of its arguments, at all sizes.
    """
    per_scale = [(one,) if not isinstance(one, tuple) else one for one in logits]
    num_scales = max(map(len, per_scale))
    return sum(  # pyright: ignore[reportReturnType]
        objective(*(one[0] if len(one) == 1 else one[scale] for one in per_scale)) for scale in range(num_scales)
    )


def mean_logit(logits: Scales) -> Float[Array, ""]:
    """The mean over all patches of each size, and over the sizes."""
    each = logits if isinstance(logits, tuple) else (logits,)
    return sum(map(jnp.mean, each)) / len(each)  # pyright: ignore[reportReturnType]
