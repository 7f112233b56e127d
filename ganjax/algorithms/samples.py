"""What a trained model makes: latents, images of them, and batches of the right structure."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ganjax.algorithms.draws import Batch, Images
from ganjax.algorithms.frozen import Decoder, frozen_weights
from ganjax.algorithms.model import Model, State, label_classes
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, Labels, as_argument, condition_sizes

__all__ = [
    "decoded",
    "decoder_of",
    "draw_latents",
    "example_batch",
    "picture_shape",
    "sample",
    "weights_of",
]


def sample(
    gan: Model,
    state: State,
    latents: Float[Array, "batch latent"],
    condition: Condition | Labels | None = None,
    *,
    weights: Literal["ema", "live"] = "ema",
    keys: Key[Array, " batch"] | None = None,
    **settings: Any,
) -> Images:
    """Pictures in [-1, 1] (models without a final tanh may overshoot), float32.

    Args:
        gan: what the state is a state of.
        state: its networks.
        latents: a row an image; of no length for a generator that has none.
        condition: what the images are to be of; labels alone may come as such.
        weights: the averaged or the live ones.
        keys: one an image, for a generator that draws noise in use, too.
        settings: attributes of the generator that are to be others, such as a ``StyledGenerator``'s ``truncation=0.7``.

    Raises:
        UserError: the condition lacks something, or has inputs and the generator does not start from images; or the
            generator has no such setting.
    """
    generator = gan.generator
    if absent := [name for name in settings if not hasattr(generator, name)]:
        raise UserError(f"the generator, {type(generator).__module__}, has no {absent[0]}; leave it out")
    generator = generator.clone(**settings) if settings else generator
    condition = Condition.of(condition)
    if condition.inputs is not None and condition_sizes(generator)[2] is None:
        raise UserError("inputs are given, and the generator does not start from images; leave them out")
    taken = as_argument(generator, condition)
    noise: dict[str, Any] = {} if keys is None else {"keys": keys}
    images: Any = generator.apply(weights_of(state, weights), latents, taken, train=False, **noise)
    return decoded(gan, images)


def decoded(gan: Model, images: Images) -> Float[Array, "batch picture_height picture_width colours"]:
    """The pictures that a model's images stand for: of one whose images are latents, what its decoder makes of them."""
    decoder = decoder_of(gan)
    return images if decoder is None else decoder.decode(frozen_weights(decoder), images)


def decoder_of(gan: Model) -> Decoder | None:
    """What makes pictures of a model's images; None where these are pictures."""
    return getattr(gan, "decoder", None)


def picture_shape(gan: Model) -> tuple[int, int, int]:
    """Height, width and channels of what ``sample`` gives."""
    decoder = decoder_of(gan)
    return gan.generator.image_shape if decoder is None else decoder.picture_shape(gan.generator.image_shape)


def weights_of(state: State, weights: Literal["ema", "live"]) -> dict[str, Any]:
    """The generator's variables: its parameters, and its other collections, averaged where these are averaged, too."""
    player = state.generator
    if weights == "live":
        return {"params": player.params, **player.variables}
    return {"params": state.ema_params, **player.variables, **getattr(state, "ema_variables", {})}


def draw_latents(gan: Model, keys: Key[Array, " batch"]) -> Float[Array, "batch latent"]:
    """Latents, each from its own key, so that sample i is the same in a batch of any size.

    They are standard normal, unless the generator has ``codes``, which say how they are drawn.
    """
    codes = getattr(gan.generator, "codes", None)
    if codes is not None:
        return codes.draw(keys, gan.generator.latent_size)
    return jax.vmap(lambda key: jax.random.normal(key, (gan.generator.latent_size,)))(keys)


def example_batch(gan: Model, batch_size: int) -> Batch:
    """A batch for one iteration of ``batch_size`` images: right in structure, shapes and dtypes, random in content."""
    rows = batch_size * gan.num_batches
    num_classes = label_classes(gan)
    _, num_attributes, input_shape = condition_sizes(gan.generator)
    rng = np.random.default_rng(0)
    shape = (rows, *gan.generator.image_shape)
    if decoder_of(gan) is None:
        batch = {"images": jnp.asarray(rng.integers(0, 256, shape, np.uint8))}
    else:
        batch = {name: jnp.asarray(rng.random(shape, np.float32), jnp.float16) for name in ("images", "deviations")}
    if num_classes:
        batch["labels"] = jnp.asarray(rng.integers(0, num_classes, rows, np.int32))
    if num_attributes:
        batch["attributes"] = jnp.asarray(rng.random((rows, num_attributes), np.float32))
    if input_shape and getattr(gan, "inputs", None) is None:
        batch["inputs"] = jnp.asarray(rng.integers(0, 256, (rows, *input_shape), np.uint8))
    return batch
