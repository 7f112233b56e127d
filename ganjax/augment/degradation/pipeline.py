"""What pictures suffer on their way, twice over, as Real-ESRGAN has it (Wang et al., arXiv 2107.10833, section 3)."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ganjax.augment.degradation.axes import Planes, Resampled, Size
from ganjax.augment.degradation.blurring import blur
from ganjax.augment.degradation.jpeg import Rounding, compress, rounded
from ganjax.augment.degradation.kernels import Blur, KernelDraw, between, kernel
from ganjax.augment.degradation.noise import Noise, NoiseDraw, add_noise
from ganjax.augment.degradation.resizing import Resizing, ResizingDraw, draw_way, resize, scaled
from ganjax.augment.degradation.sharpening import Sharpened
from ganjax.ground.checks import check_number, check_range
from ganjax.ground.errors import UserError

Images = Float[Array, "batch height width channels"]


class RoundDraw(NamedTuple):
    """What an image suffers in one round."""

    kernel: KernelDraw
    resizing: ResizingDraw
    noise: NoiseDraw
    quality: Float[Array, ""]


class DegradedDraw(NamedTuple):
    """What one image suffers; ``way`` is that of the last resizing, and ``jpeg_first`` 1 if JPEG is before it."""

    first: RoundDraw
    second: RoundDraw
    sinc: KernelDraw
    way: Int[Array, ""]
    jpeg_first: Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """Blur, resizing, noise and JPEG; the defaults are those of the first round.

    Attributes:
        blur: its kernels.
        resizing: its factors.
        noise: its kinds and strengths.
        quality: of JPEG, the least and the greatest; any real number between them.
    """

    blur: Blur = dataclasses.field(default_factory=Blur)
    resizing: Resizing = dataclasses.field(default_factory=Resizing)
    noise: Noise = dataclasses.field(default_factory=Noise)
    quality: tuple[float, float] = (30.0, 95.0)

    def __post_init__(self) -> None:
        check_range("Round's quality", self.quality, at_least=1, at_most=100, example=(30.0, 95.0))

    def draw(self, numbers: Float[Array, " numbers"], field: Planes) -> RoundDraw:
        """One image's, of numbers that are uniform between 0 and 1; the field has them for each pixel of its buffer."""
        blur, resizing, noise, quality = jnp.split(numbers, np.cumsum(self._num_numbers)[:-1])
        return RoundDraw(
            kernel=self.blur.draw(blur),
            resizing=self.resizing.draw(resizing),
            noise=self.noise.draw(noise, field),
            quality=between(self.quality, quality[0]),
        )

    def buffer(self, shape: tuple[int, ...], *, scale: int) -> tuple[int, int, int]:
        """Channels, height and width of what holds an image after its resizing from its part by ``scale``."""
        channels, height, width = shape
        return channels, self.resizing.buffer(height, scale=scale), self.resizing.buffer(width, scale=scale)

    @property
    def num_numbers(self) -> int:
        """How many ``draw`` takes."""
        return sum(self._num_numbers)

    @property
    def _num_numbers(self) -> list[int]:
        return [self.blur.num_numbers, self.resizing.num_numbers, self.noise.num_numbers, 1]


SECOND = Round(
    blur=Blur(probability=0.8, sigma=(0.2, 1.5)),
    resizing=Resizing(up=0.3, down=0.4, factors=(0.3, 1.2)),
    noise=Noise(sigma=(1.0, 25.0), poisson=(0.05, 2.5)),
)
"""The second round of the paper."""


