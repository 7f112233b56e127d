"""Terms of the generator's loss beside what the discriminator says of its images.

A new one is one more class here; ``terms.py`` says what a term is. It is called with ``Generated``.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.given import Generated, Images, Judged, wide
from ganjax.algorithms.terms import check_latents, check_term, global_mean
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule
from ganjax.models.layers import fit_maps

__all__ = [
    "FeatureMatching",
    "Generated",
    "Judged",
    "PathLength",
    "RealDistance",
    "Repelling",
    "ScaleConsistency",
    "distance_between",
]

Kind = Literal["absolute", "squared"]
_NO_CODE = (
    "Repelling is of the codes of an autoencoding discriminator, and this one has none; give one of "
    "ganjax.models.energy, or Repelling a layer, such as layer=-1"
)


@dataclasses.dataclass(frozen=True)
class RealDistance:
    """How far each image is from the real of its record: the mean of absolute or squared differences of pixels.

    For generators that start from images. ``absolute`` is the L1 of pix2pix (Isola et al., arXiv 1611.07004, Eq. 3),
    whose weight there is 100.

    Attributes:
        weight: of the mean.
        kind: of the differences.
        every: interval, in iterations.
        target: what is done to the reals before they are compared with, such as ``Sharpened()``; None: nothing.
    """

    weight: Schedule = 100.0
    kind: Kind = "absolute"
    every: int = 1
    target: Callable[[Images], Images] | None = None
    name: ClassVar[str] = "real_distance"

    def __post_init__(self) -> None:
        check_term(self)

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        reals = generated.reals if self.target is None else self.target(generated.reals)
        return distance_between(generated.last, reals, self.kind)


def distance_between(
    ours: Float[Array, "batch *shape"], theirs: Float[Array, "batch *shape"], kind: Kind
) -> Float[Array, ""]:
    """The mean of absolute or squared differences."""
    differences = ours - theirs
    return jnp.mean(jnp.abs(differences) if kind == "absolute" else jnp.square(differences))


@dataclasses.dataclass(frozen=True)
class PathLength:
    """Path length regularization (Karras et al., arXiv 1912.04958, section 3.2): mean (|J^T y| - a)^2.

    J is the derivative of the image with respect to the styles of a ``StyledGenerator``, whose squared lengths are
    averaged over its layers, and of another with respect to the latents; y is N(0, 1) in each of the image's numbers,
    divided by the root of its pixels; a is the running mean of the lengths, that of the iteration included and not
    constant to differentiation, as in the authors' code. It is carried from step to step, and starts at 0. With
    microbatches each has the mean of its own lengths in a, and the one that is kept is of all of them.

    Attributes:
        weight: the paper's is 2.
        every: the paper's is 4.
        decay: how far a moves towards the mean of an iteration.
        share: the length is measured on every so-manieth sample, for it costs as much as the rest of the update.
    """

    weight: Schedule = 2.0
    every: int = 4
    decay: float = 0.01
    share: int = 2
    name: ClassVar[str] = "path_length"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("PathLength's decay", self.decay, above=0, at_most=1, example=0.01)
        check_number("PathLength's share", self.share, at_least=1, example=2)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless there are latents."""
        check_latents(self, generator)

    def init(self) -> Float[Array, ""]:
        """The running mean before the first step."""
        return jnp.zeros((), jnp.float32)

    def __call__(self, generated: Generated, mean: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        shape, rows = generated.images.shape[1:], slice(None, None, self.share)
        keys, start = generated.keys[rows], generated.start[rows]
        noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys) / math.sqrt(shape[0] * shape[1])
        products = jax.grad(lambda start: jnp.sum(generated.generate(start, rows) * noise))(start)
        squares = jnp.sum(jnp.square(products), axis=-1)
        squares = jnp.mean(squares, axis=range(1, squares.ndim))  # over the layers, where each has a style
        # The root's derivative at zero is infinite, and infinity times zero is NaN: step around it.
        lengths = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
        after = mean + self.decay * (global_mean(lengths, generated.axis_name) - mean)
        return jnp.mean(jnp.square(lengths - after)), jax.lax.stop_gradient(after)


