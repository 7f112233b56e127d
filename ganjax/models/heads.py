"""What CUT (Park et al., arXiv 2007.15651) looks at features through: two layers for each of the places compared."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.models.sizes import check_sizes

__all__ = ["PatchHeads"]

_weights = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")


class PatchHeads(nn.Module):
    """Vectors of one length from the features at some positions of several layers.

    Attributes:
        width: their length, and that of what is between the two layers.
    """

    width: int = 256

    def __post_init__(self) -> None:
        check_sizes(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Sequence[Float[Array, "batch _ _"]]) -> tuple[Float[Array, "batch _ _"], ...]:
        """One array of vectors for each of features, float32."""

        def head(layer: int, values: Array) -> Array:
            hidden = nn.Dense(self.width, kernel_init=_weights, name=f"layer_{layer}_0")(values.astype(jnp.float32))
            return nn.Dense(self.width, kernel_init=_weights, name=f"layer_{layer}_1")(nn.relu(hidden))

        return tuple(head(layer, values) for layer, values in enumerate(features))
