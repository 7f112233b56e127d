"""What the updates of an iteration work on: reals dealt from the batch, and keys for all that is drawn.

Noise belongs to a sample's place in the global batch, not to the device that computes it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.models.condition import Condition

__all__ = ["Batch", "Draw", "Noise", "Shown", "as_float", "as_many", "draw_updates", "interleaved"]

Images = Float[Array, "batch height width channels"]
Batch = dict[str, Array]
"""Leaves of ``rows`` rows, a row a record, of which all but ``images`` are there where a model takes them.

``images``: uint8, or float32 in [-1, 1], [rows, height, width, channels]; ``labels``: int32 [rows]; ``attributes``:
float32 [rows, num_attributes]; ``inputs``: images to start from, like ``images``. ``deviations``, like ``images``, says
that these are means, floats of 16 or 32 bits, and each sample's real is drawn about its own, from its own key.
``latents``, float32 [., latent_size]
and there only to be given in place of drawn ones, has a row for each sample that is generated in an iteration: row
``i * num_draws + j`` is that of sample ``i`` of draw ``j``.
"""


_POSTERIOR = 0x1A7E  # tells the key of a real that is drawn about its mean from those of ``Noise``


class Noise(NamedTuple):
    """One key a sample for each thing that is drawn for it in an update."""

    latents: Key[Array, " batch"]
    generator: Key[Array, " batch"]
    real_augmentation: Key[Array, " batch"]
    fake_augmentation: Key[Array, " batch"]
    real_discriminator: Key[Array, " batch"]
    fake_discriminator: Key[Array, " batch"]
    penalty: Key[Array, " batch"]
    inputs: Key[Array, " batch"]
    term: Key[Array, " batch"]


class Shown(NamedTuple):
    """What the discriminator is shown: images before their augmentation, and keys for what is drawn for them."""

    images: Images
    condition: Condition
    augmentation: Key[Array, " batch"]
    discriminator: Key[Array, " batch"]


class Draw(NamedTuple):
    """What one update of one player works on; every leaf has the samples on its first axis."""

    reals: Images
    condition: Condition
    noise: Noise
    latents: Float[Array, "batch latents"] | None = None  # None: to be drawn from the noise

    def anew(self, number: int) -> "Draw":
        """The same records with other noise, a number of them; latents that are given stay."""
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return self._replace(noise=Noise(*(fold(keys, number) for keys in self.noise)))

    def show_reals(self) -> Shown:
        """The reals as the discriminator is shown them."""
        return Shown(self.reals, self.condition, self.noise.real_augmentation, self.noise.real_discriminator)

    def show_fakes(self, fakes: Images) -> Shown:
        """The fakes as the discriminator is shown them."""
        return Shown(fakes, self.condition, self.noise.fake_augmentation, self.noise.fake_discriminator)


def as_many(
    reals: Images, fakes: Float[Array, "batch height width all_channels"]
) -> Float[Array, "batch height width all_channels"]:
    """Reals as often beside each other on the channels as a generator gives its images: one stands for all of these."""
    return jnp.tile(reals, (1, 1, 1, fakes.shape[-1] // reals.shape[-1]))


def interleaved(reals: Shown, fakes: Shown) -> Shown:
    """Both as one batch, in turn: so every device of a mesh keeps the rows that it has."""
    one, other = reals._replace(images=as_many(reals.images, fakes.images)), fakes
    return jax.tree.map(lambda a, b: jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:]), one, other)


def draw_updates(
    batch: Batch,
    key: Key[Array, ""],
    *,
    num_updates: int,
    num_batches: int,
    axis_name: str | None,
    shared: bool = False,
) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's.

    Args:
        batch: ``num_batches`` batches, interleaved; only this device's rows under a mapped axis.
        key: of the iteration.
        num_updates: of the discriminator, which take a batch each; the generator's takes the last batch.
        num_batches: ``num_updates``, or one more.
        axis_name: the mapped axis over which the batch is split.
        shared: whether the generator's has the latents, and starts from the inputs, of the discriminator's last.
    """
    num_draws = num_updates + (not shared)
    dealt = {
        name: leaf.reshape(-1, num_draws if name == "latents" else num_batches, *leaf.shape[1:])
        for name, leaf in batch.items()
    }
    images = dealt["images"]
    index = jnp.arange(len(images), dtype=jnp.int32)
    if axis_name:
        index = index + jax.lax.axis_index(axis_name) * len(images)
    # Adds zero, for no pixel exceeds 255, but computed from the reals: over a mesh, the partitioner therefore spreads
    # the noise, and the fakes that are made of it, as the reals are. Else each device would generate the whole batch.
    index = index + (images[:, 0, 0, 0, 0].astype(jnp.int32) > 255).astype(jnp.int32)

    def keys_of(update: int) -> Key[Array, " batch"]:
        update_key = jax.random.fold_in(key, update)
        return jax.vmap(lambda i: jax.random.fold_in(update_key, i))(index)

    def noise_of(update: int) -> Noise:
        keys = jax.vmap(lambda own: jax.random.split(own, len(Noise._fields)))(keys_of(update))
        return Noise(*(keys[:, i] for i in range(len(Noise._fields))))

    def reals_of(rows: Batch, update: int) -> Images:
        images = as_float(rows["images"])
        if "deviations" not in rows:
            return images
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys_of(update), _POSTERIOR)
        noise = jax.vmap(lambda own: jax.random.normal(own, images.shape[1:]))(keys)
        return images + as_float(rows["deviations"]) * noise

    def draw(update: int, batch_index: int) -> Draw:
        rows = {name: leaf[:, update if name == "latents" else batch_index] for name, leaf in dealt.items()}
        inputs = None if "inputs" not in rows else as_float(rows["inputs"])
        condition = Condition(rows.get("labels"), rows.get("attributes"), inputs)
        return Draw(reals_of(rows, update), condition, noise_of(update), rows.get("latents"))

    draws = [draw(update, update) for update in range(num_updates)]
    if not shared:
        return [*draws, draw(num_updates, num_batches - 1)]
    last, new = draws[-1], noise_of(num_updates)
    return [*draws, last._replace(noise=new._replace(latents=last.noise.latents, inputs=last.noise.inputs))]


def as_float(images: Array) -> Images:
    """uint8 images in [-1, 1]; the numbers of others as they are; float32."""
    images, scaled = images.astype(jnp.float32), images.dtype == jnp.uint8
    return images / 127.5 - 1 if scaled else images
