"""What is known of accelerators: the peaks that speeds are set against, and the TPU slices that can be compiled for."""

import dataclasses
import math

from ganjax.ground.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator, as JAX names it and as its vendor describes it.

    Attributes:
        name: in reports.
        kinds: the ``device_kind`` of its JAX devices.
        bfloat16_flops: a second, dense, at the peak.
        memory_bytes: what a program can use; of TPUs as their compiler states it, of GPUs the whole memory.
        clock_hertz: of a TPU's core. Not published for all: it follows from the peak and from the matrix units of a
            chip (v4 and v5p: 8 of 128 x 128; v5e: 4 of 128 x 128; v6e: 4 of 256 x 256; 2 FLOPs each a cycle).
        link_bytes: a second, of all links between the chips of a TPU slice together, one way and the other.
        source: where the figures come from.
    """

    name: str
    kinds: tuple[str, ...]
    bfloat16_flops: float
    memory_bytes: int
    clock_hertz: float | None = None
    link_bytes: float | None = None
    source: str


_GIB = 2**30
_TPU = "https://cloud.google.com/tpu/docs/"
_NVIDIA = "https://www.nvidia.com/en-us/data-center/"

CHIPS = (
    Chip(
        name="TPU v4",
        kinds=("TPU v4",),
        bfloat16_flops=275e12,
        memory_bytes=int(30.5 * _GIB),
        clock_hertz=1.05e9,
        link_bytes=300e9,
        source=f"{_TPU}v4",
    ),
    Chip(
        name="TPU v5e",
        kinds=("TPU v5 lite", "TPU v5e"),
        bfloat16_flops=197e12,
        memory_bytes=int(15.75 * _GIB),
        clock_hertz=1.5e9,
        link_bytes=200e9,
        source=f"{_TPU}v5e",
    ),
    Chip(
        name="TPU v5p",
        kinds=("TPU v5p", "TPU v5"),
        bfloat16_flops=459e12,
        memory_bytes=int(95.73 * _GIB),
        clock_hertz=1.75e9,
        link_bytes=600e9,
        source=f"{_TPU}v5p",
    ),
    Chip(
        name="TPU v6e",
        kinds=("TPU v6 lite", "TPU v6e"),
        bfloat16_flops=918e12,
        memory_bytes=int(31.24 * _GIB),
        clock_hertz=1.75e9,
        link_bytes=448e9,
        source=f"{_TPU}v6e",
    ),
    Chip(
        name="A100",
        kinds=("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-40GB"),
        bfloat16_flops=312e12,
        memory_bytes=80 * 10**9,
        source=f"{_NVIDIA}a100/",
    ),
    Chip(
        name="H100 SXM",
        kinds=("NVIDIA H100 80GB HBM3",),
        bfloat16_flops=989e12,
        memory_bytes=80 * 10**9,
        source=f"{_NVIDIA}h100/ (1,979 TFLOP/s with sparsity)",
    ),
    Chip(
        name="H100 PCIe",
        kinds=("NVIDIA H100 PCIe",),
        bfloat16_flops=756e12,
        memory_bytes=80 * 10**9,
        source=f"{_NVIDIA}h100/ (1,513 TFLOP/s with sparsity)",
    ),
    Chip(
        name="H200",
        kinds=("NVIDIA H200",),
        bfloat16_flops=989e12,
        memory_bytes=141 * 10**9,
        source=f"{_NVIDIA}h200/ (1,979 TFLOP/s with sparsity)",
    ),
    Chip(
        name="L40S",
        kinds=("NVIDIA L40S",),
        bfloat16_flops=362e12,
        memory_bytes=48 * 10**9,
        source=f"{_NVIDIA}l40s/ (733 TFLOP/s with sparsity)",
    ),
    Chip(
        name="B200",
        kinds=("NVIDIA B200",),
        bfloat16_flops=2250e12,
        memory_bytes=180 * 10**9,
        source=f"{_NVIDIA}dgx-b200/ (eight: 36 PFLOP/s with sparsity)",
    ),
)


def chip_of(device_kind: str) -> Chip | None:
    """The chip of a JAX device; None for one that is not in the table, for a guess would be worse."""
    return next((chip for chip in CHIPS if device_kind in chip.kinds), None)


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """FLOP/s of one device at its peak in ``dtype``; None unless both are known. Only bfloat16 is in the table."""
    chip = chip_of(device_kind)
    return chip.bfloat16_flops if chip and dtype == "bfloat16" else None


_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("1x1x1", "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")

TOPOLOGIES = tuple(
    f"{generation}:{shape}"
    for generation, shapes in (("v4", _CUBES), ("v5e", _PLANES), ("v5p", _CUBES), ("v6e", _PLANES))
    for shape in shapes
)
"""The slices that ``ganjax plan`` compiles for: chips along each axis of their network."""


def chip_of_topology(topology: str) -> Chip:
    """The chip of one of the ``TOPOLOGIES``.

    Raises:
        UserError: it is none of them.
    """
    if topology not in TOPOLOGIES:
        raise UserError(f"topology {topology!r} is not known; expected one of {', '.join(TOPOLOGIES)}")
    name = f"TPU {topology.partition(':')[0]}"
    return next(chip for chip in CHIPS if chip.name == name)


def num_chips(topology: str) -> int:
    """The chips of one of the ``TOPOLOGIES``."""
    return math.prod(map(int, topology.partition(":")[2].split("x")))
