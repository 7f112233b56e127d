"""Projection of pictures into what a run's generator starts from: where descent begins, and by what it is judged."""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import Model
from ganjax.algorithms.perceptual import Perception
from ganjax.algorithms.samples import decoded, decoder_of, draw_latents
from ganjax.evaluation.perception import ClassifierOf, FeaturesOf
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition
from ganjax.models.modulation import NOISE
from ganjax.models.network import StyledGenerator
from ganjax.runs.config import Config
from ganjax.runs.latents import pictures_behind
from ganjax.runs.points import BATCH_SIZE, Maker, filled_rows
from ganjax.runs.sampling import frozen_on, given_to_decoder
from ganjax.using.likeness import DiscriminatorFeatures, Likeness
from ganjax.using.points import Points, images_of, points_of
from ganjax.using.projection import Descent, project

Space = Literal["latents", "w", "w+"]
Network = Literal["discriminator", "classifier", "inception", "dinov2", "vgg19", "pixels"]

_VGG_LAYERS = (("conv1_2", 1.0), ("conv2_2", 1.0), ("conv3_4", 1.0), ("conv4_4", 1.0), ("conv5_4", 1.0))
_NUM_MAPPED = 10_000  # samples that the spread of styles is of, as in the paper
_NUM_CANDIDATES = 640  # that are compared with each picture, of all classes together
_CANDIDATES_OF_A_CLASS = 8  # at least
_NEAREST = 3  # candidates whose mean distance says how near a class is


class Eye(NamedTuple):
    """What judges likeness: how, and with which weights."""

    likeness: Likeness
    weights: PyTree


def open_eye(config: Config, state: Any, network: Network, *, pixels: float = 1.0) -> Eye:
    """What looks at pictures as a network does.

    Args:
        config: of the run, whose dataset a classifier is of.
        state: of the run, whose discriminator may be asked.
        network: whose features are compared.
        pixels: weight of the pixels beside them.

    Raises:
        UserError: the network, or its weights, are not there.
    """
    if network == "pixels":
        return Eye(Likeness(pixels=pixels or 1.0), {})
    if network == "discriminator" and decoder_of(config.gan) is not None:
        raise UserError(
            "--network is discriminator, and that of this model looks at latents, not at pictures; take classifier, "
            "inception, dinov2, vgg19 or pixels"
        )
    if network == "discriminator":
        module, player = getattr(config.gan, "discriminator", None), state.players.get("discriminator")
        if module is None or player is None or not (perception := DiscriminatorFeatures(module)).layers:
            raise UserError(
                "--network is discriminator, and this model has none that shows what its layers say; take classifier, "
                "inception, dinov2, vgg19 or pixels"
            )
        return Eye(Likeness(perception, pixels=pixels), {"params": player.params, **player.variables})
    perception, layers = _perception(config, network)
    return Eye(Likeness(perception, layers, pixels), jax.tree.map(jnp.asarray, perception.load()))


def _perception(config: Config, network: Network) -> tuple[Perception, Any]:
    if network == "vgg19":
        from ganjax.evaluation.vgg19 import Vgg19

        return Vgg19(), _VGG_LAYERS
    if network == "classifier":
        return FeaturesOf(ClassifierOf(pictures_behind(config))), None
    if network == "dinov2":
        from ganjax.evaluation.dinov2 import load_dinov2

        return FeaturesOf(load_dinov2), None
    from ganjax.evaluation.inception import load_inception

    return FeaturesOf(load_inception), None


