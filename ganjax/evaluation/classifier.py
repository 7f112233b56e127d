"""A small classifier of a labelled dataset, as a feature network: a measure of MNIST-like sets that needs no download.

    classifier = cached_classifier(source)
    classifier.accuracy  # on images held out from its training
    classifier(images)  # Features(features, probabilities)

Published features (Inception's) were learnt on photographs and say little about digits; features learnt on the dataset
itself do (so for MNIST: Binkowski et al., arXiv 1801.01401, section 4). They compare with nothing but features of the
same classifier, which is why its fingerprint and its accuracy belong to every result.
"""

import dataclasses
import functools
import hashlib
import json
from typing import Any, NamedTuple, no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.optimizers import Adam
from ganjax.data import Source, open_feed, order
from ganjax.evaluation.content import Content, Subset, image_progress, read_content
from ganjax.evaluation.features import Features, Pixels
from ganjax.evaluation.stored import load_arrays, save_arrays
from ganjax.ground.errors import UserError
from ganjax.models.layers import Mode, strided_convolution
from ganjax.models.normalization import BatchNorm
from ganjax.platform.cache import cache_folder
from ganjax.platform.distributed import all_have
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

_BATCH_SIZE = 128
_LEARNING_RATE = 4e-3
_MAX_HELD_OUT = 10_000


class Outputs(NamedTuple):
    """Of the network: the penultimate layer, and the logits of the classes."""

    features: Float[Array, "batch features"]
    logits: Float[Array, "batch *classes"]


class Network(nn.Module):
    """Convolutions of stride two, each followed by a plain one, until the maps are at most 8 pixels high; two layers.

    Attributes:
        num_classes: of the logits.
        width: channels of the first maps; they double with each halving, up to four times.
        num_features: units of the penultimate layer.
    """

    num_classes: int
    width: int = 32
    num_features: int = 128

    @nn.compact
    def __call__(self, images: Pixels, *, train: bool) -> Outputs:
        """Outputs in float32; with ``train`` the normalisation's running statistics are updated."""
        maps = images.astype(jnp.float32) / 127.5 - 1
        channels = self.width
        while maps.shape[1] > 8 or channels == self.width:
            odd = [(0, size % 2) for size in maps.shape[1:3]]
            maps = jnp.pad(maps, ((0, 0), *odd, (0, 0)))
            kernel = self.param(f"halving_{channels}_{maps.shape[1]}", _he, (4, 4, maps.shape[-1], channels))
            maps = _normalized(strided_convolution(maps, kernel), train)
            channels = min(2 * channels, 4 * self.width)
            maps = _normalized(nn.Conv(channels, (3, 3), use_bias=False, kernel_init=_he)(maps), train)
        features = _normalized(nn.Dense(self.num_features, kernel_init=_he)(maps.reshape(len(maps), -1)), train)
        return Outputs(features, nn.Dense(self.num_classes)(features))


_he = nn.initializers.he_normal()


def _normalized(values: Array, train: bool) -> Array:
    return nn.relu(BatchNorm()(values, Mode(train)))


@no_type_check  # JAX fills such trees with shapes and shardings, too
@flax.struct.dataclass
class Classifier:
    """A trained classifier; a ``FeatureNetwork`` whose features are its penultimate layer.

    Attributes:
        variables: weights and running statistics.
        network: what they are the weights of.
        name: how it was trained.
        fingerprint: sha256 of ``variables``.
        accuracy: share of held-out images that get their label.
        num_held_out: how many these were.
        image_shape: of the images that it takes.
    """

    variables: PyTree
    network: Network = flax.struct.field(pytree_node=False)
    name: str = flax.struct.field(pytree_node=False)
    fingerprint: str = flax.struct.field(pytree_node=False)
    accuracy: float = flax.struct.field(pytree_node=False)
    num_held_out: int = flax.struct.field(pytree_node=False)
    image_shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("none",))
    resize: str = flax.struct.field(pytree_node=False, default="none")

    @property
    def num_features(self) -> int:
        """The length of a feature vector."""
        return self.network.num_features

    @property
    def num_classes(self) -> int:
        """The number of probabilities."""
        return self.network.num_classes

    def __call__(self, images: Pixels) -> Features:
        """Features and class probabilities."""
        outputs = self.outputs(images)
        return Features(outputs.features, jax.nn.softmax(outputs.logits))

    def outputs(self, images: Pixels) -> Outputs:
        """Features and logits."""
        outputs: Any = self.network.apply(self.variables, images, train=False)
        return outputs


