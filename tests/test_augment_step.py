"""Augmentation in the train step: penalties through it, every way of running the step, and the adaptive strength."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference_ada
from jax.sharding import PartitionSpec
from random_state import random_state
from test_augment_ada import as_draws, random_draw

from ganjax import GAN, R1, R2, Adam, CosineRamp, UserError, augment, example_batch, init, load_config, losses
from ganjax.algorithms.gan import TrainState
from ganjax.algorithms.penalties import Scored
from ganjax.algorithms.step import train_step
from ganjax.augment import Ada, AdaptiveStrength, DiffAugment
from ganjax.models import mlp, r3gan
from ganjax.platform.forms import FORMS, target_forms
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.checkpoint import Checkpoints

KEY = jax.random.key(0)
BATCH = 16
CONFIGS = Path(__file__).parent.parent / "configs"


# --- R1 through the pipe ---


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_r1_through_the_pipe_and_its_gradient(platform):
    """Of the critic a.u + q.u^2 / 2 on u = A x + b: with A and b from the reference, all of it is known in float64."""
    shape, count = (8, 8, 1), 3
    rng = np.random.default_rng(0)
    draws = [random_draw(rng, shape) for _ in range(count)]
    for draw in draws:
        del draw["log2_gains"]
    images, a, q = rng.uniform(-1, 1, (count, *shape)), rng.normal(size=64), rng.normal(size=64)

    norms, gradient_a, gradient_q = np.zeros(count), np.zeros(64), np.zeros(64)
    for index, draw in enumerate(draws):
        start = reference_ada.augment(np.zeros(shape), draw).ravel()
        columns = [reference_ada.augment(basis.reshape(shape), draw).ravel() - start for basis in np.eye(64)]
        matrix = np.stack(columns, axis=1)
        seen = matrix @ images[index].ravel() + start
        gradient = matrix.T @ (a + q * seen)
        norms[index] = gradient @ gradient
        gradient_a += matrix @ gradient / count
        gradient_q += (matrix @ gradient) * seen / count

    @jax.jit
    def penalty(params, images):
        def score(images):
            seen = augment.apply(images, as_draws(draws)).reshape(count, -1)
            return jnp.sum(params["a"][None] * seen + params["q"][None] * seen**2 / 2, axis=1)

        return R1(1.0)(Scored(score, images), Scored(score, images), jax.random.split(KEY, count))

    params = {"a": jnp.asarray(a, jnp.float32), "q": jnp.asarray(q, jnp.float32)}
    with target_forms(FORMS[platform]):
        value, gradients = jax.value_and_grad(penalty)(params, jnp.asarray(images, jnp.float32))
    assert float(value) == pytest.approx(norms.mean() / 2, rel=1e-4)
    for name, expected in {"a": gradient_a, "q": gradient_q}.items():
        error = np.linalg.norm(gradients[name] - expected) / np.linalg.norm(expected)
        assert error < 1e-4, name


def test_penalties_through_the_pipe_with_a_bfloat16_network():
    """The pipe stays in float32, and so does the penalty; only the network is coarse."""
    shape, count = (8, 8, 3), 4
    images = jax.random.uniform(KEY, (count, *shape), minval=-1, maxval=1)
    options: dict[str, Any] = dict(image_shape=shape, hidden=(64, 64))
    params = mlp.Discriminator(**options).init(KEY, images, train=False)
    keys = jax.random.split(KEY, count)

    @functools.partial(jax.jit, static_argnums=0)
    def penalty_and_gradient(dtype, params):
        def score(params, images):
            images = augment.r3gan(images, keys, jnp.float32(0.8))
            assert images.dtype == jnp.float32
            return mlp.Discriminator(**options, dtype=dtype).apply(params, images, train=False)

        def penalty(params):
            return R1(1.0)(Scored(functools.partial(score, params), images), Scored(lambda x: x, images), keys)

        return jax.value_and_grad(penalty)(params)

    (coarse, coarse_gradients), (fine, fine_gradients) = (
        penalty_and_gradient(dtype, params) for dtype in (jnp.bfloat16, jnp.float32)
    )
    assert coarse.dtype == jnp.float32
    assert float(coarse) == pytest.approx(float(fine), rel=0.03)
    norm = optax.tree.norm(fine_gradients)
    assert norm > 0
    assert optax.tree.norm(jax.tree.map(jnp.subtract, coarse_gradients, fine_gradients)) < 0.05 * norm


# --- every way of running the step ---


def make_gan(**settings: Any) -> GAN:
    shape = (8, 8, 3)
    defaults: dict[str, Any] = dict(
        generator=mlp.Generator(shape, latent_size=4, hidden=(8,)),
        discriminator=mlp.Discriminator(shape, hidden=(16,)),
        generator_optimizer=optax.sgd(0.05),
        discriminator_optimizer=optax.sgd(0.05),
        loss=losses.relativistic_pairing,
        penalties=(R1(0.1), R2(0.1)),
        augmentation=dataclasses.replace(augment.r3gan, noise=1),
        augmentation_strength=AdaptiveStrength(every=2, images=100, initial=0.6),
    )
    return GAN(**(defaults | settings))


def local_step(gan: GAN, axis_name: str | None = None) -> Any:
    return lambda state, batch, key: train_step(gan, state, batch, key, axis_name=axis_name)


def run(step: Any, gan: GAN, state: TrainState, place: Any = lambda batch: batch, steps: int = 3) -> tuple:
    metrics = {}
    for _ in range(steps):
        state, metrics = step(state, place(example_batch(gan, BATCH)), KEY)
    return jax.device_get((state, metrics))


def assert_close(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5), actual, expected)


@functools.cache
def step_alone() -> Any:
    """The step of ``make_gan()`` on one device, which several tests take."""
    return jax.jit(local_step(make_gan()))


@pytest.fixture(scope="module")
def solo() -> tuple:
    gan = make_gan()
    return run(step_alone(), gan, random_state(gan))


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_over_a_mesh(solo, platform):
    gan, mesh = make_gan(), data_mesh()
    whole, split = replicated(mesh), batch_sharding(mesh)
    step = jax.jit(local_step(gan), in_shardings=(whole, split, whole), out_shardings=whole)
    with target_forms(FORMS[platform]):
        compiled = step.lower(random_state(gan), example_batch(gan, BATCH), KEY).compile()
    assert "all-gather" not in compiled.as_text()
    place = functools.partial(jax.device_put, device=split)
    state, key = jax.device_put((random_state(gan), KEY), whole)
    end = run(lambda state, batch, _: compiled(state, batch, key), gan, state, place)
    assert_close(end, solo)


def test_under_shard_map_in_microbatches(solo):
    gan, specs = make_gan(num_microbatches=2), (PartitionSpec(), PartitionSpec("data"), PartitionSpec())
    step = jax.shard_map(local_step(gan, "data"), mesh=data_mesh(), in_specs=specs, out_specs=PartitionSpec())
    start = jax.device_put(random_state(gan), replicated(data_mesh()))  # as it comes back: else it compiles twice
    assert_close(run(jax.jit(step), gan, start), solo)


def with_strength(state, strength):
    carried = state.carried["augmentation"].replace(strength=jnp.float32(strength))
    return dataclasses.replace(state, carried={"augmentation": carried})


def test_under_vmap(solo):
    """Two GANs in one program, with strengths of their own."""
    gan = make_gan()
    state = random_state(gan)
    other = with_strength(state, 0.3)
    both = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), state, other)
    step = jax.jit(jax.vmap(local_step(gan), in_axes=(0, None, None)))
    end = run(step, gan, both)
    assert_close(jax.tree.map(lambda leaf: leaf[0], end), solo)
    alone = run(step_alone(), gan, other)
    assert_close(jax.tree.map(lambda leaf: leaf[1], end), alone)


def test_diffaugment_in_the_step():
    gan = make_gan(augmentation=DiffAugment(), augmentation_strength=1.0)
    alone = run(jax.jit(local_step(gan)), gan, random_state(gan), steps=1)
    assert alone[1]["augment/p"] == 1
    specs = PartitionSpec(), PartitionSpec("data"), PartitionSpec()
    spread = jax.shard_map(local_step(gan, "data"), mesh=data_mesh(), in_specs=specs, out_specs=PartitionSpec())
    assert_close(run(jax.jit(spread), gan, random_state(gan), steps=1), alone)
    plain = make_gan(augmentation=None, augmentation_strength=1.0)
    without = run(jax.jit(local_step(plain)), plain, random_state(plain), steps=1)
    assert without[1]["d/real"] != alone[1]["d/real"]
    assert "augment/p" not in without[1]


# --- the strength ---


class Fixed(nn.Module):
    """A critic whose logits on the reals are what the reals are: their first pixel."""

    image_shape: tuple[int, int, int] = (2, 2, 1)
    num_classes: int = 0

    @nn.compact
    def __call__(self, images, labels=None, *, train, keys=None, axis_name=None):
        return images[:, 0, 0, 0] + 0 * self.param("unused", nn.initializers.zeros, (1,))[0]


def fixed_gan(adaptive: AdaptiveStrength) -> GAN:
    return make_gan(
        generator=mlp.Generator((2, 2, 1), latent_size=2, hidden=(2,)),
        discriminator=Fixed(),
        penalties=(),
        augmentation=Ada(),  # an empty pipe: the signs are the images'
        augmentation_strength=adaptive,
    )


def batch_with_signs(gan: GAN, positive: int) -> dict[str, jax.Array]:
    """Of ten reals in each of the iteration's batches, so many are scored above zero."""
    first = np.repeat(np.where(np.arange(10) < positive, 0.5, -0.5), gan.num_batches)
    return {"images": jnp.asarray(np.broadcast_to(first[:, None, None, None], (len(first), 2, 2, 1)), jnp.float32)}


