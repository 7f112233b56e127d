"""What a generator starts from, made of the real that it is to come to: ``(images, keys) -> inputs``.

    GAN(inputs=inputs.Smaller(4), generator=...(input_shape=(8, 8, 3)), ...)     # enlarges
    GAN(inputs=inputs.grey, generator=...(input_shape=(32, 32, 1)), ...)         # colours
    GAN(inputs=inputs.edges, generator=...(input_shape=(32, 32, 1)), ...)        # paints drawings

Each is a pure function of images in [-1, 1] and of one key an image, run inside the compiled step. One of your own is
any function, or frozen dataclass with a ``__call__``, of the same arguments.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError

__all__ = ["Bicubic", "Blurred", "Masked", "Smaller", "edges", "grey", "same"]

Images = Float[Array, "batch height width channels"]

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601


def grey(images: Images, keys: Key[Array, " batch"]) -> Float[Array, "batch height width 1"]:
    """The luma of RGB images, by the weights of ITU-R BT.601; grey ones as they are."""
    del keys
    return images if images.shape[-1] == 1 else images @ jnp.array(LUMA, jnp.float32)[:, None]


def same(images: Images, keys: Key[Array, " batch"]) -> Images:
    """The images themselves, of generators that change what an image is of."""
    del keys
    return images


def edges(images: Images, keys: Key[Array, " batch"]) -> Float[Array, "batch height width 1"]:
    """Where the luma changes: black lines on white, the darker the steeper, by Sobel's operator.

    A step from black to white is black; at the border the image goes on as its outermost pixels.
    """
    luma = jnp.pad(grey(images, keys), [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")

    def differences(axis: int, other: int) -> Array:
        count = images.shape[axis]
        across = jax.lax.slice_in_dim(luma, 2, count + 2, axis=axis) - jax.lax.slice_in_dim(luma, 0, count, axis=axis)
        parts = [jax.lax.slice_in_dim(across, shift, shift + images.shape[other], axis=other) for shift in range(3)]
        return (parts[0] + 2 * parts[1] + parts[2]) / 8

    squares = jnp.square(differences(1, 2)) + jnp.square(differences(2, 1))
    steepness = jnp.sqrt(jnp.maximum(squares, 1e-12))  # the root's derivative at zero is infinite
    return 1 - 2 * jnp.minimum(steepness, 1)


@dataclasses.dataclass(frozen=True)
class Smaller:
    """Averages of squares of ``factor`` pixels a side.

    Raises:
        UserError: the factor is below 1, or does not divide height and width.
    """

    factor: int

    def __post_init__(self) -> None:
        check_number("Smaller's factor", self.factor, at_least=1, example=4)

    def __call__(
        self, images: Images, keys: Key[Array, " batch"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        del keys
        batch, height, width, channels = images.shape
        if height % self.factor or width % self.factor:
            raise UserError(f"Smaller's factor is {self.factor}; expected one that divides {height} and {width}")
        shape = (batch, height // self.factor, self.factor, width // self.factor, self.factor, channels)
        return images.reshape(shape).mean(axis=(2, 4))


@dataclasses.dataclass(frozen=True)
class Bicubic:
    """Made smaller as MATLAB's imresize does it: what "bicubic" means in papers on super-resolution.

    Keys' cubic with a = -1/2, as many times as wide as the image becomes smaller, and going on beyond borders as a
    mirror that doubles the pixel at the end.

    Attributes:
        factor: by which height and width are divided.
        rounded: to 8 bits, as the files of such papers are.

    Raises:
        UserError: the factor is below 1, or does not divide height and width.
    """

    factor: int
    rounded: bool = False

    def __post_init__(self) -> None:
        check_number("Bicubic's factor", self.factor, at_least=1, example=4)

    def __call__(
        self, images: Images, keys: Key[Array, " batch"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        del keys
        if images.shape[1] % self.factor or images.shape[2] % self.factor:
            raise UserError(
                f"Bicubic's factor is {self.factor}; expected one that divides {images.shape[1]} and {images.shape[2]}"
            )
        rows, columns = (jnp.asarray(self._matrix(side)) for side in images.shape[1:3])
        images = jnp.einsum("yh,bhwc->bywc", rows, images, precision=jax.lax.Precision.HIGHEST)
        images = jnp.einsum("xw,bywc->byxc", columns, images, precision=jax.lax.Precision.HIGHEST)
        return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255) / 127.5 - 1 if self.rounded else images

    def _matrix(self, side: int) -> Float[np.ndarray, "new_side side"]:
        places = np.arange(-2 * self.factor, side + 2 * self.factor)
        centres = (np.arange(side // self.factor)[:, None] + 0.5) * self.factor - 0.5
        distance = np.abs(places - centres) / self.factor
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
        folded = np.mod(places, 2 * side)
        mirror = np.eye(side)[np.minimum(folded, 2 * side - 1 - folded)]
        return (weights / weights.sum(axis=1, keepdims=True) @ mirror).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Masked:
    """A rectangle is hidden: made grey (0), and told by one more channel, 1 where it is and 0 elsewhere.

    Its height and its width are each uniform between ``smallest`` and ``largest``, in units of the image's; its place
    is uniform among those within the image.
    """

    smallest: float = 0.25
    largest: float = 0.5

    def __post_init__(self) -> None:
        check_number("Masked's smallest", self.smallest, at_least=0, at_most=1, example=0.25)
        check_number("Masked's largest", self.largest, at_least=self.smallest, at_most=1, example=0.5)

    def __call__(
        self, images: Images, keys: Key[Array, " batch"]
    ) -> Float[Array, "batch height width channels_and_mask"]:
        sizes = images.shape[1:3]

        def hidden(key: Key[Array, ""]) -> Float[Array, "height width"]:
            rows, columns = (
                self._interval(size, numbers)
                for size, numbers in zip(sizes, jax.random.uniform(key, (2, 2)), strict=True)
            )
            return (rows[:, None] & columns[None, :]).astype(jnp.float32)

        mask = jax.vmap(hidden)(keys)[..., None]
        return jnp.concatenate([images * (1 - mask), mask], axis=-1)

    def _interval(self, size: int, numbers: Float[Array, " 2"]) -> Array:
        """Whether each pixel along an axis is within."""
        length = jnp.round((self.smallest + numbers[0] * (self.largest - self.smallest)) * size)
        start = jnp.floor(numbers[1] * (size - length + 1))
        pixels = jnp.arange(size, dtype=jnp.float32)
        return (pixels >= start) & (pixels < start + length)


@dataclasses.dataclass(frozen=True)
class Blurred:
    """Convolved with a Gaussian, and with Gaussian noise added.

    Attributes:
        sigma: of the Gaussian, in pixels; 0 does not blur. It is cut at three of them, and the image goes on as its
            reflection.
        noise: deviation of what is added to each number of an image in [-1, 1]; 0 adds none.
    """

    sigma: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_number("Blurred's sigma", self.sigma, at_least=0, example=1.0)
        check_number("Blurred's noise", self.noise, at_least=0, example=0.1)

    def __call__(self, images: Images, keys: Key[Array, " batch"]) -> Images:
        if self.sigma:
            images = _convolved(_convolved(images, self.sigma, axis=1), self.sigma, axis=2)
        if self.noise:
            shape = images.shape[1:]
            images = images + self.noise * jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
        return images


def _convolved(images: Images, sigma: float, *, axis: int) -> Images:
    reach = math.ceil(3 * sigma)
    size = images.shape[axis]
    if reach >= size:
        raise UserError(f"Blurred's sigma is {sigma}; expected less than a third of the images' {size} pixels")
    taps = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-reach, reach + 1)]
    padding = [(reach, reach) if index == axis else (0, 0) for index in range(4)]
    padded = jnp.pad(images, padding, mode="reflect")
    shifted = [jax.lax.slice_in_dim(padded, offset, offset + size, axis=axis) for offset in range(len(taps))]
    return sum(tap / math.fsum(taps) * part for tap, part in zip(taps, shifted, strict=True))  # pyright: ignore
