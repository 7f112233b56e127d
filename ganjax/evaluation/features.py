"""What a feature network is, and how it is applied to any number of images on all devices."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

__all__ = ["FeatureNetwork", "Features", "Pixels", "feature_function", "stream_features"]

Pixels = UInt8[Array, "batch height width channels"] | Float[Array, "batch height width channels"]
"""Images in 0 ... 255, grey or RGB; gradients pass through those that are float32."""

# On a CPU small batches stay in the caches, and while one is in a part of the program that a single core computes,
# another keeps the other cores busy: 36 instead of 54 ms an image for Inception on two cores.
_CPU_BATCH_SIZE = 8
_CPU_THREADS = 2


class Features(NamedTuple):
    """What a network says of a batch of images.

    Attributes:
        features: float32.
        probabilities: of the classes, each row of sum 1; None when the network has no classes.
    """

    features: Float[Array, "batch features"] | Float[np.ndarray, "batch features"]
    probabilities: Float[Array, "batch classes"] | Float[np.ndarray, "batch classes"] | None = None


@runtime_checkable
class FeatureNetwork(Protocol):
    """A pure function from images to features, with what a result has to say about it.

    A network that is a pytree (a ``flax.struct.dataclass`` with its weights as leaves) hands its weights to the
    compiled program as arguments; in any other object they become constants of the program.

    Attributes:
        name: such as ``inception-v3-fid``.
        fingerprint: the sha256 of its weights, in hex.
        num_features: the length of a feature vector.
        resizes: the ways of bringing images to the network's size among which its loader lets choose.
        resize: the one in use.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def num_features(self) -> int: ...

    @property
    def resizes(self) -> tuple[str, ...]: ...

    @property
    def resize(self) -> str: ...

    def __call__(self, images: Pixels) -> Features:
        """The features of images of 0 to 255, uint8 or float32 to differentiate by, grey or RGB."""
        ...


def feature_function(
    network: FeatureNetwork, mesh: Mesh | None = None
) -> Callable[[UInt8[np.ndarray, "batch height width channels"]], Features]:
    """``network`` compiled for all devices, from and to arrays of the host.

    Args:
        network: any.
        mesh: of the devices; all of them by default.

    Returns:
        A function of a batch. The batch's size should always be the same, because each size is compiled anew; it is
        filled up to a multiple of the number of devices. With several hosts each gives the same batch and gets all the
        features.
    """
    mesh = data_mesh() if mesh is None else mesh
    split, whole = batch_sharding(mesh), replicated(mesh)
    leaves, structure = jax.tree.flatten(network)
    # An object that JAX does not know as a pytree is a leaf of its own, and no argument for a compiled function.
    is_pytree = not jax.tree_util.treedef_is_leaf(structure)
    weights = [jax.device_put(leaf, whole) for leaf in leaves] if is_pytree else []

    @jax.jit
    def apply(weights: list[Array], images: Array) -> Features:
        known = jax.tree.unflatten(structure, weights) if is_pytree else network
        # Without the first constraint the second reaches back to the images, and every device computes all of them.
        features = jax.lax.with_sharding_constraint(known(images), split)
        return jax.lax.with_sharding_constraint(features, whole)

    def compute_part(images: np.ndarray) -> Features:
        padding = -len(images) % mesh.size
        padded = np.concatenate([images, np.repeat(images[-1:], padding, axis=0)]) if padding else images
        sharded = jax.make_array_from_callback(padded.shape, split, lambda index: padded[index])
        return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0))[: len(images)], apply(weights, sharded))

    # What several hosts compute together, all must begin in one order, which threads do not keep.
    if mesh.devices.flat[0].platform != "cpu" or jax.process_count() > 1:
        return compute_part

    def compute(images: UInt8[np.ndarray, "batch height width channels"]) -> Features:
        size = _CPU_BATCH_SIZE * mesh.size
        parts = [images[first : first + size] for first in range(0, len(images), size)]
        # All parts but the last have one size; the last is filled up to it rather than compiled anew.
        parts[-1] = np.concatenate([parts[-1], np.repeat(images[-1:], min(size, len(images)) - len(parts[-1]), axis=0)])
        with ThreadPoolExecutor(_CPU_THREADS) as threads:
            computed = list(threads.map(compute_part, parts))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(images)], *computed)

    return compute


def stream_features(
    network: FeatureNetwork,
    batches: Iterable[UInt8[np.ndarray, "_ height width channels"]],
    *,
    mesh: Mesh | None = None,
) -> Iterator[Features]:
    """The features of each batch in turn, one batch in memory at a time.

    Args:
        network: any.
        batches: of one size, but for the last, which may be smaller and is filled up on the device.
        mesh: of the devices; all of them by default.

    Yields:
        Features on the host, as many as the batch has images.
    """
    compute = feature_function(network, mesh)
    size = 0
    for batch in batches:
        size = max(size, len(batch))
        padded = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        features, probabilities = compute(padded)
        yield Features(features[: len(batch)], None if probabilities is None else probabilities[: len(batch)])
