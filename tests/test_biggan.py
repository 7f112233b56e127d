"""BigGAN, SNGAN and SAGAN: spectral normalisation however a step is spread, sizes, orthogonality, standing ones."""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_state import random_state
from spreading import WAYS, alone, assert_same

from ganjax import GAN, Orthogonality, UserError, example_batch, losses
from ganjax.algorithms.penalties import Scored
from ganjax.algorithms.samples import weights_of
from ganjax.models import biggan, network, resnet
from ganjax.models.layers import Mode
from ganjax.models.normalization import BATCH_STATISTICS, BatchNorm
from ganjax.models.residual import DownBlock, Embedding, Linear, SelfAttention, Settings, UpBlock, convolve_resized
from ganjax.models.spectral import SPECTRAL, spectral_norm
from ganjax.platform.forms import current_forms, target_forms
from ganjax.runs.sampling import Sampler
from ganjax.runs.standing import with_standing_statistics

RNG = np.random.default_rng(0)
SETTINGS = Settings()


class SmallGenerator(network.Generator):
    """What BigGAN's is made of, for 8 x 8 pixels."""

    normalized: bool = True

    def generate(self, latents: Any, condition: Any, mode: Mode) -> Any:
        vector = jnp.concatenate([latents, self.vector(condition)], axis=-1)
        maps = Linear(16 * 8, SETTINGS, name="linear")(latents, mode).reshape(-1, 4, 4, 8)
        if self.normalized:
            maps = UpBlock(8, SETTINGS)(maps, vector, mode)
        else:
            maps = jnp.repeat(jnp.repeat(maps, 2, axis=1), 2, axis=2)
        return jnp.tanh(maps[..., :3])


class SmallDiscriminator(network.Discriminator):
    """What BigGAN's is made of, for 8 x 8 pixels."""

    def judge(self, images: Any, condition: Any, mode: Mode) -> Any:
        maps = DownBlock(8, SETTINGS, 3, first=True)(images, mode)
        pooled = jnp.sum(nn.relu(maps), axis=(1, 2))
        embedded = Embedding(8, SETTINGS, name="embedding")(self.vector(condition), mode)
        return Linear(1, SETTINGS, name="linear")(pooled, mode)[:, 0] + jnp.sum(embedded * pooled, axis=-1)


def make_gan(*, normalized: bool = True, **options: Any) -> GAN:
    shape = {"image_shape": (8, 8, 3), "num_classes": 3}
    settings: dict[str, Any] = {
        "generator": SmallGenerator(**shape, latent_size=4, normalized=normalized),
        "discriminator": SmallDiscriminator(**shape),
        "generator_optimizer": optax.sgd(0.01),
        "discriminator_optimizer": optax.sgd(0.01),
        "loss": losses.hinge,
        "penalties": (Orthogonality(0.01),),
        "generator_terms": (Orthogonality(0.01),),
        "statistics": "both",
        "judged": "together",
        "average_variables": True,
    }
    return GAN(**settings | options)


def state_of(gan: GAN) -> Any:
    """A random one whose spectral vectors are random, too: of ones, some are near to what they come to."""
    state = random_state(gan)

    def drawn(variables: Any) -> Any:
        vectors = jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(size=leaf.shape), jnp.float32), variables[SPECTRAL])
        return {**variables, SPECTRAL: vectors}

    players = {
        name: dataclasses.replace(player, variables=drawn(player.variables)) for name, player in state.players.items()
    }
    carried = {**state.carried, "averaged_variables": players["generator"].variables}
    return dataclasses.replace(state, **players, carried=carried)


# --- spectral normalisation ---


class Kernel(nn.Module):
    options: Any

    @nn.compact
    def __call__(self, train: bool) -> Any:
        kernel = self.param("kernel", nn.initializers.normal(1.0), (2, 3, 5))
        return spectral_norm(self, kernel, Mode(train), **dict(self.options))


