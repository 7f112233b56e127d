"""R3GAN against an independent statement of it in PyTorch: networks, gradients, penalties and whole iterations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is written in PyTorch")

import torch_r3gan as reference  # noqa: E402

from ganjax import losses  # noqa: E402
from ganjax.algorithms import gan as algorithm  # noqa: E402
from ganjax.algorithms import gan_step  # noqa: E402
from ganjax.algorithms.optimizers import Adam  # noqa: E402
from ganjax.algorithms.penalties import R1, R2  # noqa: E402
from ganjax.algorithms.samples import draw_latents  # noqa: E402
from ganjax.algorithms.step import train_step  # noqa: E402
from ganjax.ground.schedules import CosineRamp  # noqa: E402
from ganjax.models import r3gan  # noqa: E402

pytestmark = pytest.mark.parity

SIZE, GROUP_SIZE, CHANNELS, LATENTS, BATCH = 8, 8, 3, 10, 4


@pytest.fixture(autouse=True)
def _highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


def widths(num_classes: int) -> tuple[int, int]:
    """With and without a change of width between the stages."""
    return (16, 8) if num_classes else (8, 8)


def networks(num_classes: int) -> tuple[r3gan.Generator, r3gan.Discriminator]:
    options: dict[str, Any] = dict(
        image_shape=(SIZE, SIZE, CHANNELS), num_classes=num_classes, widths=widths(num_classes), group_size=GROUP_SIZE
    )
    return r3gan.Generator(**options, latent_size=LATENTS), r3gan.Discriminator(**options)


def references(num_classes: int) -> tuple[reference.Generator, reference.Discriminator]:
    return (
        reference.Generator(widths(num_classes), GROUP_SIZE, CHANNELS, LATENTS, num_classes),
        reference.Discriminator(widths(num_classes), GROUP_SIZE, CHANNELS, num_classes),
    )


def random_params(network, seed: int, inputs, labels) -> dict[str, Any]:
    """Random parameters: an initialisation has zeros, which hide what they multiply, and compiles slowly."""
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), inputs, labels, train=False)["params"])
    rng = np.random.default_rng(seed)

    def draw(leaf):
        fan_in = np.float32(np.prod(leaf.shape[:-1]) + 1)
        return jnp.asarray(rng.standard_normal(leaf.shape, np.float32) / np.sqrt(fan_in))

    return jax.tree.map(draw, shapes)


def as_torch(params) -> dict[str, torch.Tensor]:
    """Parameters (or their gradients) under the reference's names and in its layouts."""
    named: dict[str, np.ndarray] = {}
    for name, value in params.items():
        if name.startswith("block_"):
            _, size, index = name.split("_")
            prefix = f"stages.{int(size.split('x')[0]).bit_length() - 3}.{index}"
            named[f"{prefix}.w1.weight"] = np.asarray(value["expand"]).T[:, :, None, None]
            named[f"{prefix}.b1"] = np.asarray(value["expand_bias"])
            named[f"{prefix}.gc.weight"] = np.asarray(value["grouped"]).transpose(3, 2, 0, 1)
            named[f"{prefix}.b2"] = np.asarray(value["grouped_bias"])
            named[f"{prefix}.w3.weight"] = np.asarray(value["contract"]).T[:, :, None, None]
        elif name.startswith("transition_"):
            stage = int(name.split("_")[1].split("x")[0]).bit_length() - 3
            named[f"transitions.{stage - 1}.weight"] = np.asarray(value).T[:, :, None, None]
        elif name in ("input", "output"):
            named[f"{name}.weight"] = np.asarray(value).T[:, :, None, None]
        elif name == "basis":
            named[name] = np.asarray(value).transpose(2, 0, 1)
        elif name == "depthwise":
            named[f"{name}.weight"] = np.asarray(value).transpose(2, 0, 1)[:, None]
        else:
            named[f"{name}.weight"] = np.asarray(value).T
    return {name: torch.tensor(value.copy()) for name, value in named.items()}


def nchw(images) -> torch.Tensor:
    return torch.tensor(np.asarray(images).transpose(0, 3, 1, 2).copy())


def assert_close(actual, expected, tolerance: float, name: str = "") -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, name
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name)


def assert_gradients_close(gradients, network: torch.nn.Module, expected, tolerance: float) -> None:
    actual = as_torch(gradients)
    names = [name for name, _ in network.named_parameters()]
    assert set(actual) == set(names)
    for name, value in zip(names, expected, strict=True):
        if np.abs(np.asarray(value)).max() > 0:
            assert_close(actual[name], value, tolerance, name)
        else:
            assert not np.any(actual[name].numpy()), name