@no_type_check
@flax.struct.dataclass
class StackedClassifier:
    """Reads Stacked-MNIST: a classifier of digits looks at each of the three channels, so there are 1,000 classes.

    Class ``100 a + 10 b + c`` has the digits a, b, c in red, green, blue (Metz et al., arXiv 1611.02163, 3.3.1).

    Attributes:
        digits: classifies one channel.
    """

    digits: Classifier
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("none",))
    resize: str = flax.struct.field(pytree_node=False, default="none")

    @property
    def name(self) -> str:
        """The digit classifier's, and that it looks at channels."""
        return f"{self.digits.name}, each channel"

    @property
    def fingerprint(self) -> str:
        """The digit classifier's."""
        return self.digits.fingerprint

    @property
    def accuracy(self) -> float:
        """Of the digit classifier on held-out digits, not on triples of them."""
        return self.digits.accuracy

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The digits', with three channels."""
        return (*self.digits.image_shape[:2], 3)

    @property
    def num_features(self) -> int:
        """Three times the digit classifier's."""
        return 3 * self.digits.num_features

    @property
    def num_classes(self) -> int:
        """A thousand for ten digits."""
        return self.digits.num_classes**3

    def __call__(self, images: Pixels) -> Features:
        """The channels' features beside each other, and the products of their probabilities."""
        features, logits = self.outputs(images)
        red, green, blue = jnp.moveaxis(jax.nn.softmax(logits), 1, 0)
        triples = jnp.einsum("bi,bj,bk->bijk", red, green, blue)
        return Features(features, triples.reshape(len(images), -1))

    def outputs(self, images: Pixels) -> Outputs:
        """Features, and the logits of each channel."""
        channels = jnp.moveaxis(images, 3, 1).reshape(-1, *images.shape[1:3], 1)
        features, logits = self.digits.outputs(channels)
        return Outputs(features.reshape(len(images), -1), logits.reshape(len(images), 3, -1))


def train_classifier(
    source: Source, *, seed: int = 0, total_images: int = 120_000, mesh: Mesh | None = None
) -> Classifier:
    """Trains a classifier on nine tenths of a labelled dataset, and measures it on the rest (10,000 at most).

    The result is a function of the dataset, the arguments and the machine. A progress bar says how far it is.

    Args:
        source: with labels.
        seed: decides the split, the initial weights and the order.
        total_images: how many images are trained on, counting repetitions.
        mesh: of the devices; all of them by default.

    Raises:
        UserError: the dataset has no labels, or too few images.
    """
    if source.num_classes < 2:
        raise UserError(
            f"{source.name} has {source.num_classes or 'no'} class(es); a classifier needs labels of two or more: give "
            "a labelled dataset"
        )
    num_held_out = min(len(source) // 10, _MAX_HELD_OUT)
    if num_held_out < 1:
        raise UserError(f"{source.name} has {len(source)} images; a classifier needs 10 or more: give more images")
    mesh = data_mesh() if mesh is None else mesh
    everyone = order(num_records=len(source), seed=seed, start=0, stop=len(source))
    held_out, training = Subset(source, everyone[:num_held_out]), Subset(source, everyone[num_held_out:])
    batch_size = min(_BATCH_SIZE, len(training))
    num_steps = -(-total_images // batch_size)
    network = Network(num_classes=source.num_classes)
    optimizer = Adam(functools.partial(_learning_rate, total_images))
    divisible = batch_size % mesh.size == 0
    feed = open_feed(
        training,
        seed=seed,
        rows_per_step=batch_size,
        sharding=batch_sharding(mesh) if divisible else replicated(mesh),
    )

    @jax.jit
    def start() -> tuple[PyTree, PyTree]:
        example = jnp.zeros((1, *source.image_shape), jnp.uint8)
        variables = network.init(jax.random.key(seed), example, train=False)
        return variables, optimizer.init(variables["params"])

    @jax.jit
    def step(
        variables: PyTree, opt_state: PyTree, arrays: dict[str, Array], inputs: PyTree, seen: Array
    ) -> tuple[PyTree, PyTree]:
        batch = feed.batch(arrays, inputs)

        def loss(params: PyTree) -> tuple[Array, PyTree]:
            outputs, updated = network.apply(
                {**variables, "params": params}, batch["images"], train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs.logits, batch["labels"])
            return jnp.mean(losses), updated

        gradients, updated = jax.grad(loss, has_aux=True)(variables["params"])
        changes, opt_state = optimizer.update(gradients, opt_state, images_seen=seen)
        return {"params": optax.apply_updates(variables["params"], changes), **updated}, opt_state

    variables, opt_state = jax.device_put(start(), replicated(mesh))
    title = f"training a classifier of {source.name}"
    with feed.iterate() as inputs, image_progress(num_steps, title, unit="steps") as progress:
        for done in range(num_steps):
            seen = np.float32(done * batch_size)
            variables, opt_state = step(variables, opt_state, feed.arrays, next(inputs), seen)
            progress.update()
    variables = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf.addressable_data(0))), variables)
    classifier = Classifier(
        variables=variables,
        network=network,
        name=f"classifier seed {seed}, {num_steps * batch_size:,} images",
        fingerprint=fingerprint(variables),
        accuracy=0.0,
        num_held_out=num_held_out,
        image_shape=source.image_shape,
    )
    return dataclasses.replace(classifier, accuracy=_accuracy(classifier, held_out))


