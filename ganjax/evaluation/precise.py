"""Where float64 is computed: on the accelerators that have it, else on the host's own processor."""

import contextlib

import jax
import numpy as np
from jax.sharding import AxisType, Mesh


def float64_mesh() -> Mesh:
    """The local devices on which distances are computed, on one axis, "data".

    Differences of nearly equal sums need float64. CPUs and GPUs have it; a TPU does not, and there the host's processor
    computes. Every host computes the same, which spares it communication: the features are few.
    """
    devices = jax.local_devices()
    if devices[0].platform not in ("cpu", "gpu", "cuda", "rocm"):
        devices = jax.local_devices(backend="cpu")
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def float64_context() -> contextlib.AbstractContextManager:
    """Within it arrays of float64 stay so. Functions that are compiled inside are to be called inside."""
    return jax.enable_x64(True)
