"""What importers share: from arrays by others' names to the parameters of a network of ours."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import Tensors
from ganjax.models.condition import as_argument, example_condition

_MOST_NAMED = 5


def from_oihw(kernel: np.ndarray) -> np.ndarray:
    """PyTorch's and ncnn's order of a convolution's axes to ours."""
    return kernel.transpose(2, 3, 1, 0)


def as_it_is(array: np.ndarray) -> np.ndarray:
    """No change of layout."""
    return array


class Place(NamedTuple):
    """Where an array belongs.

    Attributes:
        layer: of our network.
        parameter: of the layer; empty where the layer is one.
        layout: how the axes change.
    """

    layer: str
    parameter: str
    layout: Callable[[np.ndarray], np.ndarray] = as_it_is


def parameters_of(tensors: Tensors, table: Mapping[str, Place], network: nn.Module, *, source: str) -> dict[str, Any]:
    """The parameters of a network of ours, float32.

    Args:
        tensors: of the file.
        table: where each of them belongs.
        network: a generator.
        source: what messages call the file.

    Raises:
        UserError: tensors are missing, are more than the network has, are of other shapes, or not finite numbers.
    """
    expected = _shapes(network)
    what = f"{source} looks like {type(network).__name__}, and"
    for problem, names in (
        ("lacks", sorted(table.keys() - tensors.keys())),
        ("has beside its weights", sorted(tensors.keys() - table.keys())),
    ):
        if names:
            raise UserError(f"{what} {problem} {_some(names)}; name a file that holds this network, whole and alone")
    params: dict[str, Any] = {}
    differing, infinite = [], []
    for name, place in table.items():
        found, shape = tensors[name], expected[place.layer, place.parameter]
        fits = found.dtype.kind == "f" and found.ndim == len(shape) and place.layout(found).shape == shape
        if not fits:
            wanted = list(found.shape)
            differing.append(f"{name} ({found.dtype}{wanted} for {place.layer}{list(shape)})")
        elif not np.isfinite(found).all():
            infinite.append(name)
        else:
            array = np.ascontiguousarray(place.layout(found), np.float32)
            if place.parameter:
                params.setdefault(place.layer, {})[place.parameter] = array
            else:
                params[place.layer] = array
    if differing:
        raise UserError(f"{what} has tensors of other shapes than this: {_some(differing)}; name another file")
    if infinite:
        raise UserError(f"{what} has numbers that are not finite in {_some(infinite)}; name another file")
    return params


def num_indices(tensors: Tensors, prefix: str, suffix: str = "") -> int:
    """One more than the largest number that stands between a prefix and the next point, or a suffix, in a name."""
    numbers = [
        name.removeprefix(prefix).partition(".")[0].removesuffix(suffix) for name in tensors if name.startswith(prefix)
    ]
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)


def _shapes(network: Any) -> dict[tuple[str, str], tuple[int, ...]]:
    condition = as_argument(network, example_condition(network, 1))
    latents = jnp.zeros((1, network.latent_size), jnp.float32)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), latents, condition, train=False))["params"]
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for layer, content in shapes.items():
        if isinstance(content, dict):
            found |= {(layer, parameter): leaf.shape for parameter, leaf in content.items()}
        else:
            found[layer, ""] = content.shape
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(name[:80] for name in names[:_MOST_NAMED]) + more
