"""What every test runs under: eight devices, strict promotion, and shape annotations that are checked."""

import gc
import importlib.metadata
import os
import tempfile

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

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

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
hook = install_import_hook([f"ganjax.{wing}" for wing in WINGS], "annotations.checked")
import ganjax  # noqa: E402, F401

hook.uninstall()

# Tracing makes very many small objects; to look through all of JAX for garbage after every 700 is a tenth of its time.
gc.freeze()
gc.set_threshold(100_000, 50, 100)
