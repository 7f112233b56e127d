"""How alike pictures are: each becomes a vector, and the distance of two is the squared distance of their vectors.

The vector is made of what layers of a network say, each place's channels brought to unit length (LPIPS, Zhang et al.,
arXiv 1801.03924, Eq. 1, without its learned weights), and of the pixels.
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.perceptual import Perception
from ganjax.ground.checks import Number, check_number
from ganjax.models.condition import as_argument, example_condition
from ganjax.models.network import FEATURES

__all__ = ["DiscriminatorFeatures", "Likeness"]

Images = Float[Array, "num height width channels"]


@dataclasses.dataclass(frozen=True)
class DiscriminatorFeatures:
    """What the layers of a discriminator show: a ``Perception`` whose weights come with the run.

    One that takes conditions is told zeros, of all pictures alike.

    Attributes:
        discriminator: the network.
    """

    discriminator: nn.Module

    @property
    def layers(self) -> tuple[str, ...]:
        """Numbers from 0 on; () of a discriminator that shows nothing."""
        return tuple(str(number) for number in range(_num_shown(self.discriminator)))

    def load(self) -> PyTree:
        """Nothing: the weights are the run's."""
        return {}

    def maps(self, weights: PyTree, images: Images, layers: tuple[str, ...]) -> dict[str, Array]:
        """See ``Perception``; ``weights`` are the network's variables."""
        shown = _shown(self.discriminator, weights, images)
        return {layer: shown[int(layer)] for layer in layers}


@dataclasses.dataclass(frozen=True)
class Likeness:
    """See above.

    Attributes:
        network: whose layers are compared; None: pixels alone.
        layers: the weight of each by its name; None: all of them, 1 each.
        pixels: weight of the mean square of differences of pixels in [-1, 1].
    """

    network: Perception | None = None
    layers: tuple[tuple[str, Number], ...] | None = None
    pixels: Number = 1.0

    def __post_init__(self) -> None:
        check_number("the weight of pixels", self.pixels, at_least=0, example=1)

    @property
    def _layers(self) -> tuple[tuple[str, Number], ...]:
        if self.network is None:
            return ()
        return tuple((name, 1.0) for name in self.network.layers) if self.layers is None else self.layers

    def vectors(self, weights: PyTree, images: Images) -> Float[Array, "num size"]:
        """A vector of each picture.

        Args:
            weights: the network's.
            images: in [-1, 1].
        """
        parts = [_flat(images, self.pixels)]
        if layers := self._layers:
            assert self.network is not None, "layers are a network's"
            maps = self.network.maps(weights, images, tuple(name for name, _ in layers))
            for name, weight in layers:
                found = maps[name].astype(jnp.float32)
                squares = jnp.sum(jnp.square(found), axis=-1, keepdims=True)
                # The mean over places; of a vector there is one place.
                parts.append(_flat(found * jax.lax.rsqrt(squares + 1e-10), weight * found.shape[-1]))
        return jnp.concatenate(parts, axis=-1)


def _flat(maps: Array, weight: Number) -> Float[Array, "num size"]:
    """As rows, the square of whose distance is ``weight`` times the mean of squared differences."""
    rows = maps.reshape(len(maps), -1)
    return rows * math.sqrt(weight / rows.shape[1])


def _shown(discriminator: nn.Module, variables: PyTree, images: Images) -> tuple[Array, ...]:
    network: Any = discriminator
    condition = as_argument(network, example_condition(network, len(images)))
    _, found = network.apply(variables, images, condition, train=False, mutable=[FEATURES])
    return tuple(jax.tree.leaves(found.get(FEATURES, ())))


@functools.cache
def _num_shown(discriminator: nn.Module) -> int:
    network: Any = discriminator
    images = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
    condition = as_argument(network, example_condition(network, 1))
    variables = jax.eval_shape(
        lambda key, images: network.init(key, images, condition, train=False), jax.random.key(0), images
    )
    return len(jax.eval_shape(lambda variables, images: _shown(network, variables, images), variables, images))
