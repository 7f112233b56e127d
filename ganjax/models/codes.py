"""Latents of which some stand for something: a class, a style, one of several generators."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError

__all__ = ["Codes", "Parts"]


class Parts(NamedTuple):
    """A batch of latents, or of what somebody says of them, by what they stand for.

    Attributes:
        noise: what stands for nothing.
        categories: one array a categorical code, [batch, values].
        uniform: the continuous codes.
    """

    noise: Float[Array, "batch noise"]
    categories: tuple[Float[Array, "batch _"], ...]
    uniform: Float[Array, "batch uniform"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codes:
    """How latents are drawn of which some are codes (InfoGAN, arXiv 1606.03657, section 4; ClusterGAN, 1809.03627, 3).

    A row is noise from N(0, deviation^2), then for each categorical code zeros with a one, of which all values are
    equally frequent, then the continuous codes from U[-1, 1).

    Attributes:
        categories: how many values each categorical code has.
        uniform: how many continuous codes there are.
        deviation: of the noise.
    """

    categories: tuple[int, ...] = ()
    uniform: int = 0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.categories, tuple):
            raise UserError(f"Codes' categories is {self.categories!r}; expected a tuple, such as (10,)")
        for values in self.categories:
            check_number("Codes' categories", values, at_least=2, example=10)
        check_number("Codes' uniform", self.uniform, at_least=0, example=2)
        check_number("Codes' deviation", self.deviation, above=0, example=1)
        if self.size == 0:
            raise UserError("Codes has neither categories nor uniform codes; give some, such as categories=(10,)")

    @property
    def size(self) -> int:
        """How many of the latents are codes: the last ones."""
        return sum(self.categories) + self.uniform

    def check(self, latent_size: int) -> None:
        """Raises ``UserError`` unless so many latents have room for the codes."""
        if latent_size < self.size:
            raise UserError(f"latent_size is {latent_size} and the codes take {self.size} of them; give more latents")

    def draw(self, keys: Key[Array, " batch"], latent_size: int) -> Float[Array, "batch latents"]:
        """Latents, each row from its own key."""

        def one(key: Key[Array, ""]) -> Float[Array, " latents"]:
            noise_key, uniform_key, *code_keys = jax.random.split(key, 2 + len(self.categories))
            noise = self.deviation * jax.random.normal(noise_key, (latent_size - self.size,))
            codes = [
                jax.nn.one_hot(jax.random.randint(code_key, (), 0, values), values, dtype=jnp.float32)
                for code_key, values in zip(code_keys, self.categories, strict=True)
            ]
            uniform = jax.random.uniform(uniform_key, (self.uniform,), minval=-1.0, maxval=1.0)
            return jnp.concatenate([noise, *codes, uniform])

        return jax.vmap(one)(keys)

    def split(self, latents: Float[Array, "batch latents"]) -> Parts:
        """By what they stand for; of scores of codes alone, as many as these are, there is no noise."""
        num_noise = latents.shape[1] - self.size
        ends = [num_noise]
        for values in self.categories:
            ends.append(ends[-1] + values)
        noise, *codes, uniform = jnp.split(latents, ends, axis=1)
        return Parts(noise, tuple(codes), uniform)

    def negative_log_likelihood(
        self, scores: Float[Array, "batch scores"], latents: Float[Array, "batch latents"]
    ) -> Float[Array, " batch"]:
        """-log Q(codes | image) of each image, in nats and without the constant (arXiv 1606.03657, Eq. 5).

        Q is a softmax over the values of each categorical code, and N(score, 1) for each continuous one.

        Args:
            scores: what a network says of the codes, after anything that it says of the noise.
            latents: of which the images were made.
        """
        said, meant = self.split(scores), self.split(latents)
        total = 0.5 * jnp.sum(jnp.square(said.uniform - meant.uniform), axis=1)
        for logits, values in zip(said.categories, meant.categories, strict=True):
            total += optax.softmax_cross_entropy(logits, values)
        return total

    def most_likely(self, scores: Float[Array, "batch latents"]) -> Float[Array, "batch latents"]:
        """The latents that scores of all of them stand for: of each categorical code the value with the highest."""
        said = self.split(scores)
        codes = [jax.nn.one_hot(jnp.argmax(one, axis=1), one.shape[1], dtype=jnp.float32) for one in said.categories]
        return _joined(said.noise, codes, jnp.clip(said.uniform, -1.0, 1.0))

    def with_code(self, latents: Float[Array, "batch latents"], code: int, value: int) -> Float[Array, "batch latents"]:
        """The latents with one categorical code set to a value in all rows."""
        parts = self.split(latents)
        codes = list(parts.categories)
        one_hot = jax.nn.one_hot(value, codes[code].shape[1], dtype=latents.dtype)
        codes[code] = jnp.broadcast_to(one_hot, codes[code].shape)
        return _joined(parts.noise, codes, parts.uniform)


def _joined(noise: Array, codes: Sequence[Array], uniform: Array) -> Float[Array, "batch latents"]:
    return jnp.concatenate([noise, *codes, uniform], axis=1)
