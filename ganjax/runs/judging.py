"""What a run's discriminator says of pictures, and what that means: logits, and what held-out reals teach of them.

Each picture is judged alone, so that its logit does not depend on those beside it: a discriminator that looks at the
deviation over a batch (StyleGAN) sees none. The means over patches and sizes are one number a picture.
"""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import Model, Player, State
from ganjax.algorithms.samples import decoder_of
from ganjax.data import Source, View, order
from ganjax.data.source import Record
from ganjax.evaluation.calibration import Calibration, Kind, Reliability, calibrate, reliability_of
from ganjax.evaluation.content import Subset
from ganjax.evaluation.labels import match_labels
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, as_argument, condition_sizes
from ganjax.models.network import Discriminator
from ganjax.runs.conditions import conditions_of, on_host
from ganjax.runs.latents import DecoderOf, EncoderOf
from ganjax.runs.sampling import BATCH_SIZE, Sampler, filled_up, generate

_logger = logging.getLogger("ganjax")

_APART = 2**30
"""The number of the first sample that is judged for a calibration: apart from those that anybody draws."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """A discriminator of a model, as a function of single pictures.

    Attributes:
        gan: the model.
        name: of the discriminator among its networks.
        encoder: of a GAN of latents: what makes these of pictures, before they are judged.
    """

    gan: Model
    name: str
    encoder: EncoderOf | None = None

    @property
    def network(self) -> nn.Module:
        """The discriminator."""
        return getattr(self.gan, self.name)

    def encoding(self) -> PyTree:
        """The encoder's weights, on the device; None where there is none."""
        return None if self.encoder is None else jax.device_put(self.encoder.load())

    def seen(
        self, encoding: PyTree, pictures: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns numbers"]:
        """What is judged of pictures in [-1, 1]: they, or their latents by the weights ``encoding``; differentiable."""
        return pictures if self.encoder is None else self.encoder.encode(encoding, pictures)

    def logits(
        self,
        player: Player,
        images: Float[Array, "batch height width channels"],
        condition: Condition,
        images_seen: Float[Array, ""],
    ) -> Float[Array, " batch"]:
        """One an image, higher for more real; differentiable.

        Args:
            player: the discriminator's weights.
            images: as ``seen`` makes them.
            condition: what they are said to be of.
            images_seen: in training, for a model whose view of images follows them.
        """
        view = getattr(self.gan, "view", None)
        images = images if view is None else view(images, images_seen)

        def judge(image: Array, condition: Condition) -> Array:
            alone = jax.tree.map(lambda leaf: leaf[None], condition)
            variables = {"params": player.params, **player.variables}
            found: Any = self.network.apply(variables, image[None], as_argument(self.network, alone), train=False)
            return jnp.mean(jnp.stack([jnp.mean(leaf) for leaf in jax.tree.leaves(found)]))

        return jax.vmap(judge)(images, condition)


class Heard(NamedTuple):
    """What the discriminator said of reals and of samples for the same classes, and what that teaches.

    Attributes:
        calibration: learnt from all of them.
        reliability: of a calibration that was learnt from half of them, on the other half.
        labels: of the reals, and of the samples in the same order.
        reals: logits.
        fakes: logits.
    """

    calibration: Calibration
    reliability: Reliability
    labels: Int[np.ndarray, " num"]
    reals: Float[np.ndarray, " num"]
    fakes: Float[np.ndarray, " num"]


def find_judge(gan: Model, *, generator: str = "generator", name: str | None = None) -> Judge:
    """The discriminator that is asked for, or the one of a generator's images.

    Raises:
        UserError: the model has none, or none of this name, or judges what cannot be made of pictures.
    """
    decoder = decoder_of(gan)
    if decoder is not None and not isinstance(decoder, DecoderOf):
        raise UserError(
            "the discriminator of this GAN judges latents, and its decoder has no encoder that makes them of pictures; "
            "train with DecoderOf an autoencoder"
        )
    fields = [field.name for field in dataclasses.fields(gan)]
    known = [
        field
        for field in fields
        if isinstance(getattr(gan, field), nn.Module)
        and (isinstance(getattr(gan, field), Discriminator) or field.endswith("discriminator"))
    ]
    if not known:
        raise UserError(f"{type(gan).__name__} has no discriminator to ask; name the --workdir of a GAN")
    paired = generator.replace("generator", "discriminator")
    wanted = name or (paired if paired in known else "discriminator" if "discriminator" in known else known[0])
    if wanted not in known:
        raise UserError(f"--discriminator is {wanted}; this model has {' and '.join(known)}: give one of these")
    return Judge(gan, wanted, None if decoder is None else EncoderOf(decoder.path, decoder.step))


def judge_images(
    judge: Judge,
    state: State,
    images: UInt8[np.ndarray, "num height width channels"],
    condition: Condition,
    *,
    images_seen: int,
) -> Float[np.ndarray, " num"]:
    """Logits of any number of pictures, each with its row of the condition."""
    found = []
    seen, encoding = np.float32(images_seen), judge.encoding()
    for first in range(0, len(images), BATCH_SIZE):
        part = jax.tree.map(
            lambda leaf, first=first: filled_up(leaf[first : first + BATCH_SIZE], BATCH_SIZE), (images, condition)
        )
        logits = _judge(judge, state.players[judge.name], encoding, *part, seen)
        found.append(np.asarray(logits)[: len(images) - first])
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnums=0)
def _judge(
    judge: Judge, player: Player, encoding: PyTree, images: Array, condition: Condition, images_seen: Array
) -> Array:
    inputs = None if condition.inputs is None else as_float(condition.inputs)
    seen = judge.seen(encoding, as_float(images))
    return judge.logits(player, seen, condition._replace(inputs=inputs), images_seen)


