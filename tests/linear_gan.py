"""A GAN of which every gradient can be written down: a linear generator and a quadratic critic."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ganjax import GAN
from ganjax.algorithms import gan_step

KEY = jax.random.key(0)
SHAPE, LATENTS, CLASSES, BATCH = (2, 2, 1), 3, 4, 6


class LinearGenerator(nn.Module):
    """y = z W + b, plus a row of a table by the label."""

    image_shape: tuple[int, int, int] = SHAPE
    latent_size: int = LATENTS
    num_classes: int = 0

    @nn.compact
    def __call__(self, latents, labels=None, *, train, keys=None, axis_name=None):
        start = nn.initializers.normal(0.5)
        images = nn.Dense(4, kernel_init=start, bias_init=start)(latents)
        if self.num_classes:
            images = images + jnp.take(self.param("table", start, (self.num_classes, 4)), labels, axis=0)
        return images.reshape(-1, *self.image_shape)


class QuadraticCritic(nn.Module):
    """C(x) = <a, x> + <q, x^2> / 2, with a plus a row of a table by the label."""

    image_shape: tuple[int, int, int] = SHAPE
    num_classes: int = 0

    @nn.compact
    def __call__(self, images, labels=None, *, train, keys=None, axis_name=None):
        start = nn.initializers.normal(0.5)
        x = images.reshape(-1, 4)
        a, q = self.param("a", start, (1, 4)), self.param("q", start, (1, 4))
        if self.num_classes:
            a = a + jnp.take(self.param("table", start, (self.num_classes, 4)), labels, axis=0)
        return jnp.sum(a * x + q * x**2 / 2, axis=1)


def make_gan(num_classes: int = 0, **settings: Any) -> GAN:
    defaults: dict[str, Any] = dict(
        generator=LinearGenerator(num_classes=num_classes),
        discriminator=QuadraticCritic(num_classes=num_classes),
        generator_optimizer=optax.sgd(0.2),
        discriminator_optimizer=optax.sgd(0.1),
    )
    return GAN(**{**defaults, **settings})


def make_batch(gan: GAN, seed: int = 0, batch_size: int = BATCH) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    rows = batch_size * gan.num_batches
    batch = {"images": jnp.asarray(rng.uniform(-1, 1, (rows, *gan.generator.image_shape)).astype(np.float32))}
    if gan.generator.num_classes:
        batch["labels"] = jnp.asarray(rng.integers(0, gan.generator.num_classes, rows, np.int32))
    return batch


def assert_close(actual: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=rtol, atol=atol), actual, expected)


@functools.partial(jax.jit, static_argnums=0)
def draws_of(gan: GAN, batch: dict[str, Array], key: Array) -> list[gan_step.Draw]:
    """What the updates of an iteration work on, with their latents and inputs; the generator's is the last."""
    return [gan_step._complete(gan, draw) for draw in gan_step._draw(gan, batch, key, None)]
