"""How far images are from their reals to the eye of a network that is not trained: the perceptual term.

    GAN(..., generator_terms=(RealDistance(0.005), PerceptualDistance(1.0, Vgg19())))

``ganjax.evaluation.vgg19`` and ``ganjax.evaluation.perception`` have such networks; ``frozen.py`` says how a program
comes by their weights.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.frozen import Frozen, frozen_networks, frozen_weights
from ganjax.algorithms.generator_terms import Generated, Images, Kind, distance_between
from ganjax.algorithms.terms import check_term
from ganjax.ground.checks import Number, check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule

__all__ = ["REAL_ESRGAN_LAYERS", "Perception", "PerceptualDistance", "perceptions_of"]


@runtime_checkable
class Perception(Frozen, Protocol):
    """A network whose layers are looked at.

    Attributes:
        layers: the names of what it can show of images.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    def maps(self, weights: PyTree, images: Images, layers: tuple[str, ...]) -> dict[str, Array]:
        """What some layers say of images in [-1, 1], grey or RGB; gradients pass through."""
        ...


@dataclasses.dataclass(frozen=True)
class PerceptualDistance:
    """The mean difference between what a network's layers say of each image and of the real of its record.

    ESRGAN's (arXiv 1809.00219, section 3.3) is that of VGG-19's conv5_4 before its ReLU, weight 1 beside 0.01 of the L1
    in [0, 1]; Real-ESRGAN's (arXiv 2107.10833, section 4.1) has ``REAL_ESRGAN_LAYERS``; SRGAN's paper (arXiv
    1609.04802, Eq. 5) squares the differences.

    Attributes:
        weight: of the sum over the layers.
        network: whose layers.
        layers: the weight of each by its name.
        kind: of differences.
        every: interval, in iterations.
        target: makes of the reals what is compared with; None: the reals themselves.
    """

    weight: Schedule
    network: Perception
    layers: tuple[tuple[str, Number], ...] = (("conv5_4", 1.0),)
    kind: Kind = "absolute"
    every: int = 1
    target: Callable[[Images], Images] | None = None
    name: ClassVar[str] = "perceptual_distance"

    def __post_init__(self) -> None:
        check_term(self)
        if not self.layers:
            raise UserError("PerceptualDistance's layers are (); expected pairs of a layer's name and its weight")
        for layer, weight in self.layers:
            check_number(f"PerceptualDistance's weight of {layer}", weight, at_least=0, example=1)
            if layer not in self.network.layers:
                raise UserError(
                    f"PerceptualDistance's layers name {layer!r}, and {type(self.network).__name__} has "
                    f"{', '.join(self.network.layers)}"
                )

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        reals = generated.reals if self.target is None else self.target(generated.reals)
        weights, names = frozen_weights(self.network), tuple(layer for layer, _ in self.layers)
        ours, theirs = (self.network.maps(weights, images, names) for images in (generated.last, reals))
        distances = [weight * distance_between(ours[layer], theirs[layer], self.kind) for layer, weight in self.layers]
        return jnp.sum(jnp.stack(distances))


REAL_ESRGAN_LAYERS = (("conv1_2", 0.1), ("conv2_2", 0.1), ("conv3_4", 1.0), ("conv4_4", 1.0), ("conv5_4", 1.0))
"""Of VGG-19, with their weights, as Real-ESRGAN has them."""


def perceptions_of(model: Any) -> tuple[Perception, ...]:
    """The networks that a model looks through, each once, wherever among its attributes they are."""
    return tuple(network for network in frozen_networks(model) if isinstance(network, Perception))
