"""What every test runs under: eight devices, strict promotion, and shape annotations that are checked."""

import gc
import importlib.metadata
import os
import tempfile
from typing import Any

# Not the user's: what tests compile and compute is gone when they are over.
os.environ["GANJAX_CACHE"] = (_cache := tempfile.TemporaryDirectory(prefix="ganjax-tests-")).name
# Of one worker's runs many are of one config: what takes a fifth of a second to compile is kept, too.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
# Before JAX starts; a subprocess that runs the command line inherits only what it should.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the time goes into compiling what runs for milliseconds. `XLA_FLAGS= pytest` compiles it as users' runs are.
_quick = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
_quick += ["--xla_cpu_parallel_codegen_split_count=1"]  # what is small is not divided
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _quick += ["--xla_cpu_use_fusion_emitters=false"]  # which later ones do not know
os.environ.setdefault("XLA_FLAGS", " ".join(_quick))

# Not ``runs``, where there are hardly any arrays, and a test that says what loading a checkpoint executes.
WINGS = [
    "algorithms",
    "augment",
    "compiling",
    "data",
    "evaluation",
    "ground",
    "interchange",
    "models",
    "platform",
    "recipes",
    "using",
]


def pytest_configure(config: Any) -> None:
    """Prepares JAX and ganjax, but not in the process that only hands tests out to others."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import jax

    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_traceback_in_locations_limit", 0)  # which nobody reads, and take a tenth of lowering

    from annotations import check_annotations

    hook = check_annotations([f"ganjax.{wing}" for wing in WINGS])
    import ganjax  # noqa: F401

    hook.uninstall()

    # Tracing makes very many small objects; to look through all of JAX for garbage after every 700 is a tenth of it.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