class Found(NamedTuple):
    """Pictures as points.

    Attributes:
        points: whose images are most like them.
        maps: of noise, by which they are made; None: those that are stored.
        distances: from the pictures, at each step, of the code with its noise.
        steps: at which ``frames`` were kept.
        frames: the points then.
    """

    points: Points
    maps: PyTree
    distances: Float[np.ndarray, "steps num"]
    steps: tuple[int, ...]
    frames: list[Points]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projector:
    """Projects pictures with a run's generator.

    Attributes:
        maker: of its images, without truncation.
        eye: what judges them.
        space: ``latents``; ``w``, a style for all layers, as in the paper; or ``w+``, a style for each layer.
        descent: how.
        seed: of all that is drawn.
        noise_maps: whether StyleGAN2's maps of noise descend, too, each picture's its own.
    """

    maker: Maker
    eye: Eye
    space: Space
    descent: Descent = dataclasses.field(default_factory=Descent)
    seed: int = 0
    noise_maps: bool = False

    def __post_init__(self) -> None:
        if self.space != "latents" and not isinstance(self.maker.generator, StyledGenerator):
            raise UserError(f"--space is {self.space}, and this generator has no styles; take latents")
        if self.noise_maps and not self._stored_maps:
            raise UserError("--noise-maps is given, and this generator has no maps of noise; leave it out")

    @property
    def _stored_maps(self) -> PyTree:
        """One a layer; {} of a generator that adds no noise."""
        return {} if getattr(self.maker.generator, "noise", "none") == "none" else self.maker.variables.get(NOISE, {})

    def __call__(
        self, targets: UInt8[np.ndarray, "num height width channels"], condition: Condition, *, num_frames: int = 2
    ) -> Found:
        """The points whose images are most like pictures.

        Args:
            targets: of the generator's size.
            condition: what the images are to be of, a row a picture. Without labels, of a model of classes, the class
                is found: that of which the nearest of some samples are.
            num_frames: how often points are kept on the way.
        """
        maker, size = self.maker, self.maker.generator.latent_size
        vectors = _vectors(self.eye.likeness, self.eye.weights, as_float(jnp.asarray(targets)))
        starts = jnp.zeros((len(targets), size))
        if condition.attributes is None and condition.inputs is None:
            starts, labels = self._nearest(vectors, condition.labels)
            condition = Condition(labels=labels if maker.generator.num_classes else None)
        spread, descent = jnp.sqrt(jnp.float32(size)), self.descent
        if self.space == "latents":  # none get longer than those that are drawn are
            descent = dataclasses.replace(descent, longest=float(size) ** 0.5)
        else:
            starts, spread = self._average(condition, len(targets))
        objective = _Objective(maker.sampler.gan, maker.generator, self.eye.likeness, self.space, maker.num_layers)
        weights = {"generator": maker.variables, "eye": self.eye.weights, "decoder": self._decoder}
        key = jax.random.fold_in(jax.random.key(self.seed), _NOISE)
        targeted = (vectors, jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], condition))
        how: Any = {"spread": spread, "key": key, "descent": descent, "num_frames": num_frames}
        found = project(objective, weights, starts, targeted, **how, maps=self._drawn_maps(len(targets)))
        points = [objective.points(maker.variables, jnp.asarray(codes), condition) for codes in found.kept]
        return Found(points[-1], found.maps or None, found.distances, found.steps, points)

    def _drawn_maps(self, num: int) -> PyTree:
        """Noise for each picture, of which descent begins; () where the stored maps stay."""
        if not self.noise_maps:
            return ()
        leaves, structure = jax.tree.flatten(self._stored_maps)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), _MAPS), len(leaves))
        drawn = [jax.random.normal(key, (num, *leaf.shape)) for key, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, drawn)

    @property
    def _decoder(self) -> list[PyTree]:
        return frozen_on(self.maker.sampler.gan, None)

    def _nearest(self, vectors: Array, labels: Any) -> tuple[Float[Array, "num size"], Any]:
        """The latents of the sample that is nearest to each picture, of its class, and the classes."""
        num_classes = self.maker.generator.num_classes
        classes = np.arange(num_classes or 1) if labels is None else np.unique(np.asarray(labels))
        each = max(_CANDIDATES_OF_A_CLASS, _NUM_CANDIDATES // len(classes))
        theirs = np.repeat(classes, each).astype(np.int32)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(self.seed), _CANDIDATES), len(theirs))
        latents = draw_latents(self.maker.sampler.gan, keys)
        condition = Condition(labels=jnp.asarray(theirs) if num_classes else None)
        distances = []
        for first in range(0, len(theirs), BATCH_SIZE):
            part, parts = jax.tree.map(
                lambda leaf, first=first: filled_rows(leaf[first : first + BATCH_SIZE]), (latents, condition)
            )
            made = (self.maker.sampler.gan, self.maker.generator, self.maker.variables)
            looked = (self._decoder, self.eye.likeness, self.eye.weights)
            distances.append(np.asarray(_distances(*made, *looked, part, parts, vectors)))
        table = np.concatenate(distances, axis=1)[:, : len(theirs)].reshape(len(vectors), len(classes), each)
        if labels is None:
            nearest = np.sort(table, axis=2)[:, :, :_NEAREST].mean(axis=2).argmin(axis=1)
        else:
            nearest = np.searchsorted(classes, np.asarray(labels))
        rows = nearest * each + table[np.arange(len(table)), nearest].argmin(axis=1)
        return latents[rows], jnp.asarray(theirs[rows])

    def _average(self, condition: Condition, num: int) -> tuple[Array, Float[Array, ""]]:
        """The mean style of what each picture is of, as codes, and how far styles are from it (appendix D)."""
        leaves, firsts, rows = jax.tree.leaves(condition), np.zeros(1, int), np.zeros(num, int)
        if len(leaves) == 1 and condition.labels is not None:
            _, firsts, rows = np.unique(np.asarray(condition.labels), return_index=True, return_inverse=True)
        elif leaves:
            firsts = rows = np.arange(num)
        seeds = (np.arange(_NUM_MAPPED, dtype=np.int64) + self.seed * _NUM_MAPPED) % 2**32
        means, squares = [], []
        for first in firsts:
            same = jax.tree.map(lambda leaf, first=first: jnp.repeat(leaf[first : first + 1], len(seeds), 0), condition)
            styles = self.maker.draw(seeds, same).array[:, 0]
            means.append(jnp.mean(styles, axis=0))
            squares.append(jnp.mean(jnp.sum(jnp.square(styles - means[-1][None]), axis=-1)))
        starts = jnp.stack(means)[rows]
        if self.space == "w+":
            starts = jnp.repeat(starts[:, None], self.maker.num_layers, axis=1)
        return starts, jnp.sqrt(jnp.mean(jnp.stack(squares)))