@pytest.mark.parametrize("outputs_first", [False, True])
def test_sigma_is_that_of_a_fresh_step_in_every_pass(outputs_first: bool) -> None:
    module = Kernel((("afresh", True), ("outputs_first", outputs_first)))
    variables: Any = module.init(jax.random.key(0), False)
    kernel, u = np.asarray(variables["params"]["kernel"], float), np.asarray(variables[SPECTRAL]["u"], float)
    assert [*variables[SPECTRAL]] == ["u"]
    assert u.shape == ((2,) if outputs_first else (5,))
    matrix = kernel.reshape(2, 15) if outputs_first else kernel.reshape(6, 5).T  # a row for each output
    for train in (True, False, True):
        v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
        after = matrix @ v / np.linalg.norm(matrix @ v)
        normalized, changed = module.apply(variables, train, mutable=[SPECTRAL])
        np.testing.assert_allclose(normalized, kernel / (after @ matrix @ v), rtol=1e-5)
        u = after if train else u
        np.testing.assert_allclose(changed[SPECTRAL]["u"], u, rtol=1e-5, atol=1e-6)
        variables = {**variables, **changed}
    # Nothing but the largest direction is divided by, and the vectors do not move while evaluating.
    variables[SPECTRAL]["u"] = jnp.zeros_like(variables[SPECTRAL]["u"])
    assert not np.isfinite(module.apply(variables, False)).any()


@pytest.fixture(scope="module")
def solo() -> Any:
    gan = make_gan()
    start = state_of(gan)
    batches = [example_batch(gan, 8)] * 2
    return gan, start, batches, alone(gan, start, batches)


@pytest.mark.parametrize("way", ["mesh", "shard_map"])
def test_every_way_of_spreading_does_the_same(way: str, solo: Any) -> None:
    gan, start, batches, expected = solo
    assert_same(WAYS[way](gan, start, batches), expected)


def test_parts_of_a_batch_move_the_vectors_as_the_whole_does() -> None:
    """Without statistics of batches, which are of each part, everything is what it is without parts."""
    gan = make_gan(normalized=False)
    start, batches = state_of(gan), [example_batch(gan, 6)] * 2
    expected, _ = alone(gan, start, batches)
    actual, _ = alone(dataclasses.replace(gan, num_microbatches=3), start, batches)
    assert_same(actual, expected)
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (actual.players, start.players)), strict=True)]
    assert min(moved) > 0


# --- normalisation and attention ---


def test_the_running_variance_may_be_unbiased() -> None:
    features = jnp.asarray(RNG.normal(2, 3, (6, 2)), jnp.float32)
    for unbiased in (False, True):
        module = BatchNorm(unbiased=unbiased)
        variables = module.init(jax.random.key(0), features, Mode(False))
        made, changed = module.apply(variables, features, Mode(True), mutable=[BATCH_STATISTICS])
        variance = np.var(features, axis=0, ddof=int(unbiased))
        np.testing.assert_allclose(changed[BATCH_STATISTICS]["var"], 0.9 + 0.1 * variance, rtol=1e-5)
        np.testing.assert_allclose(np.var(made, axis=0), 1, rtol=1e-4)


def test_derivatives_of_attention_go_through_the_largest_of_their_squares() -> None:
    """Second ones, too, which gradient penalties need."""
    module, maps = SelfAttention(Settings(spectral=False)), jnp.asarray(RNG.normal(size=(1, 2, 4, 8)), jnp.float32)
    variables: Any = module.init(jax.random.key(0), maps, Mode(False))
    variables["params"]["gamma"] = jnp.asarray(0.7)
    function = jax.jit(lambda maps: jnp.sum(jnp.square(module.apply(variables, maps, Mode(False)))))
    slope = jax.jit(lambda maps: jnp.sum(jax.grad(function)(maps) * direction))
    direction = jnp.asarray(RNG.normal(size=maps.shape), jnp.float32)
    for what, tolerance in ((function, 1e-2), (slope, 2e-2)):
        step = 1e-2 * direction
        expected = (what(maps + step) - what(maps - step)) / 2e-2
        np.testing.assert_allclose(jnp.sum(jax.grad(what)(maps) * direction), expected, rtol=tolerance)


