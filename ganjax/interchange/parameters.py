"""What importers share: from arrays by others' names to the parameters of a network of ours."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import Tensors, shown
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
        parameter: of our network: the names on the way to it, joined by points.
        layout: how the axes change.
        index: along the first axis of the parameter, where that is of several arrays; None: the array is all of it.
    """

    parameter: str
    layout: Callable[[np.ndarray], np.ndarray] = as_it_is
    index: int | None = None


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
    arrays = {parameter: np.empty(shape, np.float32) for parameter, shape in expected.items()}
    differing, infinite = [], []
    for name, place in table.items():
        found, target = tensors[name], arrays[place.parameter]
        target = target if place.index is None else target[place.index]
        if found.dtype.kind != "f" or found.ndim != target.ndim or place.layout(found).shape != target.shape:
            wanted = f"{place.parameter}{list(target.shape)}"
            differing.append(f"{name} ({found.dtype}{list(found.shape)} for {wanted})")
        elif not np.isfinite(found).all():
            infinite.append(name)
        else:
            target[...] = place.layout(found)
    if differing:
        raise UserError(f"{what} has tensors of other shapes than this: {_some(differing)}; name another file")
    if infinite:
        raise UserError(f"{what} has numbers that are not finite in {_some(infinite)}; name another file")
    return flax.traverse_util.unflatten_dict(arrays, sep=".")


def num_indices(tensors: Tensors, prefix: str, suffix: str = "") -> int:
    """One more than the largest number that stands between a prefix and the next point, or a suffix, in a name."""
    numbers = [
        name.removeprefix(prefix).partition(".")[0].removesuffix(suffix) for name in tensors if name.startswith(prefix)
    ]
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    condition = as_argument(network, example_condition(network, 1))
    latents = jnp.zeros((1, network.latent_size), jnp.float32)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), latents, condition, train=False))["params"]
    leaves: dict[str, Any] = flax.traverse_util.flatten_dict(shapes, sep=".")
    return {name: leaf.shape for name, leaf in leaves.items()}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(shown(name) for name in names[:_MOST_NAMED]) + more
