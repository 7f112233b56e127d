"""FLOPs against counts by hand, and that implementations do not change them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from linear_gan import make_gan

from ganjax import GAN, R1, R2, Adam, losses
from ganjax.compiling.flops import PLAIN, count_flops, model_flops
from ganjax.models import dcgan, mlp, r3gan
from ganjax.models.layers import downsample, grouped_convolution, strided_convolution, transposed_convolution
from ganjax.platform.forms import target_forms

KEY = jax.random.key(0)
LAYOUT = ("NHWC", "HWIO", "NHWC")


def count(function: Any, *shapes: tuple[int, ...]) -> float:
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    with target_forms(PLAIN):
        return count_flops(jax.jit(function).trace(*arguments).jaxpr)


def test_a_dense_layer() -> None:
    assert count(lambda x, w: x @ w, (5, 7), (7, 11)) == 2 * 5 * 7 * 11
    assert count(lambda x, w: jnp.einsum("bij,bjk->bik", x, w), (3, 5, 7), (3, 7, 11)) == 3 * 2 * 5 * 7 * 11


# Of a row of 6 pixels, 3 taps with zero padding: 6 * 3 pairs, of which the 2 at the ends meet padding.
PAIRS = 6 * 3 - 2


def test_a_grouped_convolution_its_padding_and_its_gradients() -> None:
    forward = 2 * 4 * PAIRS**2 * 8 * 2  # samples, places, channels out, channels in of a group

    def convolve(images: Any, kernel: Any) -> Any:
        return grouped_convolution(images, kernel, groups=3)

    shapes = (4, 6, 6, 6), (3, 3, 2, 24)
    forward *= 3  # 24 channels out
    assert count(convolve, *shapes) == forward

    def loss(images: Any, kernel: Any) -> Any:
        return jnp.sum(convolve(images, kernel) * images[..., :1])

    assert count(jax.grad(loss, argnums=1), *shapes) == forward  # the forward pass itself is not needed
    assert count(jax.grad(loss, argnums=(0, 1)), *shapes) == 3 * forward


def test_strided_and_transposed_convolutions_do_not_count_zeros() -> None:
    # Along 8 pixels: 4 outputs of 4 taps, less one at either end. Transposed, from 4 pixels, the very same pairs.
    pairs = 4 * 4 - 2
    assert count(strided_convolution, (2, 8, 8, 3), (4, 4, 3, 5)) == 2 * 2 * pairs**2 * 3 * 5
    assert count(transposed_convolution, (2, 4, 4, 3), (4, 4, 3, 5)) == 2 * 2 * pairs**2 * 3 * 5


def test_a_dilated_kernel() -> None:
    def convolve(images: Any, kernel: Any) -> Any:
        return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", rhs_dilation=(2, 2), dimension_numbers=LAYOUT)

    assert count(convolve, (1, 9, 9, 3), (3, 3, 3, 5)) == 2 * 5 * 5 * 9 * 3 * 5


def test_shifts_and_adds_are_no_products() -> None:
    assert count(downsample, (2, 8, 8, 3)) == 0


def test_a_scan_counts_as_often_as_it_runs() -> None:
    def layers(x: Any, w: Any) -> Any:
        return lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=6)[0]

    assert count(layers, (5, 7), (7, 7)) == 6 * 2 * 5 * 7 * 7


def test_a_branch_counts_its_costlier_side() -> None:
    def branch(x: Any, w: Any) -> Any:
        return lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: jnp.zeros((5, 11)))

    assert count(branch, (5, 7), (7, 11)) == 2 * 5 * 7 * 11


def test_repetition_recomputation_and_waste_do_not_count() -> None:
    product = 2 * 5 * 7 * 7

    def layers(x: Any, w: Any) -> Any:
        return jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w))

    plain = count(jax.grad(layers, argnums=1), (5, 7), (7, 7))
    assert plain == 5 * product  # two forward, two of the weights, one of the features
    assert count(jax.grad(jax.checkpoint(layers), argnums=1), (5, 7), (7, 7)) == plain
    assert count(lambda x, w: layers(x, w) + layers(x, w), (5, 7), (7, 7)) == 2 * product
    assert count(lambda x, w: (layers(x, w), x)[1], (5, 7), (7, 7)) == 0


SHAPE: dict[str, Any] = dict(image_shape=(8, 8, 1))


def test_an_iteration_by_hand() -> None:
    """Dense layers: pixels to features to a logit, latents to features to pixels; R1 costs three more forwards."""
    features, latents, batch = 5, 3, 16
    gan = GAN(
        generator=mlp.Generator(**SHAPE, latent_size=latents, hidden=(features,)),
        discriminator=mlp.Discriminator(**SHAPE, hidden=(features,)),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    generator = 2.0 * batch * (latents * features + features * 64)
    first, second = 2.0 * batch * 64 * features, 2.0 * batch * features
    # The discriminator, on reals and on fakes: forward, gradients of both weights, and of the features between them.
    critic_update = generator + 2 * ((first + second) + (first + second) + second)
    # The generator: through the critic to its images, then its own weights, and its features.
    generator_update = generator + 2 * (first + second) + generator + 2.0 * batch * features * 64
    assert model_flops(gan, batch) == critic_update + generator_update
    assert model_flops(gan, 2 * batch) == 2 * model_flops(gan, batch)
    lazy = dataclasses.replace(gan, penalties=(R1(1.0, every=4),))
    always = dataclasses.replace(gan, penalties=(R1(1.0),))
    penalty = model_flops(always, batch) - model_flops(gan, batch)
    assert 0 < penalty < 4 * (first + second)
    assert model_flops(lazy, batch) == pytest.approx(model_flops(gan, batch) + penalty / 4)


def test_r3gan_costs_nineteen_forward_passes_an_image() -> None:
    networks: dict[str, Any] = dict(image_shape=(16, 16, 3), widths=(32, 32, 32), group_size=8)
    gan = GAN(
        generator=r3gan.Generator(**networks),
        discriminator=r3gan.Discriminator(**networks),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
        loss=losses.relativistic_pairing,
        penalties=(R1(0.5), R2(0.5)),
    )
    params = jax.eval_shape(lambda key: gan.discriminator.init(key, jnp.zeros((1, 16, 16, 3)), train=False), KEY)
    with target_forms(PLAIN):
        forward = jax.jit(lambda params, images: gan.discriminator.apply(params, images, train=True))
        images = jax.ShapeDtypeStruct((4, 16, 16, 3), jnp.float32)
        once = count_flops(forward.trace(params, images).jaxpr)
    assert model_flops(gan, 4) == pytest.approx(19 * once, rel=0.02)
    parts = dataclasses.replace(gan, num_microbatches=2)
    assert model_flops(parts, 4) == model_flops(gan, 4)


def test_models_of_all_kinds_have_flops() -> None:
    assert model_flops(make_gan(num_classes=4), 6) > 0
    networks: dict[str, Any] = dict(image_shape=(8, 8, 1), features=2)
    gan = make_gan(generator=dcgan.Generator(**networks), discriminator=dcgan.Discriminator(**networks))
    assert model_flops(gan, 6) > 0
