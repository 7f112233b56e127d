"""The generators of StyleGAN3-T and -R (Karras et al., "Alias-Free Generative Adversarial Networks", arXiv 2106.12423).

Maps stand for continuous signals: they begin as sines of known frequencies, every layer keeps within a band that
widens from layer to layer (``layer_schedule.py``), and its nonlinearity goes through filters (``filters.py``). So the
picture moves with the sines: T's with a translation, and R's with a rotation as well, by convolutions of size 1 and
round filters. There are no noise inputs, no style mixing and no path length; the discriminator is StyleGAN2's.

What is no weight is in collections: ``STYLES`` the average style, ``MAGNITUDES`` what each layer's maps measure,
``SINES`` the frequencies and phases drawn once, ``TRANSFORM`` what a user turns and moves the picture by.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.equalized import EqualizedLinear, Mapping, follow_mean
from ganjax.models.filters import filtered_leaky_relu
from ganjax.models.layer_schedule import Layer, LayerSchedule
from ganjax.models.layers import Mode, add_bias
from ganjax.models.network import STYLES
from ganjax.platform.forms import current_forms

__all__ = ["MAGNITUDES", "SINES", "TRANSFORM", "Generator", "modulated_convolution", "r", "t"]

MAGNITUDES = "magnitudes"
"""The collection of each layer's ``square``: the running mean of the squares of the maps that it is given."""

SINES = "sines"
"""The collection of the input's ``frequencies`` [channels, 2], cycles per image in x and y and ``phases``, in turns."""

TRANSFORM = "transform"
"""The collection of the input's ``matrix``, [3, 3] or one an image: from the picture's places to those of the sines."""


