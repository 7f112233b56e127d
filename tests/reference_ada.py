"""The ADA pipe in float64 with NumPy and SciPy: the paper's steps as they are told, one image at a time.

Written from arXiv 2006.06676, appendix B. It pads, stuffs zeros, convolves, interpolates and inverts matrices in place
of what ``ganjax.augment`` does, and shares no code or constant with it. ``test_augment_official.py`` compares both with
numbers that neither was written from.
"""

import itertools
import math
from typing import Any

import numpy as np
from scipy import ndimage


def symlet(moments: int) -> np.ndarray:
    """The low-pass of Daubechies' least asymmetric orthogonal wavelet with so many vanishing moments, of sum 1.

    By its definition (Daubechies, Ten Lectures on Wavelets, sections 6.4 and 8.1.1): of all spectral factors of
    the half-band polynomial, the one whose phase is nearest to linear. Its mirror image is as good; this is the one
    with more power in its first half.
    """
    in_y = [math.comb(moments - 1 + k, k) for k in range(moments)][::-1]
    groups = []  # a factor takes one root z or 1/z of each root y = (2 - z - 1/z) / 4, and of its conjugate the same
    for y in np.roots(in_y):
        if y.imag >= -1e-12:
            z = np.roots([1, 4 * y - 2, 1])
            conjugates = (lambda root: [root, root.conj()]) if y.imag > 1e-12 else (lambda root: [root])
            groups.append([conjugates(root) for root in z])
    factors = []
    for choice in itertools.product(*groups):
        roots = [-1.0] * moments + [root for chosen in choice for root in chosen]
        taps = np.poly(roots).real
        factors.append(taps / taps.sum())

    def asymmetry(taps: np.ndarray) -> float:
        frequencies = np.linspace(0, np.pi * 0.9, 200)
        phase = np.unwrap(np.angle(np.exp(-1j * np.outer(frequencies, np.arange(len(taps)))) @ taps))
        line = np.polyfit(frequencies, phase, 1)
        return float(np.abs(phase - np.polyval(line, frequencies)).max())

    best = min(factors, key=asymmetry)
    half = len(best) // 2
    return best if np.sum(best[:half] ** 2) > np.sum(best[half:] ** 2) else best[::-1]


SYM2, SYM6 = symlet(2), symlet(6)


def augment(image: np.ndarray, draw: dict[str, Any]) -> np.ndarray:
    """One image [height, width, channels] through the pipe; ``draw`` has the fields of ``Draws`` that are used."""
    image = geometry(image.astype(np.float64), draw)
    image = color(image, draw)
    if "log2_gains" in draw:
        image = octave_filter(image, draw["log2_gains"])
    image = image + draw.get("noise", 0.0)
    if draw.get("cutout"):
        height, width, _ = image.shape
        x, y = draw["cutout_center"]
        for row in range(height):
            for column in range(width):
                if abs((row + 0.5) / height - y) < 1 / 4 and abs((column + 0.5) / width - x) < 1 / 4:
                    image[row, column] = 0
    return image


def forward_map(draw: dict[str, Any]) -> np.ndarray | None:
    """Where the content goes: the transforms in turn, as homogeneous matrices on (x right, y down) from the centre."""

    def turn(angle: float) -> np.ndarray:  # counter-clockwise for somebody who looks at the picture
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    def move(offset: np.ndarray) -> np.ndarray:
        return np.array([[1, 0, offset[0]], [0, 1, offset[1]], [0, 0, 1]])

    steps = {
        "x_flip": lambda flip: np.diag([-1.0 if flip else 1.0, 1, 1]),
        "quarter_turns": lambda turns: turn(np.pi / 2 * turns),
        "integer_translation": move,
        "log2_scale": lambda exponent: np.diag([2**exponent, 2**exponent, 1]),
        "rotation_before": turn,
        "log2_stretch": lambda exponent: np.diag([2**exponent, 2**-exponent, 1]),
        "rotation_after": turn,
        "fractional_translation": move,
    }
    matrices = [step(draw[name]) for name, step in steps.items() if name in draw]
    if not matrices:
        return None
    total = np.eye(3)
    for matrix in matrices:
        total = matrix @ total
    return total


