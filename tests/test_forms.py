"""What the forms tell the compiler, beside how the numbers are computed (test_layers.py)."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ganjax import GAN, losses
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.penalties import R1, R2
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import init, train_step
from ganjax.augment import geometry
from ganjax.models import r3gan
from ganjax.platform.forms import FORMS, kernel_memory, target_forms, target_platform

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


@pytest.mark.parametrize(
    "how",
    [
        {"window_strides": (1, 1), "padding": "SAME"},
        {"window_strides": (2, 2), "padding": [(1, 0), (0, 2)], "feature_group_count": 2},
        {"window_strides": (1, 2), "padding": [(0, 0), (1, 0)], "lhs_dilation": (2, 1), "rhs_dilation": (1, 2)},
    ],
    ids=["same", "grouped", "dilated"],
)
def test_convolutions_on_a_cpu_are_in_the_order_of_its_fast_code(how: dict[str, Any]) -> None:
    """And their first and second derivatives, in branches and loops, where the compiler leaves the order as it is."""
    rng = np.random.default_rng(0)
    given = tuple(
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((3, 7, 8, 4), (3, 3, 4 // how.get("feature_group_count", 1), 6))
    )

    def convolve(maps: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(maps, kernel, dimension_numbers=("NHWC", "HWIO", "NHWC"), **how)

    def energy(maps: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sum(jnp.tanh(convolve(maps, kernel)))

    def derivatives(maps: jax.Array, kernel: jax.Array) -> Any:
        slope = jax.grad(energy)
        second = jax.grad(lambda maps, kernel: jnp.sum(jnp.square(slope(maps, kernel))), (0, 1))
        return jax.grad(energy, (0, 1))(maps, kernel), second(maps, kernel)

    def program(chosen: jax.Array, *given: jax.Array) -> Any:
        nothing = jax.tree.map(jnp.zeros_like, (given, given))
        branch = lax.cond(chosen, lambda: derivatives(*given), lambda: nothing)
        return branch, lax.map(lambda scale: derivatives(given[0] * scale, given[1]), jnp.ones(2))

    found, orders = {}, {}
    for form in ("stated", "ordered"):
        with target_forms(dataclasses.replace(FORMS["cpu"], convolutions=form)):
            lowered = jax.jit(program).lower(jnp.array(True), *given)
        text = lowered.as_text()
        assert "stablehlo.case" in text
        assert "stablehlo.while" in text
        orders[form] = set(re.findall(r"stablehlo.convolution.*dim_numbers = (\S+ ?.*?), window", text))
        found[form] = lowered.compile()(jnp.array(True), *given)
    assert orders["ordered"] == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert len(orders["stated"]) > 2
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-3), found["ordered"], found["stated"])
