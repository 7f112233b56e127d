"""Which band and which sampling rate each layer of StyleGAN3 has (arXiv 2106.12423, section 3.2 and appendix C).

Frequencies are cycles, and rates samples, per unit of length: the picture is 1 wide.
"""

import dataclasses

import numpy as np

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.filters import Filter

__all__ = ["Layer", "LayerSchedule"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: what it is given, and what it makes.

    Attributes:
        in_size: pixels a side, the margin around the picture included.
        out_size: likewise.
        in_rate: samples per unit.
        out_rate: likewise.
        in_cutoff: the highest frequency that passes, of what it is given.
        out_cutoff: of what it makes.
        in_half_width: of the transition from pass to stop band.
        out_half_width: likewise.
        in_channels: of the maps.
        out_channels: likewise.
        kernel_size: of its convolution.
        filter_size: taps of its filters, per sample of the lower rate.
        radial: whether the filter on the way down is round.
        makes_image: whether it is the last, which is linear and has no filters.
    """

    in_size: int
    out_size: int
    in_rate: int
    out_rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    in_channels: int
    out_channels: int
    kernel_size: int
    filter_size: int
    radial: bool
    makes_image: bool

    @property
    def high_rate(self) -> int:
        """At which the nonlinearity is applied."""
        return max(self.in_rate, self.out_rate) * (1 if self.makes_image else 2)

    @property
    def up(self) -> int:
        """From the rate of what it is given to the high one."""
        return self.high_rate // self.in_rate

    @property
    def down(self) -> int:
        """From the high rate to that of what it makes."""
        return self.high_rate // self.out_rate

    @property
    def rise(self) -> Filter:
        """At the high rate, with the band of what it is given."""
        return Filter(self._taps(self.up), self.in_cutoff, self.in_half_width, self.high_rate)

    @property
    def fall(self) -> Filter:
        """At the high rate, with the band of what it makes."""
        return Filter(self._taps(self.down), self.out_cutoff, self.out_half_width, self.high_rate, self.radial)

    def _taps(self, factor: int) -> int:
        return 1 if factor == 1 or self.makes_image else self.filter_size * factor

    @property
    def low(self) -> int:
        """Zeros before the first pixel at the high rate, below 0 pixels left out: the middles coincide (C.3)."""
        grown = self.in_size + self.kernel_size - 1
        total = (self.out_size - 1) * self.down + 1 - grown * self.up + self.rise.num_taps + self.fall.num_taps - 2
        return (total + self.up) // 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSchedule:
    """What all layers follow from.

    Attributes:
        num_layers: before the one that makes the image.
        num_critical: how many of them, at the end, have the image's whole band and no margin for a transition.
        first_cutoff: of the input.
        first_stopband: where the first layer's transition ends at the latest.
        last_stopband: where the last one's ends at the latest, relative to its cutoff.
        margin: pixels around the picture.
        channel_base: channels, times twice the cutoff.
        channel_limit: the most channels.
        kernel_size: of the convolutions: 3 of T, 1 of R.
        filter_size: taps of the filters, per sample of the lower rate.
        radial: whether the filters on the way down are round, but for the critical layers': those of R.
    """

    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband: float = 2**0.3
    margin: int = 10
    channel_base: int = 32768
    channel_limit: int = 512
    kernel_size: int = 3
    filter_size: int = 6
    radial: bool = False

    def __post_init__(self) -> None:
        check_number("num_critical", self.num_critical, at_least=1, example=2)
        check_number("num_layers", self.num_layers, at_least=self.num_critical + 1, example=14)
        check_number("margin", self.margin, at_least=0, example=10)
        check_number("first_cutoff", self.first_cutoff, above=0, example=2.0)
        check_number("first_stopband", self.first_stopband, above=self.first_cutoff, example=2**2.1)
        check_number("last_stopband", self.last_stopband, above=1, example=2**0.3)
        for name, example in (("channel_base", 32768), ("channel_limit", 512), ("kernel_size", 3), ("filter_size", 6)):
            check_number(name, getattr(self, name), at_least=1, example=example)

    def layers(self, image_shape: tuple[int, int, int]) -> tuple[Layer, ...]:
        """The layers, the last of which makes the image.

        Raises:
            UserError: the images are not square, or of another size than a power of 2 that holds the first band.
        """
        height, width, channels = image_shape
        smallest = 2 ** (int(np.log2(2 * self.first_cutoff)) + 1)  # above twice the first band
        if height != width or height < smallest or height & (height - 1):
            raise UserError(
                f"stylegan3 makes no images of {height} x {width}: use a square power-of-two size from {smallest}, "
                "like 64 or 256"
            )
        shares = np.minimum(np.arange(self.num_layers + 1) / (self.num_layers - self.num_critical), 1)
        cutoffs = self.first_cutoff * (height / 2 / self.first_cutoff) ** shares
        stopbands = self.first_stopband * (height / 2 * self.last_stopband / self.first_stopband) ** shares
        rates = np.exp2(np.ceil(np.log2(np.minimum(2 * stopbands, height)))).astype(int)
        half_widths = np.maximum(stopbands, rates / 2) - cutoffs
        sizes = [*(rates + 2 * self.margin)[:-2], height, height]
        widths = [*np.rint(np.minimum(self.channel_base / 2 / cutoffs, self.channel_limit))[:-1], channels]
        return tuple(
            Layer(
                in_size=int(sizes[before]),
                out_size=int(sizes[index]),
                in_rate=int(rates[before]),
                out_rate=int(rates[index]),
                in_cutoff=float(cutoffs[before]),
                out_cutoff=float(cutoffs[index]),
                in_half_width=float(half_widths[before]),
                out_half_width=float(half_widths[index]),
                in_channels=int(widths[before]),
                out_channels=int(widths[index]),
                kernel_size=1 if index == self.num_layers else self.kernel_size,
                filter_size=self.filter_size,
                radial=self.radial and index < self.num_layers - self.num_critical,
                makes_image=index == self.num_layers,
            )
            for index in range(self.num_layers + 1)
            for before in [max(index - 1, 0)]
        )
