"""The networks that evaluation measures with, as a perceptual term looks through them: the distance of their features.

PerceptualDistance(1.0, FeaturesOf(load_inception), layers=(("features", 1.0),))
PerceptualDistance(1.0, FeaturesOf(ClassifierOf(Npz(path))), layers=(("features", 1.0),))
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import numpy as np
from jaxtyping import Array, Float

from ganjax.data import Dataset
from ganjax.evaluation.classifier import Classifier, cached_classifier
from ganjax.evaluation.features import FeatureNetwork, Features
from ganjax.ground.errors import UserError

__all__ = ["ClassifierOf", "FeaturesOf"]


@dataclasses.dataclass(frozen=True)
class ClassifierOf:
    """A classifier of a labelled dataset, which is trained when it is first needed and kept in the cache folder.

    Attributes:
        dataset: with labels.
        seed: see ``train_classifier``.
        total_images: see ``train_classifier``.
    """

    dataset: Dataset
    seed: int = 0
    total_images: int = 120_000

    def __call__(self) -> Classifier:
        """The classifier.

        Raises:
            UserError: the dataset is not there, or has no labels.
        """
        return cached_classifier(self.dataset.open(), seed=self.seed, total_images=self.total_images)


@dataclasses.dataclass(frozen=True)
class FeaturesOf:
    """The features of a network: see ``ganjax.algorithms.perceptual.Perception``.

    Attributes:
        opened: gives the network when it is first needed: ``load_inception``, ``load_dinov2``, a ``ClassifierOf``, or a
            function or frozen dataclass of yours.
    """

    opened: Callable[[], FeatureNetwork]

    @property
    def layers(self) -> tuple[str, ...]:
        """The features alone."""
        return ("features",)

    def load(self) -> Any:
        """The network with its weights.

        Raises:
            UserError: they are not there.
        """
        return _loaded(self)

    def maps(
        self, weights: Any, images: Float[Array, "batch height width channels"], layers: tuple[str, ...]
    ) -> dict[str, Float[Array, "batch features"]]:
        """The features of images in [-1, 1].

        Raises:
            UserError: the network takes other images.
        """
        shape = getattr(weights, "image_shape", images.shape[1:])  # a classifier's
        if tuple(shape) != images.shape[1:]:
            raise UserError(
                f"{weights.name} sees images of {tuple(shape)} (height, width, channels), and they are "
                f"{images.shape[1:]}; take a network of such images"
            )
        features: Any = weights((images + 1) * 127.5).features
        return {layer: features for layer in layers}


@flax.struct.dataclass
class _Whole:
    """A network whose weights JAX does not see: they become constants of a program."""

    network: FeatureNetwork = flax.struct.field(pytree_node=False)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Features:
        """Its features."""
        return self.network(images)


@functools.cache
def _loaded(perception: FeaturesOf) -> Any:
    network = perception.opened()
    leaves, structure = jax.tree.flatten(network)
    if jax.tree_util.treedef_is_leaf(structure):
        return _Whole(network)
    return jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
