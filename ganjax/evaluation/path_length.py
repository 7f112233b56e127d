"""Perceptual path length: how far images move when the latents move a little."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ganjax.algorithms.model import Model, State
from ganjax.algorithms.samples import sample
from ganjax.evaluation.distances import Estimate
from ganjax.ground.errors import UserError

__all__ = ["perceptual_path_length", "spherical_interpolation"]

EPSILON = 1e-4


def perceptual_path_length(
    generate: Callable[[Float[Array, "batch latent"], Key[Array, " batch"]], Array],
    distance: Callable[[Array, Array], Float[Array, " batch"]],
    *,
    latent_size: int,
    num: int = 10_000,
    batch_size: int = 64,
    seed: int = 0,
    kept: tuple[float, float] = (0.01, 0.99),
) -> Estimate:
    """The mean perceptual distance of images from latents that differ by ``EPSILON``, over ``EPSILON`` squared.

    Karras et al., arXiv 1812.04948, section 4.1, in the latents z and on the whole path: E d(G(slerp(z1, z2; t)),
    G(slerp(z1, z2; t + ε))) / ε² with t uniform on [0, 1], where slerp goes along the great circle between the
    directions of the two normal latents (which are scaled to length 1 for it, and back to √latent_size for the
    generator, where the length of a normal latent lies). As in the authors' program the pairs below the first and above
    the last percentile are left out.

    Args:
        generate: images of latents, not rounded to uint8, which would hide the movement; the keys, one a sample, are
            the same for both images of a pair, for labels and for noise in the network.
        distance: of two batches of images, such as a squared distance of features.
        latent_size: of the generator.
        num: pairs.
        batch_size: pairs at once.
        seed: of the latents, of t and of the keys; pair ``i`` depends on the seed and on ``i`` alone.
        kept: the quantiles between which pairs count.

    Returns:
        The mean and the standard deviation over the pairs that are kept.

    Raises:
        UserError: fewer than one pair is asked for.
    """
    if num < 1:
        raise UserError(f"the path length of {num} pairs does not exist: expected num of 1 or more")

    @jax.jit
    def lengths(indices: Array) -> Array:
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(indices)
        first_keys, second_keys, time_keys, sample_keys = jnp.swapaxes(
            jax.vmap(lambda key: jax.random.split(key, 4))(keys), 0, 1
        )
        start, end = (
            jax.vmap(lambda key: jax.random.normal(key, (latent_size,)))(keys) for keys in (first_keys, second_keys)
        )
        times = jax.vmap(lambda key: jax.random.uniform(key, ()))(time_keys)

        def images_at(moment: Array) -> Array:
            return generate(spherical_interpolation(start, end, moment) * math.sqrt(latent_size), sample_keys)

        return distance(images_at(times), images_at(times + EPSILON)) / EPSILON**2

    values = np.concatenate(
        [
            np.asarray(lengths(np.arange(first, first + batch_size, dtype=np.int32)))
            for first in range(0, num, batch_size)
        ]
    )[:num].astype(np.float64)
    low, high = np.quantile(values, kept[0], method="lower"), np.quantile(values, kept[1], method="higher")
    inside = values[(values >= low) & (values <= high)]
    return Estimate(float(inside.mean()), float(inside.std()))


def spherical_interpolation(
    start: Float[Array, "batch latent"], end: Float[Array, "batch latent"], times: Float[Array, " batch"]
) -> Float[Array, "batch latent"]:
    """Points of length 1 on the great circle from the direction of ``start`` to that of ``end`` (Shoemake 1985)."""
    start, end = (vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (start, end))
    cosine = jnp.sum(start * end, axis=-1, keepdims=True)
    angle = times[:, None] * jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    across = end - cosine * start
    across = across / jnp.maximum(jnp.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
    return start * jnp.cos(angle) + across * jnp.sin(angle)


def path_length_of(
    gan: Model, state: State, network: Any, *, weights: Literal["ema", "live"], num: int, seed: int
) -> Estimate:
    """The path length of a generator of latents and labels in a network's features, for random labels.

    Args:
        gan: the generator's.
        state: its state.
        network: has ``outputs`` of unrounded pixels of 0 to 255.
        weights: averaged or live.
        num: pairs.
        seed: of all draws.
    """

    def images_of(latents: Float[Array, "batch latent"], keys: Key[Array, " batch"]) -> Array:
        num_classes = max(1, gan.generator.num_classes)
        labels = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_classes))(keys)
        images = sample(gan, state, latents, labels, weights=weights)
        return (jnp.clip(images, -1.0, 1.0) + 1) * 127.5

    def distance(one: Array, other: Array) -> Float[Array, " batch"]:
        return jnp.sum((network.outputs(one).features - network.outputs(other).features) ** 2, axis=-1)

    return perceptual_path_length(images_of, distance, latent_size=gan.generator.latent_size, num=num, seed=seed)