def test_the_controller():
    """Every third iteration, by a tenth: three batches' share of 300 images. Up above the target, else down to zero."""
    adaptive = AdaptiveStrength(target=0.5, every=3, images=300, initial=0.15)
    gan = fixed_gan(adaptive)
    step, state = jax.jit(local_step(gan)), random_state(gan)
    state = dataclasses.replace(state, carried={"augmentation": adaptive.init()})
    # Positive ones of ten; r_t is the mean of three of (2 n - 10) / 10.
    counts = [9, 9, 9] + [7, 8, 7] + [10, 5, 8] + [0] * 9 + [10] * 36
    expected, strength, signs = [], 0.15, []
    for count in counts:
        expected.append(strength)  # what the step used, before its update
        signs.append((2 * count - 10) / 10)
        if len(signs) == 3:
            strength = max(0.0, strength + np.sign(np.mean(signs) - 0.5) * 10 * 3 / 300)
            signs = []
    assert min(expected) == 0.0
    assert max(expected) > 1.0, "it is not clamped above"
    used = []
    for count in counts:
        state, metrics = step(state, batch_with_signs(gan, count), KEY)
        used.append(float(metrics["augment/p"]))
        assert float(metrics["augment/real_sign"]) == pytest.approx((2 * count - 10) / 10, abs=1e-6)
    np.testing.assert_allclose(used, expected, atol=1e-5)


