"""What the forms tell the compiler, beside how the numbers are computed (test_layers.py)."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from ganjax import GAN, losses
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.penalties import R1, R2
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import init, train_step
from ganjax.augment import geometry
from ganjax.models import r3gan
from ganjax.platform.forms import kernel_memory, target_platform

LIMIT = "scoped_vmem_limit_kib"


def test_only_on_tpus_are_kernels_told_their_memory() -> None:
    def program() -> str:
        def double(values: jax.Array) -> jax.Array:
            with kernel_memory(1234):
                return values * 2.0

        return jax.jit(double).lower(jnp.ones(3)).as_text()

    for platform in ("cpu", "gpu", "tpu"):
        with target_platform(platform):
            assert (f'{LIMIT} = "1234"' in program()) == (platform == "tpu")


@pytest.mark.parametrize("num_microbatches", [1, 2])
def test_memory_stays_with_the_maps_that_it_is_for(num_microbatches: int) -> None:
    """A function that JAX lowers once for several callers would carry the attribute from small maps to large ones."""
    network = {"image_shape": (32, 32, 3), "widths": (32, 32, 32, 32), "dtype": jnp.bfloat16}
    gan = GAN(
        generator=r3gan.Generator(**network),
        discriminator=r3gan.Discriminator(**network),
        generator_optimizer=Adam(1e-4),
        discriminator_optimizer=Adam(1e-4),
        loss=losses.relativistic_pairing,
        penalties=(R1(1.0), R2(1.0)),
        num_microbatches=num_microbatches,
    )
    state = jax.eval_shape(functools.partial(init, gan), jax.random.key(0))
    batch = jax.eval_shape(lambda: example_batch(gan, 4))
    with target_platform("tpu"):
        program = jax.jit(train_step, static_argnums=0).lower(gan, state, batch, jax.random.key(0)).as_text()
    images = 4 // num_microbatches
    maps = {size: f"tensor<{images}x{size}x{size}x" for size in (4, 8, 16, 32)}

    def told(operation: str, size: int) -> set[str]:
        """What is said of the operations that read or make maps of this size."""
        lines = [line for line in program.splitlines() if operation in line and maps[size] in line]
        return {"".join(re.findall(rf'{LIMIT} = "(\d+)"', line)) for line in lines}

    assert [told("stablehlo.compare", size) for size in maps] == [{"4096"}, {"6144"}, {""}, {"", "32768"}]
    assert [told("stablehlo.select", size) for size in maps] == [{"4096"}, {"6144"}, {""}, {""}]
    for function in re.split(r"\n  func.func ", program):
        name = re.escape(function.split("(")[0].split("@")[-1])
        assert LIMIT not in function or len(re.findall(rf"call @{name}\(", program)) <= 1, function


@pytest.mark.parametrize(("size", "in_products"), [(32, True), (128, False)])
def test_small_images_are_augmented_in_little_memory_and_large_ones_are_not(size: int, in_products: bool) -> None:
    with target_platform("tpu"):
        program = jax.jit(geometry.resample).lower(jnp.zeros((2, size, size, 3)), jnp.zeros((2, 3, 3))).as_text()
    assert (f'{LIMIT} = "2048"' in program) == in_products