@dataclasses.dataclass(frozen=True)
class ScaleConsistency:
    """How far the images that a generator makes on its way are from its last: the mean of squared differences.

    Image i of n is compared at a size of 2^(i + 1 - n) of a side, to which both are averaged, with the last one as a
    constant: earlier ones follow it, and not the reverse. By CAT (arXiv 2605.26449), which ties the images of
    generators that are judged at several sizes together; its own weight and distance were not at hand.

    Attributes:
        weight: of the mean over these images.
        every: interval, in iterations.
    """

    weight: Schedule = 1.0
    every: int = 1
    name: ClassVar[str] = "scale_consistency"

    def __post_init__(self) -> None:
        check_term(self)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless there are images on the way, of sides that can be halved so often."""
        count = getattr(generator, "num_images", 1)
        if count < 2:
            raise UserError(
                "ScaleConsistency compares the images that a generator makes on its way with its last, and this one "
                "makes one alone; give it one that makes several, as ganjax.models.gat has, or take the term away"
            )
        height, width, _ = generator.image_shape
        if height % 2 ** (count - 1) or width % 2 ** (count - 1):
            raise UserError(
                f"ScaleConsistency halves sides of {height} x {width} {count - 1} times; expected multiples of "
                f"{2 ** (count - 1)}"
            )

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        count = generated.images.shape[-1] // generated.last.shape[-1]
        *earlier, last = jnp.split(wide(generated.images), count, axis=-1)
        distances = []
        for index, image in enumerate(earlier):
            shrink = 2 ** (count - 1 - index)
            size = (image.shape[1] // shrink, image.shape[2] // shrink)
            distances.append(jnp.mean(jnp.square(fit_maps(image - jax.lax.stop_gradient(last), size))))
        return jnp.mean(jnp.stack(distances))


def _layer(judged: Judged, term: Any) -> Array:
    """What the layer shows that a term names.

    Raises:
        UserError: there is none of this number.
    """
    found = len(judged.features)
    if not -found <= term.layer < found:
        name = type(term).__name__
        raise UserError(f"{name}'s layer is {term.layer}; the discriminator shows {found}: see its family")
    return wide(judged.features[term.layer])


@dataclasses.dataclass(frozen=True)
class FeatureMatching:
    """|E f(x) - E f(G(z))|^2, f being what a layer of the discriminator says (Salimans et al., arXiv 1606.03498, 3.1).

    The expectation is the mean over the batch; with microbatches, over each of them.

    Attributes:
        weight: of the sum.
        layer: which, as the discriminator shows them, from 0; negative ones count from the last.
        every: interval, in iterations.
    """

    weight: Schedule = 1.0
    layer: int = -1
    every: int = 1
    name: ClassVar[str] = "feature_matching"

    def __post_init__(self) -> None:
        check_term(self)

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        real, fake = (_layer(judged, self) for judged in (generated.real(), generated.fake))
        difference = global_mean(real, generated.axis_name) - global_mean(fake, generated.axis_name)
        return jnp.sum(jnp.square(difference))


@dataclasses.dataclass(frozen=True)
class Repelling:
    """Mean squared cosine between the codes of any two fakes: the pulling-away term (EBGAN, arXiv 1609.03126, Eq. 4).

    The code is that of an autoencoding discriminator (``ganjax.models.energy``), or what a layer of another shows. All
    pairs of the batch count, over all devices; with microbatches, those of each of them.

    Attributes:
        weight: 0.1 in the paper.
        layer: whose features stand for the code, as for ``FeatureMatching``; None: the code itself.
        every: interval, in iterations.
    """

    weight: Schedule = 0.1
    layer: int | None = None
    every: int = 1
    name: ClassVar[str] = "repelling"

    def __post_init__(self) -> None:
        check_term(self)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` where a code is meant, and a discriminator says that it has none."""
        if self.layer is None and not getattr(discriminator, "energies", True):
            raise UserError(_NO_CODE)

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        code = generated.fake.scores.get("code") if self.layer is None else _layer(generated.fake, self)
        if code is None:
            raise UserError(_NO_CODE)
        code = wide(code).reshape(len(code), -1)
        if generated.axis_name:
            code = jax.lax.all_gather(code, generated.axis_name, tiled=True)
        lengths = jnp.sum(jnp.square(code), axis=1, keepdims=True)
        unit = code * jax.lax.rsqrt(jnp.where(lengths > 0, lengths, 1.0))
        number = len(unit)
        cosines = jnp.matmul(unit, unit.T, precision="highest") * (1 - jnp.eye(number))
        return jnp.sum(jnp.square(cosines)) / max(1, number * (number - 1))
