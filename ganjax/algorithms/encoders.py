"""The way from images to latents, and back again, of any model with an encoder: VAE, BiGAN, and their kin."""

from typing import Any, Literal

from jaxtyping import Array, Float

from ganjax.algorithms.draws import Images
from ganjax.algorithms.model import Model
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, Labels, as_argument

__all__ = ["encode", "reconstruct"]

Weights = Literal["ema", "live"]


def encode(
    model: Model, state: Any, images: Images, condition: Condition | Labels | None = None, *, weights: Weights = "ema"
) -> Float[Array, "batch latents"]:
    """The latents of images: the mean of each one's posterior; of a categorical code, the most likely value.

    Args:
        model: what the state is a state of; it has an ``encoder``.
        state: its networks.
        images: in [-1, 1].
        condition: what they are of, when conditional; labels alone may come as such.
        weights: the averaged or the live ones.

    Raises:
        UserError: the model has no encoder.
    """
    encoder: Any = getattr(model, "encoder", None)
    if encoder is None:
        raise UserError(f"{type(model).__name__} has no encoder; expected a model with one, such as VAE or BiGAN")
    taken = as_argument(encoder, Condition.of(condition))
    found = encoder.apply(_variables(state, "encoder", weights), images, taken, train=False)
    codes = getattr(model.generator, "codes", None)
    return found.mean if codes is None else codes.most_likely(found.mean)


def reconstruct(
    model: Model, state: Any, images: Images, condition: Condition | Labels | None = None, *, weights: Weights = "ema"
) -> Images:
    """What the generator makes of the latents that ``encode`` finds in each image, in [-1, 1]; see there.

    Args:
        model: what the state is a state of; it has an ``encoder``.
        state: its networks.
        images: in [-1, 1].
        condition: what they are of, when conditional; labels alone may come as such.
        weights: the averaged or the live ones.
    """
    latents = encode(model, state, images, condition, weights=weights)
    taken = as_argument(model.generator, Condition.of(condition))
    made: Any = model.generator.apply(_variables(state, "generator", weights), latents, taken, train=False)
    return made


def _variables(state: Any, name: str, weights: Weights) -> dict[str, Any]:
    player = state.players[name]
    return {"params": player.params if weights == "live" else state.averages[name], **player.variables}