_CANDIDATES, _NOISE, _MAPS = 0xCA4D1, 0x4015E, 0x3A95  # apart from each other, and from what is sampled


@dataclasses.dataclass(frozen=True)
class _Objective:
    """How far the image of a code is from a picture's vector."""

    gan: Model
    generator: Any
    likeness: Likeness
    space: Space
    num_layers: int

    def __call__(self, weights: PyTree, code: Array, maps: PyTree, target: tuple[Array, Condition]) -> Float[Array, ""]:
        vector, condition = target
        variables = {**weights["generator"], NOISE: maps} if maps else weights["generator"]
        points = self.points(variables, code[None], condition)
        with given_to_decoder(self.gan, weights["decoder"]):
            images = decoded(self.gan, images_of(self.generator, variables, points))
        return jnp.sum(jnp.square(self.likeness.vectors(weights["eye"], images)[0] - vector))

    def points(self, variables: PyTree, codes: Array, condition: Condition) -> Points:
        """Codes as points."""
        if self.space == "latents":
            return points_of(self.generator, variables, codes, condition)
        styles = jnp.repeat(codes[:, None], self.num_layers, axis=1) if self.space == "w" else codes
        return Points(None, styles, condition)


@functools.partial(jax.jit, static_argnums=0)
def _vectors(likeness: Likeness, weights: PyTree, images: Array) -> Float[Array, "num size"]:
    return likeness.vectors(weights, images)


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def _distances(
    gan: Model,
    generator: Any,
    variables: PyTree,
    decoder: list[PyTree],
    likeness: Likeness,
    weights: PyTree,
    latents: Array,
    condition: Condition,
    to: Array,
) -> Float[Array, "targets num"]:
    """Of the vectors to the images of latents."""
    with given_to_decoder(gan, decoder):
        images = decoded(gan, images_of(generator, variables, points_of(generator, variables, latents, condition)))
    ours = likeness.vectors(weights, images)
    return jnp.sum(jnp.square(to), 1)[:, None] - 2 * to @ ours.T + jnp.sum(jnp.square(ours), 1)[None]
