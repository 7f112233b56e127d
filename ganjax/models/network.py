"""What a network is: the contract of every generator and every discriminator, said once.

A family is one file with a ``Generator`` that says ``generate`` and a ``Discriminator`` that says ``judge``, and what
attributes they have beside those here. A network need not be of these classes: any Linen module will do that has these
attributes and takes these arguments; one that knows of labels alone is given them as its second argument.
"""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.codes import Codes
from ganjax.models.condition import Condition, Labels
from ganjax.models.layers import Mode, fit_maps, leaky_relu
from ganjax.models.sizes import check_sizes

__all__ = [
    "STYLES",
    "Discriminator",
    "Encoder",
    "Generator",
    "Head",
    "Network",
    "Posterior",
    "StyledGenerator",
    "check_num_images",
    "within_distance",
]

FEATURES = "features"
"""The collection into which a network may ``sow`` what its layers say, for losses that look at it."""

SCORES = "scores"
"""The collection into which one that also says what an image is of sows its scores."""

STYLES = "styles"
"""The collection of the average of a ``StyledGenerator``'s styles."""


class Head(NamedTuple):
    """What a discriminator says of an image beside its logit: numbers of a layer of their own.

    Attributes:
        name: by which terms know it: ``classes``, ``codes``.
        size: how many numbers.
        hidden: the width of a layer before that, with leaky ReLU; 0 is none.
        judges: whether the logit is made of these numbers s, in place of a layer of its own. ``real``: each of them
            stands for a kind of real, beside one of fakes at 0, and the logit is ln sum exp s (Salimans et al., arXiv
            1606.03498, section 5); ``fake``: each stands for a kind of fake, beside reals at 0, and the logit is
            -ln sum exp s (MAD-GAN, arXiv 1704.02906); None: it is not.
    """

    name: str
    size: int
    hidden: int = 0
    judges: Literal["real", "fake"] | None = None


class Network(nn.Module):
    """What all networks have.

    Attributes:
        image_shape: height, width and channels of the images.
        num_classes: of a network that takes labels; 0 takes none.
        num_attributes: numbers a sample, of one that takes attributes; 0 takes none.
        input_shape: height, width and channels of the images that one starts from, or is shown beside the others; None
            takes none.
        any_size: whether images of another height and width than those may be given to it.
    """

    any_size: ClassVar[bool] = False
    image_shape: tuple[int, int, int]
    num_classes: int = dataclasses.field(default=0, kw_only=True)
    num_attributes: int = dataclasses.field(default=0, kw_only=True)
    input_shape: tuple[int, int, int] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_sizes(self)
        super().__post_init__()

    def split_axis(self, names: tuple[str, ...]) -> int | None:
        """Which axis of a parameter devices share where a network is split over several; None: each has the whole.

        Args:
            names: of the parameter, from the network's on.
        """
        return None

    @property
    def split_sizes(self) -> dict[str, int]:
        """What the number of those devices has to divide, by what messages call it; {} of one that is never split."""
        return {}

    @property
    def condition_size(self) -> int:
        """The length of a condition's ``vector``."""
        return self.num_classes + self.num_attributes

    def vector(self, condition: Condition) -> Float[Array, "batch size"]:
        """What the condition says in numbers, of a network with a ``condition_size`` above 0."""
        vector = condition.vector(self.num_classes)
        assert vector is not None, "a condition that is checked has what the network takes"
        return vector

    def show(self, maps: Any) -> None:
        """Sows a layer's maps, for losses that compare them."""
        if not self.is_initializing():  # they are no variables
            self.sow(FEATURES, "layers", maps)


