"""A pool of earlier fakes, through which a discriminator is shown new ones (Shrivastava et al., arXiv 1612.07828, 2.3).

Image by image: while the pool is not full, it keeps what comes and gives it back. When it is full, it gives back, with
probability one half, an image that it draws of those that it has, and keeps the new one in its place; else it gives
back the new one, and does not keep it.
"""

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

__all__ = ["Pool", "exchange", "new_pool"]

Images = Float[Array, "batch height width channels"]


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class Pool:
    """What is kept: arrays only, and so a part of the state, from which a run goes on as if it had not ended.

    Attributes:
        images: as they were made, not rounded.
        num_kept: how many of them there are; the others are zeros.
    """

    images: Float[Array, "size height width channels"]
    num_kept: Int[Array, ""]


def new_pool(size: int, image_shape: tuple[int, int, int]) -> Pool:
    """An empty one."""
    return Pool(images=jnp.zeros((size, *image_shape), jnp.float32), num_kept=jnp.zeros((), jnp.int32))


def exchange(pool: Pool, fakes: Images, keys: Key[Array, " batch"], *, axis_name: str | None) -> tuple[Images, Pool]:
    """What the pool gives back for each fake, one after the other, and the pool afterwards.

    Args:
        pool: the same on every device.
        fakes: in the order of the global batch.
        keys: one a fake, for its draws.
        axis_name: the mapped axis over which the batch is split.
    """
    swaps, places = draw_places(keys, len(pool.images))
    if axis_name:
        own = jax.lax.axis_index(axis_name) * len(fakes) + jnp.arange(len(fakes))
        fakes, swaps, places = (
            jax.lax.all_gather(leaf, axis_name, tiled=True, to="invarying") for leaf in (fakes, swaps, places)
        )
    given, kept = sources(swaps, places, size=len(pool.images), num_kept=pool.num_kept)
    both = jnp.concatenate([pool.images, fakes])
    given = given[own] if axis_name else given  # pyright: ignore[reportPossiblyUnboundVariable]
    num_kept = jnp.minimum(pool.num_kept + len(fakes), len(pool.images))
    return both[given], Pool(images=both[kept], num_kept=num_kept)


def draw_places(keys: Key[Array, " batch"], size: int) -> tuple[Bool[Array, " batch"], Int[Array, " batch"]]:
    """Whether each fake is exchanged if the pool is full, and for which of its images."""

    def draw(key: Key[Array, ""]) -> tuple[Array, Array]:
        chance, place = jax.random.split(key)
        return jax.random.uniform(chance) > 0.5, jax.random.randint(place, (), 0, size)

    return jax.vmap(draw)(keys)


def sources(
    swaps: Bool[Array, " batch"], places: Int[Array, " batch"], *, size: int, num_kept: Int[Array, ""]
) -> tuple[Int[Array, " batch"], Int[Array, " size"]]:
    """Which images are given back, and which are kept: numbers of the pool's, and after these of the fakes'.

    That is what working through the fakes one after the other comes to: each place holds what was last put there.
    """
    index = jnp.arange(len(swaps))
    fills = num_kept + index < size
    puts = jnp.where(fills, num_kept + index, jnp.where(swaps, places, size))  # size: nowhere
    earlier = (puts[:, None] == puts[None, :]) & (index[None, :] < index[:, None])
    last = jnp.max(jnp.where(earlier, index[None, :], -1), axis=1)
    held = jnp.where(last >= 0, size + last, puts)
    given = jnp.where(fills | ~swaps, size + index, held)
    put = puts[None, :] == jnp.arange(size)[:, None]
    newest = jnp.max(jnp.where(put, index[None, :], -1), axis=1)
    return given, jnp.where(newest >= 0, size + newest, jnp.arange(size))