def best_of(
    logits: Float[np.ndarray, " num"], labels: Int[np.ndarray, " num"], num: int, *, num_classes: int
) -> Int[np.ndarray, " best"]:
    """The rows with the highest logits, the best first; of each class that was drawn as many, give or take one.

    Args:
        logits: of samples, which are compared within a class alone.
        labels: theirs.
        num: how many rows.
        num_classes: of the model.
    """
    if not num_classes:
        return np.argsort(-logits, kind="stable")[:num]
    # The rank of each sample in its class: the best of every class come first, then the second best.
    ranked = np.lexsort((-logits, labels))
    count = np.bincount(labels, minlength=num_classes)
    ranks = np.empty(len(labels), int)
    ranks[ranked] = np.arange(len(labels)) - (np.cumsum(count) - count)[labels[ranked]]
    chosen = np.lexsort((-logits, ranks))[:num]
    return chosen[np.lexsort((-logits[chosen], labels[chosen]))]


def judged_as(
    judge: Judge,
    source: Source,
    records: Mapping[str, np.ndarray],
    indices: Int[np.ndarray, " num"],
    *,
    label: int | None = None,
) -> Condition:
    """As what the discriminator is to judge pictures of a source; labels are zeros where it takes none.

    Args:
        judge: what it takes.
        source: of the pictures, with the run's classes.
        records: some of it, an array for each of its fields.
        indices: which they are.
        label: of all of them, in place of their own.

    Raises:
        UserError: they lack something that the discriminator takes.
    """
    num_classes, num_attributes, input_shape = condition_sizes(judge.network)
    if num_classes and label is None and "labels" not in records:
        raise UserError(
            f"{source.name} has no classes, and this discriminator judges a picture as one of a class; give --label, "
            "or put the pictures into a folder for each class"
        )
    if input_shape is not None:
        found = conditions_of(judge.gan, source, indices)
    else:
        found = on_host(records.get("labels", np.zeros(len(indices), np.int32)), records.get("attributes"))
    if num_attributes and (found.attributes is None or found.attributes.shape[1] != num_attributes):
        raise UserError(f"{source.name} has not the {num_attributes} attributes that this discriminator takes")
    labels: Any = np.full(len(indices), label, np.int32) if label is not None else found.labels
    return found._replace(labels=labels)


