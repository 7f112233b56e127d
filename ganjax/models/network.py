"""What a network is: the contract of every generator and every discriminator, said once.

A family is one file with a ``Generator`` that says ``generate`` and a ``Discriminator`` that says ``judge``, and what
attributes they have beside those here. A network need not be of these classes: any Linen module will do that has these
attributes and takes these arguments; one that knows of labels alone is given them as its second argument.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, Labels
from ganjax.models.layers import Mode, fit_maps
from ganjax.models.sizes import check_sizes

__all__ = ["STYLES", "Discriminator", "Encoder", "Generator", "Network", "Posterior", "StyledGenerator"]

FEATURES = "features"
"""The collection into which a network may ``sow`` what its layers say, for losses that look at it."""

SCORES = "scores"
"""The collection into which one that also says what an image is of sows its scores."""


STYLES = "styles"
"""The collection of the average of a ``StyledGenerator``'s styles."""


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
    """

    latent_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
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

    A family says ``map`` and ``synthesize``, and keeps the average of the styles, [style_size], as variable ``average``
    of the collection ``STYLES``. Both stages are of use on their own:

        styles = generator.apply(variables, latents, condition, Mode(train=False), method="map")

    Attributes:
        truncation: outside of training styles are brought to so much of their distance from the average; 1 leaves them.
        truncated_layers: how many layers, from the first on, this is done in; None: in all.
    """

    truncation: float = dataclasses.field(default=1.0, kw_only=True)
    truncated_layers: int | None = dataclasses.field(default=None, kw_only=True)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``Generator``."""
        styles = self.map(latents, condition, mode)
        return self.synthesize(styles if mode.train else self.truncate(styles), condition, mode)

    def truncate(self, styles: Float[Array, "batch layers size"]) -> Float[Array, "batch layers size"]:
        """Styles nearer to their average (Karras et al., arXiv 1812.04948, section 3 and appendix B)."""
        if self.truncation == 1.0:
            return styles
        average: Any = self.get_variable(STYLES, "average")
        layers = styles.shape[1]
        truncated = jnp.arange(layers) < (layers if self.truncated_layers is None else self.truncated_layers)
        average = average[None, None]
        return jnp.where(truncated[None, :, None], average + self.truncation * (styles - average), styles)

    def map(self, latents: Array, condition: Condition, mode: Mode) -> Float[Array, "batch layers size"]:
        """The styles of latents; in training the average follows them, and styles of other latents are mixed in."""
        raise NotImplementedError

    def synthesize(self, styles: Float[Array, "batch layers size"], condition: Condition, mode: Mode) -> Array:
        """The images of styles."""
        raise NotImplementedError


class Discriminator(Network):
    """Logits of images, float32, higher for more real: one an image, or one a patch, [batch, height, width].

    An image to compare with stands beside the judged one, as further channels (Isola et al., arXiv 1611.07004).

    Attributes:
        homogeneous: whether the logit of a x with units a is a times that of x with units 1, for a > 0.
        stages: the first names of its parameters, in groups from the image on, for training that leaves the first
            groups as they are (FreezeD, arXiv 2002.10964); () where a family does not say.
    """

    homogeneous: ClassVar[bool] = False

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

    def tell(self, scores: Float[Array, "batch scores"]) -> None:
        """Sows what it says an image is of: a logit for each class, then one for each attribute.

        A family that does so has an attribute ``num_scores``, how many these are.
        """
        if not self.is_initializing():
            self.sow(SCORES, "head", scores)


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