def test_attention_in_parts_is_the_same() -> None:
    """In value, and in both derivatives, along maps and weights."""
    module, maps = SelfAttention(Settings(spectral=False)), jnp.asarray(RNG.normal(size=(2, 4, 6, 8)), jnp.float32)
    variables: Any = module.init(jax.random.key(0), maps, Mode(False))
    variables["params"]["gamma"] = jnp.asarray(0.7)

    def numbers(parts: int) -> Any:
        def loss(variables: Any, maps: Any) -> Any:
            with target_forms(dataclasses.replace(current_forms(), attention_parts=parts)):
                return jnp.sum(jnp.tanh(module.apply(variables, maps, Mode(False))))

        def slope(variables: Any, maps: Any) -> Any:
            return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(jax.grad(loss, (0, 1))(variables, maps)))

        def all_of(*given: Any) -> Any:
            return loss(*given), jax.grad(loss, (0, 1))(*given), jax.grad(slope, (0, 1))(*given)

        return jax.jit(all_of)(variables, maps)

    for one, other in zip(*(jax.tree.leaves(numbers(parts)) for parts in (8, 1)), strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other) + 1e-7


@pytest.mark.parametrize("resize", ["double", "halve"])
def test_a_convolution_merged_with_a_change_of_size_is_the_same(resize: Any) -> None:
    """In value, and in both derivatives, along maps and kernel."""
    maps, kernel, direction = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in SHAPES)

    def numbers(form: Any) -> Any:
        def loss(maps: Any, kernel: Any) -> Any:
            with target_forms(dataclasses.replace(current_forms(), resized=form)):
                return jnp.sum(jnp.tanh(convolve_resized(maps, kernel, resize)))

        def slope(maps: Any, kernel: Any) -> Any:
            first, second = jax.grad(loss, (0, 1))(maps, kernel)
            return jnp.sum(jnp.square(first) * direction) + jnp.sum(jnp.square(second))

        return jax.jit(lambda *given: (loss(*given), jax.grad(loss, (0, 1))(*given), jax.grad(slope, (0, 1))(*given)))

    for one, other in zip(*(jax.tree.leaves(numbers(form)(maps, kernel)) for form in ("merged", "apart")), strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)


SHAPES = ((2, 4, 6, 3), (3, 3, 3, 5), (2, 4, 6, 3))


# --- sizes ---


def count(module: Any) -> int:
    first = jnp.zeros((1, module.latent_size) if hasattr(module, "latent_size") else (1, *module.image_shape))
    labels = jnp.zeros((1,), jnp.int32) if module.num_classes else None
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), first, labels, train=False))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def test_numbers_of_parameters_are_the_official_codes() -> None:
    large: dict[str, Any] = dict(image_shape=(128, 128, 3), num_classes=1000, attention=(64,))
    assert count(biggan.Generator(**large)) == 70_433_988
    assert count(biggan.Discriminator(**large)) == 87_982_370
    assert count(biggan.DeepGenerator(**large)) == 50_244_484
    assert count(biggan.DeepDiscriminator(**large)) == 34_590_210