def modulated_convolution(
    maps: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "size size inputs channels"],
    scales: Float[Array, "batch inputs"],
    *,
    gain: Float[Array, ""],
    demodulate: bool = True,
) -> Float[Array, "batch new_height new_width channels"]:
    """A convolution whose input channels each image scales, and whose outputs then have unit variance (appendix B).

    The scales multiply the maps and not the kernel, so that all images share one convolution. The zero padding is of
    the kernel's whole reach: height and width grow by ``size - 1``.

    Args:
        maps: in the dtype that is computed in.
        kernel: normalised to a root mean square of 1 in each output channel where it is demodulated.
        scales: of each image. Where it is demodulated their size is lost but for the 1e-8 of the paper's Eq. 13, and
            their root mean square is made 1: image by image, so that none depends on the others of its batch.
        gain: of the maps.
        demodulate: whether outputs are divided by the root of the sum of squares of the weights that made them.
    """
    shift = None
    if demodulate:
        kernel = kernel * lax.rsqrt(jnp.mean(jnp.square(kernel), axis=(0, 1, 2), keepdims=True))
        scales = scales * lax.rsqrt(jnp.mean(jnp.square(scales), axis=1, keepdims=True))
        power = jnp.matmul(jnp.square(scales), jnp.sum(jnp.square(kernel), axis=(0, 1)), precision="highest")
        shift = lax.rsqrt(power + 1e-8)
    scaled = maps * (scales * gain).astype(maps.dtype)[:, None, None, :]
    reach = kernel.shape[0] - 1
    # A CPU takes fifty times as long for the kernel's derivative where what is padded inside of the convolution makes
    # maps larger than they were.
    ahead = reach - reach // 2 if current_forms().convolutions == "ordered" else 0
    edge, inside = (ahead, ahead, 0), (reach - ahead, reach - ahead)
    if ahead:
        scaled = lax.pad(scaled, jnp.zeros((), scaled.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))
    outputs = lax.conv_general_dilated(
        scaled,
        kernel.astype(maps.dtype),
        (1, 1),
        [inside] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return outputs if shift is None else outputs * shift.astype(outputs.dtype)[:, None, None, :]


class Input(nn.Module):
    """Sines on a square somewhat larger than the picture, moved and turned by the style (section 3.2).

    Attributes:
        layer: the first; what it is given is this.
        bandwidth: no frequency is above this many cycles per image.
    """

    layer: Layer
    bandwidth: float

    @nn.compact
    def __call__(self, style: Float[Array, "batch size"]) -> Float[Array, "batch height width channels"]:
        """The first layer's maps, float32."""
        channels, rate = self.layer.in_channels, self.layer.in_rate
        frequencies, phases = (
            self.variable(SINES, name, lambda draw=draw: draw(self.make_rng("params"), channels, self.bandwidth)).value
            for name, draw in (("frequencies", _frequencies), ("phases", _phases))
        )
        user = self.variable(TRANSFORM, "matrix", lambda: jnp.eye(3)).value
        kernel = self.param("kernel", nn.initializers.normal(1.0), (channels, channels))

        # The style gives a rotation, by its cosine and sine, and a translation.
        moves = EqualizedLinear(4, initial_weight=0.0, initial_bias=(1.0, 0.0, 0.0, 0.0), name="affine")(style)
        moves = moves / jnp.sqrt(jnp.sum(jnp.square(moves[:, :2]), axis=1, keepdims=True))
        cosine, sine, right, down = (moves[:, index] for index in range(4))
        zero, one = jnp.zeros_like(cosine), jnp.ones_like(cosine)
        rotation = _matrices([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])
        translation = _matrices([[one, zero, -right], [zero, one, -down], [zero, zero, one]])
        multiply = functools.partial(jnp.matmul, precision="highest")
        matrix = multiply(multiply(rotation, translation), jnp.broadcast_to(user, rotation.shape))
        phases = phases[None] + multiply(frequencies[None], matrix[:, :2, 2:])[..., 0]
        frequencies = multiply(frequencies[None], matrix[:, :2, :2])  # [batch, channels, 2]

        # What a user's transform pushes out of the band fades away.
        radii = jnp.sqrt(jnp.sum(jnp.square(frequencies), axis=2))
        amplitudes = jnp.clip(1 - (radii - self.bandwidth) / (rate / 2 - self.bandwidth), 0.0, 1.0)
        places = jnp.asarray((np.arange(self.layer.in_size) + 0.5 - self.layer.in_size / 2) / rate, jnp.float32)
        across = places[None, :, None] * frequencies[:, None, :, 0]
        along = places[None, :, None] * frequencies[:, None, :, 1] + phases[:, None, :]
        turns = along[:, :, None] + across[:, None]  # [batch, height, width, channels]
        features = jnp.sin(2 * np.pi * turns) * amplitudes[:, None, None, :]
        return jnp.matmul(features, kernel / math.sqrt(channels))


def _frequencies(key: Key[Array, ""], channels: int, bandwidth: float) -> Float[Array, "channels 2"]:
    """Uniform in the disc of radius ``bandwidth``."""
    pairs = jax.random.normal(key, (channels, 2))
    squares = jnp.sum(jnp.square(pairs), axis=1, keepdims=True)
    return pairs * (bandwidth * lax.rsqrt(squares) * jnp.exp(-squares / 4))


def _phases(key: Key[Array, ""], channels: int, bandwidth: float) -> Float[Array, " channels"]:
    return jax.random.uniform(key, (channels,), minval=-0.5, maxval=0.5)


def _matrices(rows: list[list[Array]]) -> Float[Array, "batch 3 3"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


class Synthesis(nn.Module):
    """One layer: a modulated convolution, a bias, and the filtered leaky ReLU; the last only makes the image.

    Attributes:
        layer: its place in the schedule.
        magnitude_decay: what an update keeps of the running mean of squares.
        clamp: what no absolute value is above after the leaky ReLU, or in the image; None: anything.
        dtype: what it computes in.
    """

    layer: Layer
    magnitude_decay: float
    clamp: float | None
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width inputs"], style: Float[Array, "batch size"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels"]:
        """The next layer's maps, in this one's dtype."""
        layer = self.layer
        square = self.variable(MAGNITUDES, "square", lambda: jnp.ones(()))
        magnitude = square.value
        if mode.train and not self.is_initializing() and self.is_mutable_collection(MAGNITUDES):
            # Before it is used, and of the whole batch where it is divided over devices.
            now = jnp.mean(jnp.square(lax.stop_gradient(maps).astype(jnp.float32)))
            now = lax.pmean(now, mode.axis_name) if mode.axis_name else now
            square.value = magnitude = now + self.magnitude_decay * (magnitude - now)
        scales = EqualizedLinear(layer.in_channels, initial_bias=1.0, name="affine")(style)
        if layer.makes_image:
            scales = scales / math.sqrt(layer.in_channels)
        shape = (layer.kernel_size, layer.kernel_size, layer.in_channels, layer.out_channels)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        bias = self.param("bias", nn.initializers.zeros, (layer.out_channels,))
        maps = modulated_convolution(
            maps.astype(self.dtype), kernel, scales, gain=lax.rsqrt(magnitude), demodulate=not layer.makes_image
        )
        maps = add_bias(maps, bias)
        if layer.makes_image:
            return maps if self.clamp is None else jnp.clip(maps, -self.clamp, self.clamp)
        return filtered_leaky_relu(
            maps,
            layer.rise,
            layer.fall,
            up=layer.up,
            down=layer.down,
            low=layer.low,
            size=layer.out_size,
            clamp=self.clamp,
        )


class Generator(network.StyledGenerator):
    """StyleGAN3's generator; ``t`` and ``r`` make those of the paper.

    Images are square, of a power of 2 from 8 pixels on, and around [-1, 1] but not confined to it.

    Attributes:
        style_size: numbers of a style.
        num_mapping_layers: from latents to styles.
        schedule: the layers' bands, rates and widths.
        average_decay: what an update keeps of the average style.
        magnitude_decay: what an update keeps of the running means of squares: 0.5 ** (batch_size / 20_000) in the
            authors' runs.
        clamp: what no absolute value is above after a leaky ReLU.
        output_gain: of the image.
        dtype: what the layers of the highest rates compute in.
        num_low_precision_rates: how many octaves of rates these are, from the image's downwards.
    """

    latent_size: int = 512
    style_size: int = 512
    num_mapping_layers: int = 2
    schedule: LayerSchedule = LayerSchedule()
    average_decay: float = 0.998
    magnitude_decay: float = 0.999
    clamp: float | None = 256.0
    output_gain: float = 0.25
    dtype: DTypeLike = jnp.float32
    num_low_precision_rates: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_shape is not None:
            raise UserError("stylegan3 starts from latents and not from images: leave input_shape out")
        for name in ("average_decay", "magnitude_decay"):
            check_number(name, getattr(self, name), at_least=0, at_most=1, example=0.998)
        self.schedule.layers(self.image_shape)  # refuses sizes that it does not make

    @property
    def num_styles(self) -> int:
        """How many styles an image is made of: one for the input, and one for each layer."""
        return len(self.schedule.layers(self.image_shape)) + 1

    def setup(self) -> None:
        self.mapping = Mapping(self.style_size, self.num_mapping_layers)
        self.average = self.variable(STYLES, "average", lambda: jnp.zeros((self.style_size,)))
        layers = self.schedule.layers(self.image_shape)
        self.input = Input(layers[0], self.schedule.first_cutoff)
        self.layers = [Synthesis(layer, self.magnitude_decay, self.clamp, self._dtype(layer)) for layer in layers]

    @staticmethod
    def moved(variables: dict[str, Any], matrix: Float[Array, "*batch 3 3"]) -> dict[str, Any]:
        """The generator's variables with a transform of the user's, for all images or one each.

        Args:
            variables: with or without the parameters.
            matrix: maps places of the picture, (x to the right, y down, 1) in widths from its middle, to those of the
                sines: a translation by t is the identity with -t in its last column.
        """
        return {**variables, TRANSFORM: {"input": {"matrix": matrix}}}

    def _dtype(self, layer: Layer) -> DTypeLike:
        low = layer.out_rate * 2**self.num_low_precision_rates > self.image_shape[0]
        return self.dtype if low else jnp.float32

    def map(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.StyledGenerator``."""
        vector = self.vector(condition) if self.condition_size else None
        style = self.mapping(latents, vector)
        follow_mean(self.average, style, mode, decay=self.average_decay)
        return jnp.broadcast_to(style[:, None], (len(style), self.num_styles, self.style_size))

    def synthesize(self, styles: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.StyledGenerator``."""
        styles = styles.astype(jnp.float32)
        maps = self.input(styles[:, 0])
        for index, layer in enumerate(self.layers):
            maps = layer(maps, styles[:, index + 1], mode)
        return maps.astype(jnp.float32) * self.output_gain


def t(image_shape: tuple[int, int, int], *, width: float = 1.0, **attributes: Any) -> Generator:
    """StyleGAN3-T: equivariant to translation.

    Args:
        image_shape: height, width and channels.
        width: of the layers, as a share of the paper's.
        attributes: further ones of ``Generator``.
    """
    schedule = LayerSchedule(channel_base=round(32768 * width), channel_limit=round(512 * width))
    return Generator(image_shape=image_shape, schedule=schedule, **attributes)


def r(image_shape: tuple[int, int, int], *, width: float = 1.0, **attributes: Any) -> Generator:
    """StyleGAN3-R: equivariant to translation and rotation; twice as wide as T.

    Args:
        image_shape: height, width and channels.
        width: of the layers, as a share of the paper's.
        attributes: further ones of ``Generator``.
    """
    schedule = LayerSchedule(
        channel_base=round(65536 * width), channel_limit=round(1024 * width), kernel_size=1, radial=True
    )
    return Generator(image_shape=image_shape, schedule=schedule, **attributes)
