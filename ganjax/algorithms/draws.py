"""What the updates of an iteration work on: reals dealt from the batch, and keys for all that is drawn.

Noise belongs to a sample's place in the global batch, not to the device that computes it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

Images = Float[Array, "batch height width channels"]
Labels = Int[Array, " batch"]
Batch = dict[str, Array]
"""``images``: uint8, or float32 in [-1, 1], [rows, height, width, channels]; ``labels``: int32 [rows] where needed."""


class Noise(NamedTuple):
    """One key a sample for each thing that is drawn for it in an update."""

    latents: Key[Array, " batch"]
    generator: Key[Array, " batch"]
    real_augmentation: Key[Array, " batch"]
    fake_augmentation: Key[Array, " batch"]
    real_discriminator: Key[Array, " batch"]
    fake_discriminator: Key[Array, " batch"]
    penalty: Key[Array, " batch"]


class Shown(NamedTuple):
    """What the discriminator is shown: images before their augmentation, and keys for what is drawn for them."""

    images: Images
    labels: Labels | None
    augmentation: Key[Array, " batch"]
    discriminator: Key[Array, " batch"]


class Draw(NamedTuple):
    """What one update of one player works on; every leaf has the samples on its first axis."""

    reals: Images
    labels: Labels | None
    noise: Noise

    def show_reals(self) -> Shown:
        """The reals as the discriminator is shown them."""
        return Shown(self.reals, self.labels, self.noise.real_augmentation, self.noise.real_discriminator)

    def show_fakes(self, fakes: Images) -> Shown:
        """The fakes as the discriminator is shown them."""
        return Shown(fakes, self.labels, self.noise.fake_augmentation, self.noise.fake_discriminator)


def draw_updates(
    batch: Batch, key: Key[Array, ""], *, num_updates: int, num_batches: int, axis_name: str | None
) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's.

    Args:
        batch: ``num_batches`` batches, interleaved; only this device's rows under a mapped axis.
        key: of the iteration.
        num_updates: of the discriminator, which take a batch each; the generator's takes the last batch.
        num_batches: ``num_updates``, or one more.
        axis_name: the mapped axis over which the batch is split.
    """
    images, labels = (
        None if (leaf := batch.get(name)) is None else leaf.reshape(-1, num_batches, *leaf.shape[1:])
        for name in ("images", "labels")
    )
    assert images is not None, "a batch has images"
    index = jnp.arange(len(images), dtype=jnp.int32)
    if axis_name:
        index = index + jax.lax.axis_index(axis_name) * len(images)
    # Adds zero, for no pixel exceeds 255, but computed from the reals: over a mesh, the partitioner therefore spreads
    # the noise, and the fakes that are made of it, as the reals are. Else each device would generate the whole batch.
    index = index + (images[:, 0, 0, 0, 0].astype(jnp.int32) > 255).astype(jnp.int32)

    def draw(update: int, batch_index: int) -> Draw:
        reals = images[:, batch_index]
        if reals.dtype == jnp.uint8:
            reals = reals.astype(jnp.float32) / 127.5 - 1
        update_key = jax.random.fold_in(key, update)
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(update_key, i), len(Noise._fields)))(index)
        noise = Noise(*(keys[:, i] for i in range(len(Noise._fields))))
        return Draw(reals, None if labels is None else labels[:, batch_index], noise)

    return [*(draw(update, update) for update in range(num_updates)), draw(num_updates, num_batches - 1)]