@dataclasses.dataclass(frozen=True)
class Degraded:
    """Small, and blurred, noisy, ringing and compressed as pictures are that have gone through many hands.

        GAN(inputs=Degraded(4), generator_terms=(RealDistance(1.0, target=Sharpened()), ...), ...)

    A sharpened image is blurred, resized, made noisy and compressed; and again; and it comes to its size, is filtered
    by a low-pass that rings, and compressed, in either order. The numbers are those of x4plus. All of it is computed in
    the step, in shapes that no draw changes: an image that is resized lies in a buffer of the largest size.

    Each image draws from its own key alone, so its numbers are the same in any batch and on any number of devices. Two
    things are thereby not as in the authors' code. There a batch has one resizing, one kind of noise, one order of JPEG
    and one decision to blur; a pool of 180 pairs of earlier batches then mixes them, which is not needed here. And the
    field of grey Gaussian noise, one for all images of a batch there, is each image's own. A third is JPEG's table of
    luma: see ``jpeg.py``.

    Images are degraded whole. The authors' are 400 pixels a side, of which a random 256 are kept, so that few of the
    borders' reflections are seen. Here they reach 10 pixels from each border, of the image and of what it was resized
    to. Images smaller than a kernel are reflected more than once.

    Attributes:
        scale: how many times smaller the results are.
        first: what is done first.
        second: what is done then; its factors are those from the result's size.
        sinc: the probability of the last low-pass.
        sinc_sizes: the smallest and the largest side of it, odd.
        sinc_cutoff: its least cutoff, in radians a pixel; the greatest is pi.
        jpeg_first: the probability that the second JPEG is before the last resizing, not after.
        sharpened: what is done to images before anything; None: nothing.
        rounding: of JPEG's coefficients and of the result's 8 bits. With ``exact`` no derivative comes through.
    """

    scale: int = 4
    _: dataclasses.KW_ONLY
    first: Round = Round()
    second: Round = SECOND
    sinc: float = 0.8
    sinc_sizes: tuple[int, int] = (7, 21)
    sinc_cutoff: float = Blur.cutoff
    jpeg_first: float = 0.5
    sharpened: Sharpened | None = dataclasses.field(default_factory=Sharpened)
    rounding: Rounding = "exact"

    def __post_init__(self) -> None:
        check_number("Degraded's scale", self.scale, at_least=1, example=4)
        if self.scale != int(self.scale):
            raise UserError(f"Degraded's scale is {self.scale}; expected a whole number, such as 4")
        for name in ("sinc", "jpeg_first"):
            check_number(f"Degraded's {name}", getattr(self, name), at_least=0, at_most=1, example=0.5)
        if self.rounding not in ("exact", "straight_through", "cubic"):
            raise UserError(f"Degraded's rounding is {self.rounding!r}; expected exact, straight_through or cubic")
        self._last  # noqa: B018 - refuses what its kernel cannot be

    @property
    def _last(self) -> Blur:
        """The kernels of the last low-pass."""
        cutoff = self.sinc_cutoff
        return Blur(probability=self.sinc, sinc=1.0, sizes=self.sinc_sizes, cutoff=cutoff, large_cutoff=cutoff)

    def __call__(
        self, images: Images, keys: Key[Array, " batch"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        _, height, width, channels = images.shape
        if height % self.scale or width % self.scale:
            raise UserError(f"Degraded's scale is {self.scale}; expected one that divides {height} and {width}")
        if channels not in (1, 3):
            raise UserError(f"Degraded is given images of {channels} channels; expected 1 or 3")
        return _degraded(self, images, keys)

    def draw(self, key: Key[Array, ""], shape: tuple[int, ...]) -> DegradedDraw:
        """What one image of (channels, height, width) suffers."""
        fields = self.first.buffer(shape, scale=1), self.second.buffer(shape, scale=self.scale)
        counts = [self.first.num_numbers, self.second.num_numbers, self._last.num_numbers, 2, *map(math.prod, fields)]
        # All from one call: each takes a second to compile.
        numbers = jax.random.uniform(key, (sum(counts),))
        first, second, sinc, rest, *noise = jnp.split(numbers, np.cumsum(counts)[:-1])
        return DegradedDraw(
            first=self.first.draw(first, noise[0].reshape(fields[0])),
            second=self.second.draw(second, noise[1].reshape(fields[1])),
            sinc=self._last.draw(sinc),
            way=draw_way(rest[0]),
            jpeg_first=(rest[1] < self.jpeg_first).astype(jnp.float32),
        )

    def degrade(self, planes: Planes, draw: DegradedDraw) -> Resampled:
        """An image in [0, 1], channels first, as the draw says: 8-bit values in [0, 1]."""
        height, width = planes.shape[1:]
        size, final = _size(height, width), _size(height // self.scale, width // self.scale)
        if self.sharpened is not None:
            planes = self.sharpened.sharpen(planes)
        planes, size = self._round(planes, size, draw.first, self.first, full=(height, width))
        planes = self._compressed(planes, draw.first, size)
        planes, size = self._round(planes, size, draw.second, self.second, full=(height, width), scale=self.scale)
        planes = jnp.where(draw.jpeg_first > 0, self._compressed(planes, draw.second, size), planes)
        planes = resize(planes, size, final, draw.way, buffer=(height // self.scale, width // self.scale))
        planes = blur(planes, kernel(draw.sinc, self.sinc_sizes[1]), final)
        planes = jnp.where(draw.jpeg_first > 0, planes, self._compressed(planes, draw.second, final))
        return rounded(jnp.clip(planes, 0.0, 1.0) * 255, self.rounding) / 255

    def _round(
        self, planes: Planes, size: Size, draw: RoundDraw, round: Round, *, full: tuple[int, int], scale: int = 1
    ) -> tuple[Resampled, Size]:
        """Blur, resizing and noise, and the size that comes of it."""
        planes = blur(planes, kernel(draw.kernel, round.blur.sizes[1]), size)
        factor = draw.resizing.factor
        height, width = (scaled(side, factor, scale=scale) for side in full)
        planes = resize(
            planes,
            size,
            (height, width),
            draw.resizing.way,
            buffer=draw.noise.uniform.shape[1:],
            factor=factor if scale == 1 else None,
        )
        return add_noise(planes, draw.noise, (height, width)), (height, width)

    def _compressed(self, planes: Planes, draw: RoundDraw, size: Size) -> Planes:
        return compress(jnp.clip(planes, 0.0, 1.0), draw.quality, size, rounding=self.rounding)


# Of its own, because both players' updates call it: it is traced once.
@functools.partial(jax.jit, static_argnums=0)
def _degraded(pipeline: Degraded, images: Images, keys: Key[Array, " batch"]) -> Array:
    def one(image: Float[Array, "height width channels"], key: Key[Array, ""]) -> Array:
        planes = jnp.moveaxis(image, -1, 0) * 0.5 + 0.5
        return jnp.moveaxis(pipeline.degrade(planes, pipeline.draw(key, planes.shape)) * 2 - 1, 0, -1)

    return jax.vmap(one)(images, keys)


def _size(height: int, width: int) -> Size:
    return jnp.asarray(height, jnp.int32), jnp.asarray(width, jnp.int32)