@pytest.mark.parametrize("size", [(512, 512), (64, 96)])
def test_every_size_has_all_networks(size: tuple[int, int]) -> None:
    shape: dict[str, Any] = dict(image_shape=(*size, 3), features=2)
    chunks = len(biggan.Generator(**shape, hierarchical=False).widths) + 1
    for generator in (
        biggan.Generator(**shape, num_classes=2, num_attributes=3, latent_size=2 * chunks),
        biggan.Generator(**shape, latent_size=2 * chunks),
        biggan.DeepGenerator(**shape, latent_size=3),
        resnet.Generator(**shape, input_shape=(*size, 1), latent_size=3),
    ):
        condition = network.Condition(
            labels=jnp.zeros((1,), jnp.int32) if generator.num_classes else None,
            attributes=jnp.zeros((1, 3)) if generator.num_attributes else None,
            inputs=jnp.zeros((1, *size, 1)) if generator.input_shape else None,
        )
        latents = jnp.zeros((1, generator.latent_size))
        made = jax.eval_shape(
            functools.partial(generator.init_with_output, train=True), jax.random.key(0), latents, condition
        )[0]
        assert (made.shape, made.dtype) == ((1, *size, 3), jnp.float32)
    for discriminator in (
        biggan.Discriminator(**shape, dtype=jnp.bfloat16),
        biggan.DeepDiscriminator(**shape),
        resnet.Discriminator(**shape, thin=True),
    ):
        images = jnp.zeros((1, *size, 3))
        logits = jax.eval_shape(
            functools.partial(discriminator.init_with_output, train=True), jax.random.key(0), images
        )[0]
        assert (logits.shape, logits.dtype) == ((1,), jnp.float32)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="Generator cannot have images of 48 x 48: the shorter side is to be 32"):
        resnet.Generator(image_shape=(48, 48, 3))
    with pytest.raises(
        UserError, match="attention is to follow maps of 64 pixels; the network's blocks make maps of 8"
    ):
        biggan.Generator(image_shape=(32, 32, 3), attention=(64,))
    with pytest.raises(
        UserError, match=r"latent_size is 128, and hierarchical .* 6 chunks; give a multiple of it, .* 126"
    ):
        biggan.Generator(image_shape=(128, 128, 3), latent_size=128)
    with pytest.raises(UserError, match="initializer is 'ortho'; expected one of orthogonal, xavier, normal"):
        resnet.Discriminator(image_shape=(32, 32, 3), initializer="ortho")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        UserError, match="hierarchical latents go into norms beside a shared embedding, and shared_size is 0"
    ):
        biggan.Generator(image_shape=(32, 32, 3), num_classes=2, shared_size=0)


# --- orthogonality ---


def test_orthogonality_counts_rows_of_outputs() -> None:
    kernel, table = RNG.normal(size=(3, 3, 2, 4)), RNG.normal(size=(5, 2))
    params = {
        "block": {"kernel": kernel, "bias": np.ones(4)},
        "embedding": {"embedding": table},
        "shared": {"embedding": np.ones((5, 2))},
        "gamma": np.ones(()),
    }
    nothing: Any = None
    given = Scored(nothing, nothing, parameters=jax.tree.map(lambda it: jnp.asarray(it, jnp.float32), params))
    rows = [kernel.reshape(-1, 4).T, table]
    products = [it @ it.T * (1 - np.eye(len(it))) for it in rows]
    term = Orthogonality()
    np.testing.assert_allclose(term(given), sum(np.sum(it**2) for it in products) / 2, rtol=1e-5)
    slope: Any = jax.grad(lambda params: term(given._replace(parameters=params)))(given.parameters)
    expected = 2 * products[0] @ rows[0]  # what the official code adds to gradients
    np.testing.assert_allclose(slope["block"]["kernel"].reshape(-1, 4).T, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope["embedding"]["embedding"], 2 * products[1] @ table, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(slope["shared"]["embedding"], 0)


# --- standing statistics ---


class NormOfLatents(network.Generator):
    """Its latents, normalised."""

    def generate(self, latents: Any, condition: Any, mode: Mode) -> Any:
        maps = BatchNorm(name="norm")(latents, mode)
        return jnp.broadcast_to(maps[:, :1, None, None], (len(maps), *self.image_shape))


@pytest.mark.parametrize(
    ("truncation", "mode", "variance"), [(None, "scale", 1.0), (0.5, "scale", 0.25), (1.0, "resample", 0.2911)]
)
def test_standing_statistics_are_of_the_latents_asked_for(truncation: Any, mode: Any, variance: float) -> None:
    gan = make_gan()
    generator = NormOfLatents((8, 8, 3), latent_size=500, num_classes=3)
    gan = dataclasses.replace(gan, generator=generator)
    state = random_state(gan)
    sampler = Sampler(gan, truncation=truncation, truncation_mode=mode, standing=5)
    for weights in ("ema", "live"):
        found = weights_of(with_standing_statistics(dataclasses.replace(sampler, weights=weights), state), weights)
        statistics = found[BATCH_STATISTICS]["norm"]
        # The variance of 64 numbers, divided by 64, is too small by that share.
        assert np.mean(statistics["var"]) == pytest.approx(variance * 63 / 64, rel=0.01)
        assert np.std(statistics["mean"]) == pytest.approx(math.sqrt(variance / 320), rel=0.1)
    assert with_standing_statistics(dataclasses.replace(sampler, standing=None), state) is state
