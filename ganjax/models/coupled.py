"""Several generators that share layers, or several discriminators: DCGAN's, with an axis of members in some layers.

Which member is asked is a sample's label, as the domain in CoGAN (Liu & Tuzel, arXiv 1606.07536); else it is the first
of the latents' categorical ``codes``, as in a mixture of generators (MAD-GAN, Ghosh et al., arXiv 1704.02906; MGAN,
Hoang et al., arXiv 1708.02556): ``Codes(categories=(num_members,))``. Every member's part of a layer is computed, and
each sample gets its member's: only the layers that members have for themselves cost more than one generator's.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.dcgan import stage_widths
from ganjax.models.layers import Mode, leaky_relu, strided_convolution, transposed_convolution
from ganjax.models.normalization import BatchNorm, scale_near_one

__all__ = ["Discriminator", "Generator"]

_normalized, _plain = nn.initializers.normal(0.02), nn.initializers.he_normal()
"""First weights of layers whose maps are normalised, and of others."""
Which = Float[Array, "batch members"]
"""Rows of zeros with a one: each sample's member."""


class Generator(network.Generator):
    """DCGAN's generator: a dense layer to 4 x 4 and transposed convolutions; some first or last ones are members' own.

    Attributes:
      num_members: how many generators it is.
      own_first: how many layers from the latents on each member has for itself (MGAN: 1).
      own_last: how many layers up to the image (CoGAN, MAD-GAN).
      only: makes the images of this member alone, whatever the code or label says.
      features: the channels at half the image's size; they double with each halving, up to eight times.
      batch_norm: whether feature maps are normalised, all members' together.
    """

    latent_size: int = 100
    num_members: int = 2
    own_first: int = 0
    own_last: int = 0
    only: int | None = dataclasses.field(default=None, kw_only=True)
    features: int = 64
    batch_norm: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, len(stage_widths(self.image_shape, self.features)) + 1)
        if self.only is not None:
            check_number("only", self.only, at_least=0, at_most=self.num_members - 1, example=1)
        elif not self.num_classes and (self.codes is None or self.codes.categories[:1] != (self.num_members,)):
            raise UserError(
                f"num_members is {self.num_members} and neither labels nor codes say which; give "
                f"codes=Codes(categories=({self.num_members},)) or num_classes={self.num_members}"
            )

    def member(self, number: int) -> "Generator":
        """The generator that is this member alone: of the same weights and latents, without labels."""
        return self.clone(only=number, num_classes=0)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        widths = stage_widths(self.image_shape, self.features)
        num_layers = len(widths) + 1

        def own(layer: int) -> Which | None:
            return which if layer < self.own_first or layer >= num_layers - self.own_last else None

        weights = _normalized if self.batch_norm else _plain
        vector, which = self._told(latents, condition)
        first = _Layer(16 * widths[0], jnp.matmul, (), not self.batch_norm, weights, name="layer_0")
        maps = first(vector, own(0))
        maps = maps.reshape(-1, 4, 4, widths[0])
        for layer, width in enumerate((*widths[1:], self.image_shape[2]), start=1):
            if self.batch_norm:
                maps = BatchNorm(scale_init=scale_near_one, name=f"norm_{layer}")(maps, mode)
            biased = layer == num_layers - 1 or not self.batch_norm
            convolution = _Layer(width, transposed_convolution, (4, 4), biased, weights, name=f"layer_{layer}")
            maps = convolution(nn.relu(maps), own(layer))
        return jnp.tanh(maps)

    def _told(self, latents: Array, condition: Condition) -> tuple[Array, Which]:
        """The latents without the code of the member, and the members."""
        if self.only is not None:
            which = jnp.broadcast_to(jax.nn.one_hot(self.only, self.num_members), (len(latents), self.num_members))
        elif self.num_classes:
            which = self.vector(condition)
        if self.codes is None or self.codes.categories[:1] != (self.num_members,):
            return latents, which
        parts = self.codes.split(latents)
        if self.only is None and not self.num_classes:
            which = parts.categories[0]
        return jnp.concatenate([parts.noise, *parts.categories[1:], parts.uniform], axis=1), which


class Discriminator(network.Discriminator):
    """DCGAN's discriminator without normalisation; the first layers are members' own, and the label says whose (CoGAN).

    Attributes:
      num_members: how many discriminators it is.
      own_first: how many layers from the image on each member has for itself.
      own_last: how many layers up to the logit.
      features: the channels at half the image's size; they double with each halving, up to eight times.
    """

    num_members: int = 2
    own_first: int = 0
    own_last: int = 0
    features: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self, len(stage_widths(self.image_shape, self.features)) + 1)
        if not self.num_classes:
            raise UserError(f"num_members is {self.num_members} and num_classes 0: whose images? make them equal")

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        which, maps = self.vector(condition), images
        widths = stage_widths(self.image_shape, self.features)[::-1]

        def own(layer: int) -> Which | None:
            return which if layer < self.own_first or layer > len(widths) - self.own_last else None

        for layer, width in enumerate(widths):
            convolution = _Layer(width, strided_convolution, (4, 4), True, _plain, name=f"layer_{layer}")
            maps = leaky_relu(convolution(maps, own(layer)))
            self.show(maps)
        flat = maps.reshape(len(maps), -1)
        logits = self.tell_heads(flat)
        if logits is not None:
            return logits
        return _Layer(1, jnp.matmul, (), True, _plain, name="output")(flat, own(len(widths)))[:, 0]


class _Layer(nn.Module):
    """A dense layer or a convolution; where members have their own, those of all, and each sample's of these."""

    width: int
    product: Callable[[Array, Array], Array]
    kernel_size: tuple[int, ...]
    use_bias: bool
    weights: nn.initializers.Initializer

    @nn.compact
    def __call__(self, maps: Float[Array, "batch *shape"], which: Which | None) -> Float[Array, "batch *new_shape"]:
        members = 1 if which is None else which.shape[1]
        size = members * self.width
        maps = self.product(maps, self.param("kernel", self.weights, (*self.kernel_size, maps.shape[-1], size)))
        if self.use_bias:
            maps = maps + self.param("bias", nn.initializers.zeros, (size,)).reshape((1,) * (maps.ndim - 1) + (size,))
        if which is None:
            return maps
        chosen = which.reshape(len(maps), *(1,) * (maps.ndim - 2), members, 1)
        return jnp.sum(maps.reshape(*maps.shape[:-1], members, self.width) * chosen, axis=-2)


def _check(net: Generator | Discriminator, num_layers: int) -> None:
    if net.num_classes not in (0, net.num_members):
        raise UserError(f"num_classes is {net.num_classes} and num_members {net.num_members}; make them equal, or 0")
    if net.num_attributes or net.input_shape is not None:
        raise UserError("coupled networks take labels alone; leave num_attributes and input_shape out")
    if not 1 <= net.own_first + net.own_last <= num_layers:
        raise UserError(
            f"own_first is {net.own_first} and own_last {net.own_last}, of {num_layers} layers; give members some of "
            "their own, and no more than there are"
        )