class Generator(Network):
    """Images from latents, or from images, or both: float32, in [-1, 1] or close to it.

    Attributes:
        latent_size: the number of latents of an image; 0 only where it starts from an image.
        codes: which of the latents stand for something, and how all are drawn; None: all of them from N(0, 1).
        num_images: how many it gives in training, beside each other on the channels, the last one last.
    """

    num_images: ClassVar[int] = 1

    latent_size: int = 64
    codes: Codes | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codes is not None:
            self.codes.check(self.latent_size)
        if self.latent_size == 0 and self.input_shape is None:
            raise UserError("latent_size is 0 and input_shape None; a generator starts from latents or from an image")

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latents"],
        condition: Condition | Labels | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images.

        Args:
            latents: noise, ``latent_size`` numbers an image.
            condition: what the images are to be of; labels alone may come as such.
            train: see ``Mode``, as for what follows.
            keys: one a sample.
            axis_name: the mapped axis.

        Raises:
            UserError: the condition lacks something, or there is noise to draw and no keys.
        """
        return self.generate(latents, Condition.of(condition).taken_by(self), Mode(train, keys, axis_name))

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """What a family says."""
        raise NotImplementedError


class StyledGenerator(Generator):
    """A generator in two stages: latents become styles, one for each of its layers, and these an image (StyleGAN).

    A family says ``map`` and ``synthesize``, and keeps the average of the styles as variable ``average`` of the
    collection ``STYLES``: [style_size], or, where ``average_of`` says which is a sample's, several. Both stages are of
    use on their own:

        styles = generator.apply(variables, latents, condition, Mode(train=False), method="map")

    Attributes:
        truncation: outside of training styles are brought to so much of their distance from the average; 1 leaves them.
        truncated_layers: how many layers, from the first on, this is done in; None: in all.
        largest_distance: outside of training styles further than this from the average are brought straight back to
            it, after that; as the root of the mean square of the differences' entries. None: any distance.
    """

    truncation: float = dataclasses.field(default=1.0, kw_only=True)
    truncated_layers: int | None = dataclasses.field(default=None, kw_only=True)
    largest_distance: float | None = dataclasses.field(default=None, kw_only=True)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``Generator``."""
        styles = self.map(latents, condition, mode)
        return self.synthesize(styles if mode.train else self.truncate(styles, condition), condition, mode)

    def truncate(
        self, styles: Float[Array, "batch layers size"], condition: Condition
    ) -> Float[Array, "batch layers size"]:
        """Styles nearer to their average (Karras et al., arXiv 1812.04948, section 3 and appendix B)."""
        if self.truncation == 1.0 and self.largest_distance is None:
            return styles
        layers, average = styles.shape[1], self.average_of(condition, styles)[:, None]
        if self.truncation != 1.0:
            truncated = jnp.arange(layers) < (layers if self.truncated_layers is None else self.truncated_layers)
            styles = jnp.where(truncated[None, :, None], average + self.truncation * (styles - average), styles)
        if self.largest_distance is not None:
            styles = average + within_distance(styles - average, self.largest_distance)
        return styles

    def average_of(self, condition: Condition, styles: Float[Array, "batch layers size"]) -> Float[Array, "_ size"]:
        """The average that each sample's styles are brought nearer to, or one row for all."""
        average: Any = self.get_variable(STYLES, "average")
        return average[None]

    def map(self, latents: Array, condition: Condition, mode: Mode) -> Float[Array, "batch layers size"]:
        """The styles of latents; in training the average follows them, and styles of other latents are mixed in."""
        raise NotImplementedError

    def synthesize(self, styles: Float[Array, "batch layers size"], condition: Condition, mode: Mode) -> Array:
        """The images of styles."""
        raise NotImplementedError


def check_num_images(generator: Any, other: Any, called: str) -> None:
    """Raises ``UserError`` unless what looks at a generator's images in training takes as many as it gives.

    Args:
        generator: which may give several, its ``num_images``.
        other: the network that looks at them, or None for what is no network.
        called: what that is in a message.
    """
    given, taken = getattr(generator, "num_images", 1), getattr(other, "num_images", 1)
    if given not in (1, taken):
        family = type(generator).__module__.rpartition(".")[2]
        raise UserError(
            f"{family}'s generator gives {given} images beside each other in training, and the {called} takes one; "
            f"give {family}.Discriminator, in a GAN, or another generator"
        )


def within_distance(vectors: Float[Array, "*batch size"], largest: float | int) -> Float[Array, "*batch size"]:
    """Vectors, those further than this from 0 brought straight back to it.

    Args:
        vectors: latents, or styles as differences from their average.
        largest: distance, as the root of the mean square of a vector's entries.
    """
    distances = jnp.sqrt(jnp.mean(jnp.square(vectors), axis=-1, keepdims=True))
    return vectors * jnp.minimum(1.0, largest / jnp.maximum(distances, 1e-12))


