"""An invisible watermark: a faint pattern in the pixels, which a key makes and which a test finds again.

**The mark** is spread-spectrum (Cox, Kilian, Leighton, Shamoon, "Secure spread spectrum watermarking for multimedia",
IEEE Transactions on Image Processing 6(12), 1997): a tile of 64x64 pixels, repeated from the upper left corner on, is a
sum of 334 waves of equal height and of 4 to 10 pixels length, each with a phase that the key draws. It is added to all
channels alike, somewhat more where a picture is busy. Of strengths from a PSNR of 42 dB down to 34 dB the faintest is
taken that is still found for sure when the picture has been halved in size and enlarged again.

**The test.** A picture's luminance is whitened (local mean removed, divided by the local deviation), folded onto a tile
and Fourier-transformed; psi_k is the phase of wave k there and phi_k the key's:

    z = sqrt(2 / n) * sum_k cos(psi_k - phi_k)

Of a picture that has nothing to do with the key each phi_k is uniform and independent, whatever the picture is, and
since E[exp(a cos(phi))] = I_0(a) <= exp(a^2 / 4), the chance that z reaches t is at most exp(-t^2 / 2) (Chernoff).
So the rate of false alarms is known without any assumption about pictures. A picture may have been cropped, moved or
scaled: all shifts of the tile (one inverse transform) and some hundred scales are tried (a wave of an enlarged tile is
a lower frequency of the picture as it is), and the chances of all tries are added up, those of the likelier ones with
more weight (a union bound).

**Several pictures** of one origin are tested together: their transforms add up (``evidence``), and the same bound
holds. So the mark of a film is found, and that of a folder of pictures which are too small to bear one each. How small,
how often, and after what: docs/using.md.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Shaped
from PIL import Image
from scipy import fft, ndimage

PUBLIC_KEY = "ganjax"
"""The key where none is named: everybody can find such a mark, and everybody who wants to can take it out."""

SURE = 1e-6
"""The chance of a false alarm below which a mark counts as found."""

_TILE = 64
_LOWEST, _HIGHEST = 0.1, 0.25  # cycles a pixel: above JPEG's finest steps and what halving a picture leaves
_FASTEST = round(_TILE * _HIGHEST)  # cycles a tile, along either side
_WIDTH, _SOFTNESS = 2.0, 1.5  # of whitening: pixels, and grey levels that count as noise
_STRENGTHS = (42.0, 40.0, 38.0, 36.0, 34.0)  # dB
_WANTED = 12.0  # of z after halving: what a screenshot or a JPEG takes away leaves enough
_SEARCHED = 384  # pixels a side of a picture's middle, as large as it was marked, in which scales are searched
_LEAST, _MOST = 0.48, 2.7  # of scales
_BASES = (1.2, 1.7, 2.3, 0.85)  # scales at which a picture is whitened, the likelier first, for those around them
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_SMALLEST = 64  # pixels a side: see the measured rates

Plane = Float[np.ndarray, "_ _"]
Spectrum = Complex[np.ndarray, "64 33"]
"""Of a tile: of each pair of waves that a real tile has, the one that counts up across."""


class Detection(NamedTuple):
    """What the test says.

    Attributes:
        chance: that a picture which has nothing to do with the key looks so, at most.
        z: the statistic of the likeliest try.
        scale: by which the picture seems to be enlarged since it was marked.
    """

    chance: float
    z: float
    scale: float

    @property
    def found(self) -> bool:
        """Whether there is a mark for sure."""
        return self.chance <= SURE


@dataclasses.dataclass(frozen=True)
class Watermark:
    """A key, which is any text."""

    key: str = PUBLIC_KEY

    def embed(self, images: Shaped[np.ndarray, "*num height width channels"]) -> Shaped[np.ndarray, "..."]:
        """Marks pictures, each by itself.

        Args:
            images: uint8, or float in [0, 1]; grey or RGB.

        Returns:
            The same, marked.
        """
        if images.ndim > 3:
            return np.stack([self.embed(image) for image in images]) if len(images) else images
        if images.dtype != np.uint8:
            return (self._marked(images.astype(np.float32) * 255, rounded=False) / 255).astype(images.dtype)
        return self._marked(images.astype(np.float32), rounded=True).astype(np.uint8)

    def detect(self, image: Shaped[np.ndarray, "height width channels"]) -> Detection:
        """Looks for the mark in a picture, as ``embed`` takes it, wherever it may have come to be."""
        key, plane = _Key.of(self.key), _luminance(image)
        spectrum, num_shifts = _unit(_spectrum(_whitened(plane))), _TILE**2
        tries = [
            _bounded(key.in_place(spectrum), 2.0, 1.0),
            _bounded(float(key.anywhere(spectrum[None])[0]), 4.0 * num_shifts, 1.0),
        ]
        if min(tries).found:
            return min(tries)
        scales = _scales(max(plane.shape))
        for some, spectra in _rescaled(plane, scales):
            found = [
                _bounded(z, 4.0 * num_shifts * len(scales), scale)
                for z, scale in zip(key.anywhere(spectra).tolist(), some.tolist(), strict=True)
            ]
            tries += found
            if min(found).chance < SURE**2:
                break
        return min(tries)

    def evidence(self, image: Shaped[np.ndarray, "height width channels"]) -> Spectrum:
        """What a picture says where it was marked, be it little; of several pictures it is added up."""
        return _unit(_spectrum(_whitened(_luminance(image))))

    def judge(self, evidence: Spectrum) -> Detection:
        """Looks for the mark in the pictures whose evidence this is."""
        return _bounded(_Key.of(self.key).in_place(evidence), 1.0, 1.0)

    def _marked(self, pixels: Float[np.ndarray, "height width channels"], *, rounded: bool) -> np.ndarray:
        """Pixels from 0 to 255, with the faintest mark that lasts."""
        key = _Key.of(self.key)
        plane = _luminance(pixels / 255)
        height, width = plane.shape
        pattern = np.tile(key.pattern, (height // _TILE + 1, width // _TILE + 1))[:height, :width]
        pattern = (pattern * np.sqrt(_deviation(plane)[1]))[:, :, None]  # the root: see the docstring's "somewhat"
        marked = pixels
        for strength in _STRENGTHS:
            wanted = 255 / 10 ** (strength / 20)
            height_of_waves = wanted
            for _ in range(3):  # what is clipped at black and white is made up for elsewhere
                marked = np.clip(pixels + height_of_waves * pattern, 0, 255)
                marked = np.round(marked) if rounded else marked
                reached = float(np.sqrt(np.mean((marked - pixels) ** 2)))
                height_of_waves = min(height_of_waves * wanted / max(reached, 1e-6), 4 * wanted)
            if key.in_place(_unit(_spectrum(_whitened(_halved(_luminance(marked / 255)))))) >= _WANTED:
                break
        return marked


@dataclasses.dataclass(frozen=True, eq=False)
class _Key:
    """What a key's text comes to.

    Attributes:
        waves: which of a tile's waves carry the mark.
        phases: unit numbers, a wave each.
        pattern: the tile, with a root mean square of 1.
    """

    waves: Bool[np.ndarray, "64 33"]
    phases: Spectrum
    pattern: Plane

    @classmethod
    @functools.lru_cache(maxsize=8)
    def of(cls, text: str) -> Any:
        drawn = np.frombuffer(hashlib.shake_256(text.encode()).digest(2 * _TILE**2), "<u2").reshape(_TILE, _TILE)
        down, across = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None]
        radius, half = np.hypot(down, across), (across > 0) | ((across == 0) & (down > 0))
        waves = half & (radius >= _LOWEST) & (radius <= _HIGHEST)
        phases = np.where(waves, np.exp(2j * np.pi * drawn[:, : waves.shape[1]] / 2**16), 0).astype(np.complex64)
        pattern = _tile(phases)
        return cls(waves, phases, (pattern / np.sqrt(np.mean(pattern**2))).astype(np.float32))

    def in_place(self, spectrum: Spectrum) -> float:
        """z of a tile as it lies."""
        return float(np.sum(np.real(spectrum * self.phases.conj())) / self._deviation(spectrum[None])[0])

    def anywhere(self, spectra: Complex[np.ndarray, "num 64 33"]) -> Float[np.ndarray, " num"]:
        """The greatest z of all shifts of a tile."""
        return np.max(_tile(spectra * self.phases.conj()), axis=(-2, -1)) / self._deviation(spectra)

    def _deviation(self, spectra: Complex[np.ndarray, "num 64 33"]) -> Float[np.ndarray, " num"]:
        """Of the sum, for random phases."""
        return np.maximum(np.linalg.norm(spectra[..., self.waves], axis=-1) / math.sqrt(2), 1e-9)


def too_small(height: int, width: int) -> str | None:
    """Says that pictures of a size are mostly too small for a mark that is faint and found; None: they are not."""
    if min(height, width) >= _SMALLEST:
        return None
    return (
        f"pictures of {width}x{height} pixels are mostly too small to bear a watermark that is not seen and is found; "
        "a grid of them (.png) bears it"
    )


def _bounded(z: float, tries: float, scale: float) -> Detection:
    """What a z means that is the greatest of so many tries."""
    return Detection(min(1.0, tries * math.exp(-(max(z, 0.0) ** 2) / 2)), z, scale)


def _luminance(image: Shaped[np.ndarray, "height width channels"]) -> Plane:
    """From 0 to 255."""
    pixels = image.astype(np.float32) * (1 if image.dtype == np.uint8 else 255)
    return pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3] @ _LUMA


def _deviation(plane: Plane) -> tuple[Plane, Plane]:
    """What of a plane differs from its surroundings, and how much that is usual there."""
    difference = plane - ndimage.gaussian_filter(plane, _WIDTH)
    return difference, np.sqrt(ndimage.gaussian_filter(difference**2, _WIDTH) + _SOFTNESS**2)


def _whitened(plane: Plane) -> Plane:
    difference, usual = _deviation(plane)
    return difference / usual


def _spectrum(plane: Plane) -> Spectrum:
    """Of the tile onto which a plane is folded."""
    height, width = plane.shape
    filled = np.pad(plane, ((0, -height % _TILE), (0, -width % _TILE)))
    return fft.rfft2(filled.reshape(-1, _TILE, filled.shape[1] // _TILE, _TILE).sum((0, 2)))  # pyright: ignore


def _enlarged_spectrum(plane: Plane, scale: float) -> Spectrum:
    """The same for a tile that is enlarged, of whatever size that makes it; of waves that may carry a mark alone."""
    (height, width), num = plane.shape, _FASTEST + 1
    across = _cycles(width, scale)
    # The real plane times the parts of complex numbers is twice as fast as times these.
    folded = (plane @ across.view(np.float32)).view(np.complex64)
    down = _cycles(height, scale)
    spectrum = np.zeros((_TILE, _TILE // 2 + 1), np.complex64)
    spectrum[:num, :num] = down.T @ folded
    spectrum[1 - num :, :num] = down[:, :0:-1].conj().T @ folded
    return spectrum


@functools.lru_cache(maxsize=512)  # of pictures of one size all are the same
def _cycles(side: int, scale: float) -> Complex[np.ndarray, "_ _"]:
    """Waves of 0, 1, 2 and more cycles a tile that is enlarged, a column each, over so many pixels."""
    once = np.exp(-2j * np.pi * np.arange(side) / (_TILE * scale))
    return np.vander(once, _FASTEST + 1, increasing=True).astype(np.complex64)


def _tile(spectra: Complex[np.ndarray, "*num 64 33"]) -> Float[np.ndarray, "*num 64 64"]:
    """The sum of waves."""
    doubled = spectra.copy()
    doubled[..., 0] *= 2  # of which the transform expects both of a pair
    return fft.irfft2(doubled, s=(_TILE, _TILE)) * (_TILE**2 / 2)  # pyright: ignore


def _unit(spectra: Complex[np.ndarray, "*num 64 33"]) -> Complex[np.ndarray, "*num 64 33"]:
    """The phases alone."""
    return spectra / np.maximum(np.abs(spectra), 1e-9)


def _resized(plane: Plane, height: int, width: int) -> Plane:
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((max(1, width), max(1, height)), Image.Resampling.BICUBIC))


def _halved(plane: Plane) -> Plane:
    height, width = plane.shape
    return _resized(_resized(plane, height // 2, width // 2), height, width)


def _scales(side: int) -> Float[np.ndarray, " scales"]:
    """Those at which a mark is looked for, so close together that the waves of the nearest one fit to the rim."""
    step = min(0.04, max(0.0075, 2.5 / side))
    return _LEAST * np.exp(step * np.arange(math.ceil(math.log(_MOST / _LEAST) / step)))


def _rescaled(
    plane: Plane, scales: Float[np.ndarray, " scales"]
) -> Iterator[tuple[Float[np.ndarray, " some"], Complex[np.ndarray, "some 64 33"]]]:
    """What the middle of a plane says if it has been enlarged by each of the scales, some of which come together."""
    plane = _middle(plane, _SEARCHED * _MOST)
    height, width = plane.shape
    nearest = np.argmin(np.abs(np.log(scales) - np.log(_BASES)[:, None]), axis=0)
    for number, base in enumerate(_BASES):
        some, whitened = (
            scales[nearest == number],
            _whitened(_resized(plane, round(height / base), round(width / base))),
        )
        parts = [_middle(whitened, _SEARCHED * scale / base) for scale in some]
        found = [_enlarged_spectrum(part, scale / base) for part, scale in zip(parts, some, strict=True)]
        yield some, _unit(np.stack(found))


def _middle(plane: Plane, side: float) -> Plane:
    """At most so many pixels a side."""
    (height, width), most = plane.shape, round(side)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    return plane[top : top + most, left : left + most]