def data(num_classes: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((BATCH, LATENTS), np.float32)
    reals = rng.standard_normal((BATCH, SIZE, SIZE, CHANNELS), np.float32)
    labels = rng.integers(0, num_classes, BATCH, np.int32) if num_classes else None
    return jnp.asarray(latents), jnp.asarray(reals), None if labels is None else jnp.asarray(labels)


def torch_labels(labels) -> torch.Tensor | None:
    return None if labels is None else torch.tensor(np.asarray(labels), dtype=torch.int64)


@pytest.mark.parametrize("num_classes", [0, 5])
def test_networks_and_their_gradients(num_classes):
    latents, reals, labels = data(num_classes)
    weights = np.random.default_rng(1).standard_normal((BATCH, SIZE, SIZE, CHANNELS)).astype(np.float32)
    cases = zip(networks(num_classes), references(num_classes), (latents, reals), strict=True)
    for index, (network, twin, inputs) in enumerate(cases):
        params = random_params(network, index, inputs, labels)
        twin.load_state_dict(as_torch(params))
        is_generator = index == 0
        weight = weights if is_generator else weights[:, 0, 0, 0]

        def total(params, network=network, inputs=inputs, weight=weight):
            outputs = network.apply({"params": params}, inputs, labels, train=True)
            return jnp.sum(jnp.asarray(weight) * outputs), outputs

        gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(params)
        expected = twin(torch.tensor(np.asarray(inputs)) if is_generator else nchw(inputs), torch_labels(labels))
        torch_weight = nchw(weight) if is_generator else torch.tensor(weight)
        expected_gradients = torch.autograd.grad((torch_weight * expected).sum(), list(twin.parameters()))
        assert_close(nchw(outputs) if is_generator else outputs, expected.detach(), 1e-5)
        assert_gradients_close(gradients, twin, expected_gradients, 1e-4)


@pytest.mark.parametrize("num_classes", [0, 5])
def test_the_critics_loss_and_its_second_order_gradients(num_classes):
    _, reals, labels = data(num_classes)
    _, fakes, _ = data(num_classes, seed=1)
    _, network = networks(num_classes)
    _, twin = references(num_classes)
    params = random_params(network, 1, reals, labels)
    twin.load_state_dict(as_torch(params))
    gamma = 3.0

    def penalty(params, images):
        def total(images):
            return jnp.sum(network.apply({"params": params}, images, labels, train=True))

        return jnp.mean(jnp.sum(jnp.square(jax.grad(total)(images)), axis=(1, 2, 3)))

    def loss(params):
        real, fake = (network.apply({"params": params}, images, labels, train=True) for images in (reals, fakes))
        return jnp.mean(jax.nn.softplus(fake - real)) + gamma / 2 * (penalty(params, reals) + penalty(params, fakes))

    for function, expected in [
        (penalty, reference.squared_gradient_norm(twin, nchw(reals), torch_labels(labels)).mean()),
        (
            lambda params, _: loss(params),
            reference.critic_loss(twin, nchw(reals), nchw(fakes), torch_labels(labels), gamma),
        ),
    ]:
        value, gradients = jax.jit(jax.value_and_grad(function))(params, reals)
        expected_gradients = torch.autograd.grad(
            expected, list(twin.parameters()), allow_unused=True, materialize_grads=True
        )
        assert_close(value, expected.detach(), 1e-5)
        assert_gradients_close(gradients, twin, expected_gradients, 1e-4)


@pytest.mark.parametrize("num_classes", [0, 5])
def test_five_iterations(num_classes):
    generator, discriminator = networks(num_classes)
    burn_in = 10.0  # images: the schedules end within the test
    ramps = {"gamma": (2.0, 0.2), "learning_rate": (2e-3, 5e-4), "beta2": (0.9, 0.99), "half_life": (0.0, 8.0)}
    schedules = {name: CosineRamp(start, end, burn_in) for name, (start, end) in ramps.items()}
    optimizer = Adam(learning_rate=schedules["learning_rate"], b1=0.0, b2=schedules["beta2"])
    gan = algorithm.GAN(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        loss=losses.relativistic_pairing,
        penalties=(R1(schedules["gamma"]), R2(schedules["gamma"])),
        ema_half_life=schedules["half_life"],
    )
    key = jax.random.key(7)
    latents, reals, labels = data(num_classes)
    params = random_params(generator, 0, latents, labels), random_params(discriminator, 1, reals, labels)
    players = [algorithm.Player(params=values, variables={}, opt_state=optimizer.init(values)) for values in params]
    state = algorithm.TrainState(
        step=jnp.zeros((), jnp.int32), generator=players[0], discriminator=players[1], ema_params=params[0]
    )
    twins = references(num_classes)
    for twin, values in zip(twins, params, strict=True):
        twin.load_state_dict(as_torch(values))
    trainer = reference.Trainer(
        *twins, burn_in=burn_in, **{name: reference.Ramp(*ends) for name, ends in ramps.items()}
    )

    rng = np.random.default_rng(3)
    step = jax.jit(train_step, static_argnums=0)

    @jax.jit
    def latents_of(batch, key):
        return [draw_latents(gan, draw.noise.latents) for draw in gan_step._draw(gan, batch, key, None)]

    for iteration in range(5):
        batch = {"images": jnp.asarray(rng.standard_normal((2 * BATCH, SIZE, SIZE, CHANNELS), np.float32))}
        if num_classes:
            batch["labels"] = jnp.asarray(rng.integers(0, num_classes, 2 * BATCH, np.int32))
        draws = []
        for player, drawn in enumerate(latents_of(batch, jax.random.fold_in(key, iteration))):
            rows = slice(player, None, 2)  # the two players' batches are interleaved
            labels = torch_labels(batch["labels"][rows]) if num_classes else None
            draws.append((nchw(batch["images"][rows]), torch.tensor(np.asarray(drawn)), labels))
        state, metrics = step(gan, state, batch, key)
        trainer.update(*draws)
        assert np.isfinite(metrics["d/loss"])

    for name, ours, theirs, initial in [
        ("generator", state.generator.params, trainer.generator, params[0]),
        ("critic", state.discriminator.params, trainer.critic, params[1]),
        ("average", state.ema_params, trainer.average, params[0]),
    ]:
        actual, before = as_torch(ours), as_torch(initial)
        # The relative L2 norm over the whole network: without momentum Adam's first step is the sign of the gradient,
        # which amplifies what rounding leaves of a gradient that is almost zero.
        differences, changes = [], []
        for parameter, expected in theirs.named_parameters():
            differences.append((actual[parameter] - expected.detach()).flatten())
            changes.append((expected.detach() - before[parameter]).flatten())
        relative = torch.cat(differences).norm() / torch.cat(changes).norm()
        assert relative < 1e-3, (name, relative)
