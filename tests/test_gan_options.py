"""What a GAN may ask of its iteration beyond the plain one, each beside a statement of what it comes to."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gan import BATCH, KEY, LinearGenerator, QuadraticCritic, assert_close, draws_of, make_batch, make_gan

from ganjax import R1, PathLength, UserError, init, losses, train_step
from ganjax.models.network import StyledGenerator


def step(gan: Any, state: Any, batch: Any) -> tuple[Any, Any]:
    return jax.jit(train_step, static_argnums=0)(gan, state, batch, KEY)


def test_a_lazy_term_has_an_update_of_its_own_after_the_players() -> None:
    """R1 of the quadratic critic is the mean of |a + q x|^2 / 2 over the reals, the same ones as before."""
    weight, every, rate = 0.3, 2, 0.1
    plain = make_gan()
    lazy = make_gan(penalties=(R1(weight, every=every),), lazy="separate")
    state, batch = init(plain, KEY), make_batch(plain)
    without, _ = step(plain, state, batch)
    found, metrics = step(lazy, init(lazy, KEY), batch)

    a, q = (np.float64(without.discriminator.params[name]) for name in ("a", "q"))
    slopes = a + q * np.float64(batch["images"]).reshape(-1, 4)
    reals = np.float64(batch["images"]).reshape(-1, 4)
    expected = {
        "a": a - rate * weight * every * np.mean(slopes, axis=0, keepdims=True),
        "q": q - rate * weight * every * np.mean(slopes * reals, axis=0, keepdims=True),
    }
    assert_close(dict(found.discriminator.params), expected)
    np.testing.assert_allclose(metrics["penalty/r1"], np.mean(np.sum(slopes**2, axis=1)) / 2, rtol=1e-5)

    after, metrics = step(lazy, found, batch)  # the second iteration, at which the term is not due
    assert float(metrics["penalty/r1"]) == 0
    before, _ = step(plain, found, batch)
    assert_close(after.discriminator.params, before.discriminator.params, rtol=1e-6)


class Counting(nn.Module):
    """A network that counts the passes which may change what of it is not descended, and says how many it has seen."""

    network: nn.Module

    def __getattr__(self, name: str) -> Any:
        if name in ("image_shape", "latent_size", "num_classes"):
            return getattr(self.network, name)
        raise AttributeError(name)

    @nn.compact
    def __call__(self, inputs, labels=None, *, train, keys=None, axis_name=None):
        passes = self.variable("counts", "passes", lambda: jnp.zeros(()))
        if train and not self.is_initializing() and self.is_mutable_collection("counts"):
            passes.value = passes.value + 1
        return self.network(inputs, labels, train=train)


@pytest.mark.parametrize(
    ("statistics", "judged", "generator", "discriminator"),
    [
        ("own", "apart", 1, 2),
        ("both", "apart", 2, 3),
        ("discriminator", "apart", 1, 2),
        ("own", "together", 1, 1),
        ("both", "together", 2, 2),
    ],
)
def test_in_whose_updates_other_collections_move(
    statistics: str, judged: str, generator: int, discriminator: int
) -> None:
    gan = make_gan(
        generator=Counting(LinearGenerator()),
        discriminator=Counting(QuadraticCritic()),
        statistics=statistics,
        judged=judged,
    )
    after, _ = step(gan, init(gan, KEY), make_batch(gan))
    found = [float(player.variables["counts"]["passes"]) for player in (after.generator, after.discriminator)]
    assert found == [generator, discriminator]


def test_together_is_as_apart_where_no_sample_depends_on_another() -> None:
    apart, together = (make_gan(judged=judged, penalties=(R1(0.1),)) for judged in ("apart", "together"))
    batch = make_batch(apart)
    (one, first), (other, second) = (step(gan, init(gan, KEY), batch) for gan in (apart, together))
    assert_close(one, other)
    assert_close(first, second)


def test_a_view_is_seen_of_reals_and_fakes_as_of_the_images_seen() -> None:
    """At the second iteration, when a batch has been seen, it is a doubling."""

    def doubled(images: Any, images_seen: Any) -> Any:
        return images * (1 + images_seen / BATCH)

    viewing = make_gan(view=doubled, penalties=(R1(0.1),), loss=losses.relativistic_pairing)
    plain = make_gan(penalties=(R1(0.1),), loss=losses.relativistic_pairing)
    augmented = make_gan(
        augmentation=lambda images, keys, strength: images * 2,
        penalties=(R1(0.1),),
        loss=losses.relativistic_pairing,
    )
    state, batch = init(plain, KEY), make_batch(plain)
    first, _ = step(viewing, state, batch)
    assert_close(first, step(plain, state, batch)[0])
    assert_close(step(viewing, first, batch)[0], step(augmented, first, batch)[0])


def test_other_collections_are_averaged_with_the_weights() -> None:
    gan = make_gan(generator=Counting(LinearGenerator()), average_variables=True, ema_half_life=2.0 * BATCH)
    state = init(gan, KEY)
    assert float(state.ema_variables["counts"]["passes"]) == 0
    expected = 0.0
    for passes in (1, 2):
        state, _ = step(gan, state, make_batch(gan))
        expected += (passes - expected) * (1 - 0.5**0.5)
        np.testing.assert_allclose(state.ema_variables["counts"]["passes"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["lazy", "judged", "statistics", "updates"])
def test_what_it_cannot_ask_is_refused(name: str) -> None:
    gan = make_gan()
    object.__setattr__(gan, name, "never")  # past the annotations, which tests check first
    with pytest.raises(UserError, match=rf"{name} is 'never'; expected '"):
        gan.__post_init__()


class LinearStyles(StyledGenerator):
    """Two layers' styles, and images that are linear in each."""

    def setup(self) -> None:
        start = nn.initializers.normal(0.5)
        self.mapped = [self.param(f"map_{layer}", start, (self.latent_size, 3)) for layer in range(2)]
        self.made = [self.param(f"make_{layer}", start, (3, 4)) for layer in range(2)]

    def map(self, latents, condition, mode):
        return jnp.stack([latents @ kernel for kernel in self.mapped], axis=1)

    def synthesize(self, styles, condition, mode):
        images = styles[:, 0] @ self.made[0] + styles[:, 1] @ self.made[1]
        return images.reshape(-1, *self.image_shape)


def test_path_length_is_measured_from_the_styles() -> None:
    """The derivative by a layer's style is its matrix: a length is the root of the mean over layers of |A y|^2."""
    generator = LinearStyles(image_shape=(2, 2, 1), latent_size=3)
    gan = make_gan(generator=generator, generator_terms=(PathLength(every=1, share=1),))
    state, batch = init(gan, KEY), make_batch(gan)
    _, metrics = step(gan, state, batch)
    keys = draws_of(gan, batch, jax.random.fold_in(KEY, 0))[-1].noise.term
    noise = np.stack([np.float64(jax.random.normal(key, (2, 2, 1))) for key in keys]).reshape(BATCH, 4) / 2
    layers = [np.float64(state.generator.params[f"make_{layer}"]) for layer in range(2)]
    lengths = np.sqrt(np.mean([np.sum((noise @ kernel.T) ** 2, axis=1) for kernel in layers], axis=0))
    expected = np.mean((lengths - 0.01 * np.mean(lengths)) ** 2)
    np.testing.assert_allclose(metrics["term/path_length"], expected, rtol=1e-4)