def geometry(image: np.ndarray, draw: dict[str, Any]) -> np.ndarray:
    forward = forward_map(draw)
    if forward is None:
        return image
    height, width, _ = image.shape
    inverse = np.linalg.inv(forward)
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    # The points that are sampled: twice the resolution, and as far beyond the border as downsampling reads. A point is
    # half an upsampled pixel before where it would be if the filter's centre of mass were its middle, and so is where
    # its content comes from: pixel i lies at 2 i.
    half_pixel = 0.25
    x = np.arange(-5, 2 * width + 5) / 2 - 0.25 - center[0] + half_pixel
    y = np.arange(-5, 2 * height + 5) / 2 - 0.25 - center[1] + half_pixel
    points = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))])
    source = (
        np.einsum("ij,jyx->iyx", inverse, points)[:2] + center[:, None, None] - half_pixel
    )  # in pixels of the image

    sampled = []
    pad = [height - 1, width - 1]  # one reflection, as for a batch with a draw that needs so much
    for plane in np.moveaxis(image, 2, 0):
        upsampled = upsample(upsample(np.pad(plane, [(pad[0], pad[0]), (pad[1], pad[1])], mode="reflect"), 0), 1)
        where = [2 * (source[1] + pad[0]) + 0.5, 2 * (source[0] + pad[1]) + 0.5]
        fine = ndimage.map_coordinates(upsampled, where, order=1, mode="grid-constant", cval=0.0)
        sampled.append(downsample(downsample(fine, 0), 1))
    return np.stack(sampled, axis=2)


def upsample(plane: np.ndarray, axis: int) -> np.ndarray:
    """Zeros between the samples, then the filter; two for the power that the zeros took. Zero outside."""
    stuffed = np.repeat(plane, 2, axis=axis) * (np.arange(2 * plane.shape[axis]) % 2 == 0).reshape(
        (-1, 1) if axis == 0 else (1, -1)
    )
    taps = 2 * SYM6
    return np.apply_along_axis(lambda line: np.convolve(line, taps)[5 : 5 + len(line)], axis, stuffed)


def downsample(plane: np.ndarray, axis: int) -> np.ndarray:
    """The filter flipped, then every second sample, where the filter overlaps the plane completely."""
    taps = SYM6[::-1]
    return np.apply_along_axis(lambda line: np.convolve(line, taps, mode="valid")[::2], axis, plane)


def color(image: np.ndarray, draw: dict[str, Any]) -> np.ndarray:
    luma = np.ones(3) / np.sqrt(3)
    axis = np.outer(luma, luma)
    # Each step: the 3 x 3 part and the offset.
    steps = []
    if "brightness" in draw:
        steps.append((np.eye(3), draw["brightness"] * np.ones(3)))
    if "log2_contrast" in draw:
        steps.append((2.0 ** draw["log2_contrast"] * np.eye(3), np.zeros(3)))
    if draw.get("luma_flip"):
        steps.append((np.eye(3) - 2 * axis, np.zeros(3)))
    if image.shape[2] == 3:
        if "hue" in draw:
            steps.append((rotation_about(luma, draw["hue"]), np.zeros(3)))
        if "log2_saturation" in draw:
            steps.append((axis + 2.0 ** draw["log2_saturation"] * (np.eye(3) - axis), np.zeros(3)))
    matrix, offset = np.eye(3), np.zeros(3)
    for linear, constant in steps:
        matrix, offset = linear @ matrix, linear @ offset + constant
    if image.shape[2] == 1:
        return image * matrix.mean(axis=0).sum() + offset.mean()
    return image @ matrix.T + offset


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """By the exponential of the cross product with the axis, as a power series."""
    generator = np.cross(axis, np.eye(3)).T * angle  # columns: the axis times each unit vector
    total = term = np.eye(3)
    for power in range(1, 40):
        term = term @ generator / power
        total = total + term
    return total


def octave_filter(image: np.ndarray, log2_gains: np.ndarray) -> np.ndarray:
    """By the bands' frequency responses: the whole filter is their sum, and each axis is a circular convolution."""
    expected_power = np.array([10, 1, 1, 1]) / 13
    gains = np.ones(4)
    for band in range(4):
        gain = np.where(np.arange(4) == band, 2.0 ** log2_gains[band], 1.0)
        gains = gains * gain / np.sqrt(np.sum(expected_power * gain**2))
    for axis in (0, 1):
        image = np.apply_along_axis(lambda line: filter_line(line, gains), axis, image)
    return image


def filter_line(line: np.ndarray, gains: np.ndarray) -> np.ndarray:
    mirrored = np.concatenate([line, line[-2:0:-1]])  # a period of the reflected line
    frequencies = 2 * np.pi * np.fft.fftfreq(len(mirrored))
    response, low = np.zeros(len(mirrored)), np.ones(len(mirrored))
    for octave in range(3):
        high_here, low_here = (power_response(2**octave * frequencies + shift) for shift in (np.pi, 0))
        response = response + gains[3 - octave] * low * high_here
        low = low * low_here
    response = response + gains[0] * low
    return np.fft.ifft(np.fft.fft(mirrored) * response).real[: len(line)]


def power_response(frequencies: np.ndarray) -> np.ndarray:
    """|H|^2 / 2 of sym2's low-pass."""
    taps = SYM2 * np.sqrt(2)
    return np.abs(np.exp(-1j * np.outer(frequencies, np.arange(4))) @ taps) ** 2 / 2