def test_the_strength_matters():
    """A step at another strength is another step."""
    gan = make_gan()
    state, step = random_state(gan), step_alone()
    results = []
    for strength in (0.0, 0.9):
        start = with_strength(state, strength)
        results.append(run(step, gan, start, steps=1)[1])
        assert results[-1]["augment/p"] == np.float32(strength)
    assert results[0]["d/real"] != results[1]["d/real"]
    still = make_gan(augmentation=None, augmentation_strength=1.0)
    without = run(jax.jit(local_step(still)), still, random_state(still), steps=1)[1]
    assert results[0]["d/real"] == pytest.approx(without["d/real"], abs=1e-5)


def test_a_schedule_follows_the_images_seen():
    gan = make_gan(augmentation=DiffAugment("color"), augmentation_strength=CosineRamp(0.0, 0.5, 2 * BATCH))
    step, state = jax.jit(local_step(gan)), random_state(gan)
    assert state.carried == {}
    for expected in (0.0, 0.25, 0.5, 0.5):
        state, metrics = step(state, example_batch(gan, BATCH), KEY)
        assert float(metrics["augment/p"]) == pytest.approx(expected, abs=1e-6)


def test_an_adaptive_run_resumes_bit_for_bit(tmp_path):
    """Saved between two moves of the strength, with a sum under way."""
    gan = make_gan(
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
        augmentation=Ada(brightness=1),
        augmentation_strength=AdaptiveStrength(every=2, images=100, initial=0.2),
    )
    step = jax.jit(local_step(gan))
    state = init(gan, KEY)
    assert state.carried["augmentation"].strength == np.float32(0.2)
    for _ in range(3):
        state, _ = step(state, example_batch(gan, BATCH), KEY)
    assert state.carried["augmentation"].sign_sum != 0
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, state)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: init(gan, KEY)))
    assert restored is not None
    ends = [run(step, gan, start, steps=3) for start in (state, restored[1])]
    assert ends[0][0].carried["augmentation"].strength != np.float32(0.2)
    jax.tree.map(np.testing.assert_array_equal, *ends)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, r"every of an adaptive strength is 0; expected a number at least 1"),
        ({"images": 0}, r"images of an adaptive strength is 0; expected a number above 0"),
        ({"initial": -0.5}, r"initial of an adaptive strength is -0\.5; expected a number at least 0"),
    ],
)
def test_a_wrong_controller_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        AdaptiveStrength(**settings)