class Relabelled(View):
    """A source with the run's classes."""

    def __init__(self, source: Source, numbers: Int[np.ndarray, " classes"], names: tuple[str, ...]) -> None:
        super().__init__(source)
        self.class_names = names
        self._numbers = numbers

    def __getitem__(self, index: int) -> Record:
        record = self._source[index]
        return {**record, "labels": np.int32(self._numbers[record["labels"]])}

    def full_name(self, index: int) -> str:
        """See `Source`."""
        return self._source.full_name(index)


def with_classes_of(source: Source, names: tuple[str, ...], num_classes: int) -> Source:
    """A source whose classes, where it and the run have some, are the run's.

    Raises:
        UserError: they do not match.
    """
    if not num_classes or not source.num_classes:
        return source
    theirs = names or tuple(map(str, range(num_classes)))
    matched = match_labels(source.class_names, theirs, whose=source.name)
    if matched.numbers is None:
        raise UserError(f"{matched.problem.replace('the reals have', 'the run has')}; or give --label")
    return Relabelled(source, matched.numbers, theirs)


def hear(
    judge: Judge,
    sampler: Sampler,
    state: State,
    seen: State,
    source: Source,
    *,
    num: int,
    images_seen: int,
    kind: Kind = "logistic",
) -> Heard:
    """Asks the discriminator of reals, and of samples that are drawn for the same classes, attributes and inputs.

    Args:
        judge: the discriminator.
        sampler: of the samples.
        state: of the model, with the discriminator's weights.
        seen: what the sampler samples from.
        source: of the reals, with the run's classes.
        num: of the reals, and of the samples; fewer where there are no more reals.
        images_seen: in training.
        kind: of the calibration.

    Raises:
        UserError: the source lacks something, or is too small.
    """
    num = min(num, len(source))
    indices = order(num_records=len(source), seed=sampler.seed, start=0, stop=num)
    condition = conditions_of(sampler.gan, source, indices)
    labelled = np.asarray(condition.labels) >= 0
    if not labelled.all():  # of a set of which only some have labels
        indices, condition = indices[labelled], jax.tree.map(lambda leaf: leaf[labelled], condition)
    if len(indices) < 8:
        raise UserError(f"{source.name} has {len(indices)} pictures to learn from; expected 8 or more real ones")
    images = Subset(source, indices).load()["images"]
    numbers = _APART + np.arange(len(indices))
    fakes = generate(sampler, seen, condition, numbers=numbers)
    labels = np.asarray(condition.labels)
    said = [judge_images(judge, state, shown, condition, images_seen=images_seen) for shown in (images, fakes)]
    heard = learn(labels, *said, num_classes=condition_sizes(judge.network)[0], kind=kind)
    if heard.calibration.slope < 0:
        _logger.warning(
            "the discriminator's logits are higher for samples than for real pictures of %s: what it says of pictures "
            "is to be doubted",
            source.name,
        )
    return heard


def learn(
    labels: Int[np.ndarray, " num"],
    reals: Float[np.ndarray, " num"],
    fakes: Float[np.ndarray, " num"],
    *,
    num_classes: int,
    kind: Kind = "logistic",
) -> Heard:
    """What logits teach; the reliability is that of what one half of them teaches, on the other.

    Args:
        labels: of the reals, and of the samples in the same order.
        reals: logits.
        fakes: logits.
        num_classes: of which the discriminator is told one.
        kind: of the calibration.
    """
    # Reals and samples in turn, so that a part from the front has as many of both.
    logits = np.stack([reals, fakes], axis=1)
    is_real = np.tile([True, False], (len(labels), 1))
    fit = functools.partial(calibrate, num_classes=num_classes, kind=kind)

    def of(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return logits[part].ravel(), is_real[part].ravel(), labels[part].repeat(2)

    calibration, half = fit(*of(slice(None))), len(labels) // 2
    others, are_real, their_labels = of(slice(half, None))
    probabilities = fit(*of(slice(half))).probability(others, their_labels if len(calibration.intercepts) > 1 else None)
    return Heard(calibration, reliability_of(probabilities, are_real), labels, reals, fakes)
