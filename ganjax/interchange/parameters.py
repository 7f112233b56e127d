"""What importers share: from arrays by others' names to the variables of a network of ours."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

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


class StrangerError(UserError):
    """A file holds no network of the family that it is read as.

    Attributes:
        tensors: that it has, by which others may know it.
    """

    def __init__(self, message: str, tensors: Tensors) -> None:
        super().__init__(message)
        self.tensors = tensors


class Imported(Protocol):
    """Networks that were found in a file.

    Attributes:
        title: what they are, in a few words.
        config: the config that makes them, of those that come with ganjax.
        flags: of that config.
        generator: its variables, ``{"params": …}`` and other collections, if it has any.
        averaged: those of its averaged weights; None: the same.
        discriminator: likewise; None where the file has none.
        files: that they were found in.
    """

    @property
    def title(self) -> str: ...
    @property
    def config(self) -> str: ...
    @property
    def flags(self) -> dict[str, Any]: ...
    @property
    def generator(self) -> dict[str, Any]: ...
    @property
    def averaged(self) -> dict[str, Any] | None: ...
    @property
    def discriminator(self) -> dict[str, Any] | None: ...
    @property
    def files(self) -> tuple[Path, ...]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Networks with nothing to say of them but what ``Imported`` says, where the attributes are explained."""

    title: str
    config: str
    flags: dict[str, Any]
    generator: dict[str, Any]
    averaged: dict[str, Any] | None
    discriminator: dict[str, Any] | None
    files: tuple[Path, ...]


def some_names(tensors: Tensors) -> str:
    """How many tensors a file has and the names of the first, for a message."""
    some = ", ".join(shown(name[:60]) for name in list(tensors)[:3]) or "none"
    return f"{len(tensors)}: {some}{' …' if len(tensors) > 3 else ''}"


class Place(NamedTuple):
    """Where an array belongs.

    Attributes:
        variable: of our network: the names on the way to it, joined by points, without that of the collection.
        layout: how the axes change.
        index: along the first axis of the variable, where that is of several arrays; None: the array is all of it.
        collection: of Linen that it is in.
    """

    variable: str
    layout: Callable[[np.ndarray], np.ndarray] = as_it_is
    index: int | None = None
    collection: str = "params"


def variables_of(
    tensors: Tensors,
    table: Mapping[str, Place],
    network: nn.Module,
    *,
    source: str,
    kind: str | None = None,
    zeros: Collection[str] = (),
    constants: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """The variables of a network of ours, float32, by their collections.

    Args:
        tensors: of the file.
        table: where each of them belongs.
        network: a generator or a discriminator.
        source: what messages call the file.
        kind: what they call the network; by default the name of its class.
        zeros: parameters of ours that the file's network does not have, which is the same as zeros.
        constants: what others of its tensors have to be, which ours knows without being told, such as filters.

    Raises:
        UserError: tensors are missing, are more than the network has, are of other shapes, not finite numbers, or not
            the constants that they are to be.
    """
    what, constants = f"{source} looks like {kind or type(network).__name__}, and", constants or {}
    for problem, names in (
        ("lacks", sorted((table.keys() | constants.keys()) - tensors.keys())),
        ("has beside its weights", sorted(tensors.keys() - table.keys() - constants.keys())),
    ):
        if names:
            raise UserError(f"{what} {problem} {_some(names)}; name a file that holds this network, whole and alone")
    try:
        expected = _shapes(network)
    except (TypeError, ValueError, OverflowError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{what} its tensors tell of sizes that it cannot have; name another file") from error
    filled = {f"{place.collection}.{place.variable}" for place in table.values()} | {f"params.{name}" for name in zeros}
    assert filled == expected.keys(), "a table that is complete"
    shapes = {name: _shape_of(place, expected) for name, place in table.items()}
    differing, infinite, laid_out = [], [], {}
    for name, place in table.items():
        found = tensors[name]
        array = _laid_out(found, place)
        if found.dtype.kind != "f" or array is None or array.shape != shapes[name]:
            wanted = f"{place.variable}{list(shapes[name])}"
            differing.append(f"{name} ({found.dtype}{list(found.shape)} for {wanted})")
        elif not np.isfinite(found).all():
            infinite.append(name)
        else:
            laid_out[name] = array
    for name, constant in constants.items():
        if tensors[name].shape != constant.shape or not np.allclose(tensors[name], constant, rtol=1e-3, atol=1e-6):
            raise UserError(f"{what} {shown(name)} is not what it is of this network; name another file")
    if differing:
        raise UserError(f"{what} has tensors of other shapes than this: {_some(differing)}; name another file")
    if infinite:
        raise UserError(f"{what} has numbers that are not finite in {_some(infinite)}; name another file")
    # What is claimed is there, and only now is there memory for it.
    arrays = {name: np.zeros(shape, np.float32) for name, shape in expected.items()}
    for name, place in table.items():
        target = arrays[f"{place.collection}.{place.variable}"]
        (target if place.index is None else target[place.index])[...] = laid_out[name]
    return flax.traverse_util.unflatten_dict(arrays, sep=".")


def _shape_of(place: Place, expected: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    whole = expected[f"{place.collection}.{place.variable}"]
    return whole if place.index is None else whole[1:]


def _laid_out(array: np.ndarray, place: Place) -> np.ndarray | None:
    try:
        return place.layout(array)
    except (ValueError, IndexError, TypeError):  # it has another number of axes
        return None


def num_indices(tensors: Tensors, prefix: str, suffix: str = "") -> int:
    """One more than the largest number that stands between a prefix and the next point, or a suffix, in a name."""
    numbers = [
        name.removeprefix(prefix).partition(".")[0].removesuffix(suffix) for name in tensors if name.startswith(prefix)
    ]
    return 1 + max((int(number) for number in numbers if number.isascii() and number.isdigit()), default=-1)


def _shapes(network: Any) -> dict[str, tuple[int, ...]]:
    condition = as_argument(network, example_condition(network, 1))
    latent_size = getattr(network, "latent_size", None)
    shape = (1, *(network.image_shape if latent_size is None else (latent_size,)))

    def start(inputs: Any) -> Any:
        return network.init(jax.random.key(0), inputs, condition, train=False)

    shapes = jax.eval_shape(start, jax.ShapeDtypeStruct(shape, jnp.float32))
    leaves: dict[str, Any] = flax.traverse_util.flatten_dict(shapes, sep=".")
    return {name: leaf.shape for name, leaf in leaves.items()}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(shown(name) for name in names[:_MOST_NAMED]) + more