def test_an_adaptive_strength_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"adaptive but augmentation is None"):
        make_gan(augmentation=None)


# --- the presets ---

STRENGTHS = {
    "r3gan_cifar10": 0.55,
    "r3gan_ffhq --size 64": 0.3,
    "r3gan_ffhq --size 256": 0.3,
    "r3gan_imagenet --size 32": 0.5,
    "r3gan_imagenet --size 64": 0.4,
}
R3GAN = Ada(
    x_flip=1,
    rotate90=1,
    integer_translation=1,
    scale=1,
    rotation=1,
    stretch=1,
    fractional_translation=1,
    brightness=0.5,
    contrast=0.5,
    luma_flip=0.5,
    hue=0.5,
    saturation=0.5,
    cutout=1,
)


def gan_of(name: str, flags: Sequence[str] = ()) -> GAN:
    gan = load_config(CONFIGS / f"{name}.py", flags).gan
    assert isinstance(gan, GAN)
    return gan


@pytest.mark.parametrize("preset", STRENGTHS)
def test_presets_augment_as_the_paper_does(preset):
    name, *flags = preset.split()
    gan = gan_of(name, flags)
    assert gan.augmentation == R3GAN == augment.r3gan
    assert gan.augmentation_strength == CosineRamp(0.0, STRENGTHS[preset], 200e6 if "imagenet" in name else 20e6)
    assert isinstance(gan.generator, r3gan.Generator)


def test_augmentation_is_a_flag():
    assert gan_of("r3gan_stacked_mnist").augmentation is None
    off = gan_of("r3gan_cifar10", ["--augmentation", "0"])
    assert (off.augmentation, off.augmentation_strength) == (None, 1.0)
    assert gan_of("r3gan_folder").augmentation == R3GAN
    with pytest.raises(UserError, match=r"augmentation is -1\.0; expected"):
        gan_of("r3gan_cifar10", ["--augmentation", "-1"])
    assert gan_of("dcgan_fashion_mnist").augmentation is None
    chosen = gan_of("dcgan_fashion_mnist", ["--augmentation", "diffaugment"])
    assert chosen.augmentation == DiffAugment("color,translation,cutout")