class Discriminator(Network):
    """Logits of images, float32, higher for more real: one an image, or one a patch, [batch, height, width].

    An image to compare with stands beside the judged one, as further channels (Isola et al., arXiv 1611.07004).

    Attributes:
        homogeneous: whether the logit of a x with units a is a times that of x with units 1, for a > 0.
        heads: what it says of an image beside the logit, of a family that can (``tell_heads``).
        energies: whether the logits are minus an energy, which is never below 0.
        num_images: how many beside each other on the channels it takes, as ``Generator`` has it; or one, for all.
        stages: the first names of its parameters, in groups from the image on, for training that leaves the first
            groups as they are (FreezeD, arXiv 2002.10964); () where a family does not say.
    """

    homogeneous: ClassVar[bool] = False
    energies: ClassVar[bool] = False
    num_images: ClassVar[int] = 1
    heads: tuple[Head, ...] = dataclasses.field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        check_heads(self.heads)
        super().__post_init__()
        if self.condition_size and (judges := [head.name for head in self.heads if head.judges]):
            raise UserError(
                f"head {judges[0]!r} judges, and the discriminator is told classes or attributes: a logit that is made "
                "of scores has no place for them; leave num_classes and num_attributes 0, or judges None"
            )

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See the attribute."""
        return ()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        condition: Condition | Labels | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
        units: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *patches"] | tuple[Float[Array, "batch *_"], ...]:
        """Logits; of one that judges an image at several sizes, those at each.

        Args:
            images: in [-1, 1].
            condition: what the images are said to be of; labels alone may come as such.
            train: see ``Mode``, as for what follows.
            keys: one a sample.
            axis_name: the mapped axis.
            units: one an image.

        Raises:
            UserError: the condition lacks something, or there is noise to draw and no keys.
        """
        taken = Condition.of(condition).taken_by(self)
        if taken.inputs is not None:
            inputs = fit_maps(taken.inputs, images.shape[1:3])
            # The logit is to be homogeneous in all that it is a function of.
            inputs = inputs if units is None else inputs * units[:, None, None, None]
            images = jnp.concatenate([images, inputs.astype(images.dtype)], axis=-1)
        return self.judge(images, taken, Mode(train, keys, axis_name, units))

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array | tuple[Array, ...]:
        """What a family says."""
        raise NotImplementedError

    def tell(self, scores: Float[Array, "batch scores"], head: str = "scores") -> None:
        """Sows what it says an image is of.

        Args:
            scores: numbers of each image. Those of ``scores`` are a logit for each class, then one for each attribute;
                a family that tells these has an attribute ``num_scores``, how many they are.
            head: by which they are known.
        """
        if not self.is_initializing():
            self.sow(SCORES, head, scores)

    def tell_heads(self, features: Float[Array, "batch *positions features"]) -> Float[Array, " batch"] | None:
        """Tells the scores of all heads; the logits, if one of them judges.

        Args:
            features: what the logit is made of, too; of several positions, heads see the mean.
        """
        logits = None
        for head in self.heads:
            hidden = jnp.mean(features.astype(jnp.float32), axis=range(1, features.ndim - 1))
            if head.hidden:
                hidden = nn.Dense(head.hidden, name=f"head_{head.name}_hidden")(hidden)
                hidden = leaky_relu(hidden)
            scores = nn.Dense(head.size, name=f"head_{head.name}")(hidden)
            self.tell(scores, head.name)
            if head.judges:
                total = nn.logsumexp(scores, axis=-1)
                logits = total if head.judges == "real" else -total
        return logits


def check_heads(heads: Any) -> None:
    """Raises ``UserError`` unless these can be the heads of one discriminator."""
    if not isinstance(heads, tuple) or not all(isinstance(head, Head) for head in heads):
        raise UserError(f'heads is {heads!r}; expected a tuple of heads, such as (Head("classes", 10),)')
    names = [head.name for head in heads]
    for head in heads:
        check_number(f"the size of head {head.name!r}", head.size, at_least=1, example=10)
        check_number(f"hidden of head {head.name!r}", head.hidden, at_least=0, example=128)
        if head.judges not in ("real", "fake", None):
            raise UserError(f"judges of head {head.name!r} is {head.judges!r}; expected 'real', 'fake' or None")
        if names.count(head.name) > 1:
            raise UserError(f"{names.count(head.name)} heads are named {head.name!r}; give each its own name")
    if sum(head.judges is not None for head in heads) > 1:
        raise UserError("several heads judge; an image has one logit: leave judges of all but one None")


class Posterior(NamedTuple):
    """The normal distribution, of independent latents, that an encoder assigns to each image."""

    mean: Float[Array, "batch latent"]
    log_variance: Float[Array, "batch latent"]


class Encoder(Network):
    """The distribution of the latents that images may have come from.

    Attributes:
        latent_size: the number of latents of an image.
    """

    latent_size: int = 64

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        condition: Condition | Labels | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Posterior:
        """The posterior of each image.

        Args:
            images: in [-1, 1].
            condition: what the images are of; labels alone may come as such.
            train: see ``Mode``, as for what follows.
            keys: one a sample.
            axis_name: the mapped axis.

        Raises:
            UserError: the condition lacks something, or there is noise to draw and no keys.
        """
        return self.encode(images, Condition.of(condition).taken_by(self), Mode(train, keys, axis_name))

    def encode(self, images: Array, condition: Condition, mode: Mode) -> Posterior:
        """What a family says."""
        raise NotImplementedError