def cached_classifier(
    source: Source, *, content: Content | None = None, seed: int = 0, total_images: int = 120_000
) -> Classifier:
    """The classifier that ``train_classifier`` makes, from the user's cache if it has been trained before.

    The cache is keyed by the dataset's content and the arguments; a damaged file is named in a warning and replaced.

    Args:
        source: with labels.
        content: of the source, where it has been read already.
        seed: see ``train_classifier``.
        total_images: see ``train_classifier``.
    """
    content = content or read_content(source)
    settings = {"content": content.sha256, "seed": seed, "total_images": total_images, "format": 1}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
    path = cache_folder() / "classifiers" / f"{key}.npz"
    stored, classifier = load_arrays(path, settings), None
    if stored is not None:
        arrays, facts = stored
        variables = jax.tree.map(jnp.asarray, unflatten_dict(arrays, sep="/"))
        classifier = Classifier(
            variables=variables,
            network=Network(num_classes=source.num_classes),
            image_shape=source.image_shape,
            fingerprint=fingerprint(variables),
            **facts,
        )
    if all_have(classifier and classifier.fingerprint) and classifier is not None:
        return classifier
    classifier = train_classifier(source, seed=seed, total_images=total_images)
    facts = {name: getattr(classifier, name) for name in ("name", "accuracy", "num_held_out")}
    save_arrays(path, settings, flatten_dict(classifier.variables, sep="/"), facts)
    return classifier


def fingerprint(variables: PyTree) -> str:
    """The sha256 of a tree of arrays: of their names, shapes, dtypes and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        digest.update(f"{name} {leaf.dtype} {list(leaf.shape)}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _learning_rate(total_images: int, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    """Rises over the first fifth, then falls to zero along a cosine."""
    done = jnp.minimum(images_seen / total_images, 1.0)
    return _LEARNING_RATE * jnp.minimum(5 * done, 1.0) * (1 + jnp.cos(jnp.pi * done)) / 2


def _accuracy(classifier: Classifier, source: Source) -> float:
    arrays = source.load()
    predict = jax.jit(lambda images: jnp.argmax(classifier.outputs(images).logits, axis=1))
    size = min(500, len(source))
    right = 0
    for first in range(0, len(source), size):
        images, labels = (arrays[name][first : first + size] for name in ("images", "labels"))
        padding = ((0, size - len(images)), (0, 0), (0, 0), (0, 0))
        right += int(np.sum(np.asarray(predict(np.pad(images, padding)))[: len(images)] == labels))
    return right / len(source)
