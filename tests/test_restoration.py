"""The networks of Real-ESRGAN and their kin: statements in NumPy, sizes of the papers, and how they are run."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_state import random_params, random_state

from ganjax import GAN, Adam, Condition, RealDistance, UserError, example_batch, losses, train_step
from ganjax.augment.inputs import Smaller
from ganjax.models import restoration
from ganjax.models.condition import example_condition
from ganjax.models.layers import Mode
from ganjax.models.rdn import RDN
from ganjax.models.restoration import SRVGG, Convolution, RRDBNet, UNetDiscriminator, small_normal
from ganjax.models.row_pairs import count_strips
from ganjax.models.spectral import SPECTRAL, spectral_norm
from ganjax.platform.forms import FORMS, target_forms
from ganjax.platform.sharding import mesh_over

RNG = np.random.default_rng(0)


def sized(scale: int, size: int = 8, channels: int = 3) -> dict[str, Any]:
    large = (size * scale, size * scale, channels)
    return {"image_shape": large, "input_shape": (size, size, channels)}


def small(kind: str, scale: int = 2, **options: Any) -> Any:
    """A small network, on inputs of 8 x 8."""
    sizes = {
        "rrdb": (RRDBNet, {"features": 8, "num_blocks": 2, "growth": 4}),
        "srvgg": (SRVGG, {"features": 8, "num_blocks": 2}),
        "rdn": (RDN, {"features": 8, "num_blocks": 2, "num_layers": 2, "growth": 4}),
    }
    family, settings = sizes[kind]
    return family(**sized(scale), **settings, **options)


KINDS = ["rrdb", "srvgg", "rdn"]


def params_of(network: Any) -> Any:
    condition, latents = example_condition(network, 1), jnp.zeros((1, network.latent_size))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), latents, condition, train=False))["params"]
    return random_params(shapes, np.random.default_rng(1))


def images_of(*size: int, channels: int = 3) -> np.ndarray:
    return RNG.uniform(-1, 1, (2, *size, channels)).astype(np.float32)


def run(network: Any, params: Any, inputs: np.ndarray) -> np.ndarray:
    condition = Condition(inputs=jnp.asarray(inputs))
    apply = jax.jit(lambda params: network.apply({"params": params}, jnp.zeros((2, 0)), condition, train=False))
    return np.asarray(apply(params))


# --- sizes ---


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (RRDBNet(**sized(4)), 16_697_987),
        (RRDBNet(**sized(4), num_blocks=6), 4_467_779),
        (SRVGG(**sized(4)), 621_424),
        (UNetDiscriminator((8, 8, 3)), 4_376_897),
        (RDN(**sized(2)), 222_075),
        (RDN(**sized(4)), 233_451),
    ],
)
def test_the_published_sizes(network, count):
    condition = Condition(inputs=jnp.zeros((1, 8, 8, 3))) if network.input_shape else None
    first = jnp.zeros((1, 8, 8, 3) if isinstance(network, UNetDiscriminator) else (1, 0))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), first, condition, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == count
    vectors = shapes.get(SPECTRAL, {})
    assert len(vectors) == (8 if isinstance(network, UNetDiscriminator) else 0)


def test_initial_weights_are_those_of_the_authors():
    bound, maps = 1 / np.sqrt(9 * 32), jnp.zeros((1, 4, 4, 32))
    plain, dense = (
        Convolution(64, jnp.float32, weights).init(jax.random.key(0), maps)["params"]
        for weights in (None, small_normal)
    )
    assert np.std(dense["kernel"]) == pytest.approx(0.1 * np.sqrt(2) * bound, rel=0.02)
    np.testing.assert_array_equal(dense["bias"], 0)
    for array in plain.values():
        assert 0.9 * bound < np.abs(array).max() <= bound
        assert np.std(array) == pytest.approx(bound / np.sqrt(3), rel=0.1)
    small_ones = set()

    def note(next_function, args, kwargs, context):
        if isinstance(context.module, Convolution):
            small_ones.add((context.module.name, context.module.weights is not None))
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        params_of(small("rrdb"))
    inner = {(f"dense_{part}_{layer}", True) for part in range(3) for layer in range(5)}
    assert small_ones == inner | {(name, False) for name in ("first", "trunk", "up_0", "up_1", "detail", "last")}


# --- what they say ---


def convolved(maps: np.ndarray, layer: Any) -> np.ndarray:
    """3 x 3 and the like, with zeros around: the sum over shifts, in float64."""
    kernel = np.asarray(layer["kernel"], float)
    reach = kernel.shape[0] // 2
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = maps.shape[1:3]
    total: Any = np.asarray(layer.get("bias", 0), float)
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            total = total + padded[:, row : row + height, column : column + width] @ kernel[row, column]
    return total


def leaky(maps: np.ndarray) -> np.ndarray:
    return np.where(maps > 0, maps, 0.2 * maps)


def repeated(maps: np.ndarray, factor: int) -> np.ndarray:
    return maps.repeat(factor, 1).repeat(factor, 2)


def squares(maps: np.ndarray, factor: int) -> np.ndarray:
    """Channel (c, row, column), colour slowest, of each square of pixels."""
    return np.concatenate(
        [
            maps[:, row::factor, column::factor, c : c + 1]
            for c in range(maps.shape[-1])
            for row in range(factor)
            for column in range(factor)
        ],
        axis=-1,
    )


@pytest.mark.parametrize("scale", [4, 2, 1])
def test_rrdbnet_is_its_statement(scale):
    network = small("rrdb", scale)
    params, inputs = params_of(network), images_of(8, 12)
    maps = first = convolved(squares((inputs.astype(float) + 1) / 2, 4 // scale), params["first"])
    for block in range(2):
        layers = jax.tree.map(lambda leaf, block=block: leaf[block], params["blocks"])
        change = maps
        for part in range(3):
            grown = change
            for layer in range(4):
                grown = np.concatenate([grown, leaky(convolved(grown, layers[f"dense_{part}_{layer}"]))], axis=-1)
            change = change + 0.2 * convolved(grown, layers[f"dense_{part}_4"])
        maps = maps + 0.2 * change
    maps = first + convolved(maps, params["trunk"])
    for stage in range(2):
        maps = leaky(convolved(repeated(maps, 2), params[f"up_{stage}"]))
    expected = 2 * convolved(leaky(convolved(maps, params["detail"])), params["last"]) - 1
    found = run(network, params, inputs)
    assert found.shape == (2, 8 * scale, 12 * scale, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize(
    ("family", "batch", "height", "width", "scale"),
    [
        (RRDBNet, 1, 32, 4, 4),  # eight strips
        (RRDBNet, 1, 4, 32, 4),  # the same, of columns
        (RRDBNet, 2, 32, 4, 2),  # four strips each, of 16 rows
        (RRDBNet, 8, 4, 6, 4),  # no strips
        (RRDBNet, 32, 4, 6, 4),  # the same, and on each of two devices in two groups
        (RRDBNet, 1, 5, 4, 4),  # nothing that can be cut
        (SRVGG, 1, 32, 5, 2),
        (SRVGG, 1, 4, 32, 3),
    ],
)
def test_pairs_of_rows_are_the_plain_form(family, batch, height, width, scale):
    sizes = {"image_shape": (height * scale, width * scale, 3), "input_shape": (height, width, 3)}
    network = family(**sizes, features=8, num_blocks=1, **({"growth": 4} if family is RRDBNet else {}))
    params = params_of(network)
    inputs = jnp.asarray(RNG.uniform(-1, 1, (batch, height, width, 3)), jnp.float32)

    def all_of(form: Any) -> Any:
        def images(params, inputs):
            with target_forms(dataclasses.replace(FORMS["cpu"], dense=form)):
                return network.apply(
                    {"params": params}, jnp.zeros((len(inputs), 0)), Condition(inputs=inputs), train=False
                )

        def loss(params, inputs):
            return jnp.sum(jnp.sin(spread(params, inputs)))

        def results(*given):  # a derivative is JAX's of what is compared: of one cut of each network is enough
            return spread(*given), jax.grad(loss, (0, 1))(*given) if (batch, height) in ((1, 32), (32, 4)) else ()

        two, rows = mesh_over(jax.devices()[:2]), jax.P("data")
        spread = images
        if batch == 32:
            spread = jax.shard_map(images, mesh=two, in_specs=(jax.P(), rows), out_specs=rows)
        return jax.jit(results)(params, inputs)

    found, expected = all_of("row_pairs"), all_of("plain")
    for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5 * np.abs(e).max())


def test_pictures_are_cut_into_eight_strips_in_all_or_not():
    cut = [count_strips(batch, 256) for batch in (1, 2, 3, 4, 6, 8, 12)]
    assert cut == [8, 4, 8, 2, 4, 1, 1]
    assert [count_strips(1, height) for height in (16, 32, 40, 48)] == [None, 8, None, 8]


@pytest.mark.parametrize(("scale", "shuffle"), [(1, None), (2, None), (3, None), (4, None), (2, 4), (3, 4)])
def test_srvgg_is_its_statement(scale, shuffle):
    network = small("srvgg", scale, shuffle=shuffle)
    params, inputs = params_of(network), images_of(8, 12)
    maps = images = (inputs.astype(float) + 1) / 2
    for layer in range(3):
        maps = convolved(maps, params[f"layer_{layer}"])
        maps = np.where(maps > 0, maps, np.asarray(params[f"slopes_{layer}"]) * maps)
    maps, factor = convolved(maps, params["last"]), shuffle or scale
    outputs = repeated(images, factor)
    for row in range(factor):
        for column in range(factor):
            outputs[:, row::factor, column::factor] += maps[..., factor * row + column :: factor**2]
    if shuffle:
        outputs = np.stack([bicubic(bicubic(each, 0, scale / shuffle), 1, scale / shuffle) for each in outputs])
    found = run(network, params, inputs)
    assert found.shape == (2, 8 * scale, 12 * scale, 3)
    np.testing.assert_allclose(found, 2 * outputs - 1, rtol=0, atol=1e-4 * np.ptp(outputs))


def bicubic(image: np.ndarray, axis: int, factor: float) -> np.ndarray:
    """Each number of the result by itself: Keys' kernel of a = -0.75 at half-pixel centres, edges repeated."""
    image = np.moveaxis(image, axis, 0)
    rows = []
    for index in range(round(len(image) * factor)):
        place, total = (index + 0.5) / factor - 0.5, np.zeros(image.shape[1:])
        for other in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            t, a = abs(place - other), -0.75
            weight = (a + 2) * t**3 - (a + 3) * t**2 + 1 if t < 1 else a * (t**3 - 5 * t**2 + 8 * t - 4)
            total += weight * image[min(max(other, 0), len(image) - 1)]
        rows.append(total)
    return np.moveaxis(np.stack(rows), 0, axis)


def test_rdn_is_its_statement():
    network = small("rdn", 3)
    params, inputs = params_of(network), images_of(8, 12)
    first = convolved(127.5 * (inputs.astype(float) + 1), params["first"])
    maps, blocks = convolved(first, params["second"]), []
    for block in range(2):
        grown = maps
        for layer in range(2):
            new = np.maximum(convolved(grown, params[f"block_{block}_{layer}"]), 0)
            grown = np.concatenate([grown, new], axis=-1)
        maps = maps + convolved(grown, params[f"block_{block}_fusion"])
        blocks.append(maps)
    maps = first + convolved(convolved(np.concatenate(blocks, -1), params["fusion"]), params["trunk"])
    for stage in range(2):
        maps = np.maximum(convolved(maps, params[f"up_{stage}"]), 0)
    expected = convolved(repeated(convolved(maps, params["up_2"]), 3), params["last"]) / 127.5 - 1
    found = run(network, params, inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.ptp(expected))


def test_pixels_are_shuffled_and_back():
    maps = jnp.asarray(images_of(4, 6, channels=12))
    shuffled = restoration.pixel_shuffle(maps, 2)
    assert shuffled.shape == (2, 8, 12, 3)
    np.testing.assert_array_equal(restoration.pixel_unshuffle(shuffled, 2), maps)
    np.testing.assert_array_equal(squares(np.asarray(shuffled), 2), maps)


@pytest.mark.parametrize("scale", [1, 2])
def test_sizes_that_do_not_fit_are_filled_up_by_reflection(scale):
    network = small("rrdb", scale)
    params, inputs = params_of(network), images_of(7, 9)
    multiple = 4 // scale
    filled = np.pad(inputs, ((0, 0), (0, -7 % multiple), (0, -9 % multiple), (0, 0)), mode="reflect")
    expected = run(network, params, filled)[:, : 7 * scale, : 9 * scale]
    np.testing.assert_allclose(run(network, params, inputs), expected, rtol=0, atol=1e-5)
    assert run(network, params, images_of(1, 2)).shape == (2, scale, 2 * scale, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_beside_the_image(kind):
    network = small(kind, latent_size=2, num_classes=3)
    params, inputs = params_of(network), jnp.asarray(images_of(8, 8))
    condition = Condition(labels=jnp.array([0, 2], jnp.int32), inputs=inputs)
    apply = jax.jit(lambda latents: network.apply({"params": params}, latents, condition, train=False))
    found = apply(jnp.ones((2, 2)))
    assert found.shape == (2, 16, 16, 3)
    assert not np.allclose(found, apply(jnp.zeros((2, 2))))


def test_bfloat16_is_close():
    network = small("srvgg", 4)
    params, inputs = params_of(network), images_of(8, 8)
    exact, brief = run(network, params, inputs), run(network.clone(dtype=jnp.bfloat16), params, inputs)
    assert brief.dtype == np.float32
    assert 0 < np.abs(brief - exact).max() < 0.03 * np.ptp(exact)


# --- the discriminator ---


def normalized(kernel: np.ndarray, u: np.ndarray, v: np.ndarray, steps: int) -> tuple[np.ndarray, ...]:
    """The kernel divided by its norm after so many steps, and the vectors then."""
    matrix = np.asarray(kernel, float).reshape(-1, kernel.shape[-1])
    for _ in range(steps):
        v = matrix @ u / np.linalg.norm(matrix @ u)
        u = matrix.T @ v / np.linalg.norm(matrix.T @ v)
    return np.asarray(kernel, float) / (v @ matrix @ u), u, v


def test_the_discriminator_is_its_statement_over_three_steps():
    network = UNetDiscriminator((16, 8, 3), features=4)
    images = jnp.asarray(images_of(16, 8))
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    params, vectors = (random_params(variables[name], np.random.default_rng(2)) for name in ("params", SPECTRAL))

    train = jax.jit(
        lambda state: network.apply({"params": params, SPECTRAL: state}, images, train=True, mutable=[SPECTRAL])
    )
    state = vectors
    for step in (1, 2, 3):
        logits, changed = train(state)
        state = changed[SPECTRAL]
        np.testing.assert_allclose(logits, judged(params, vectors, np.asarray(images), step), rtol=0, atol=1e-4)
    used = jax.jit(lambda: network.apply({"params": params, SPECTRAL: state}, images, train=False))()
    np.testing.assert_allclose(used, judged(params, vectors, np.asarray(images), 3), rtol=0, atol=1e-4)
    for name, layer in vectors.items():
        _, u, v = normalized(params[name]["kernel"], np.asarray(layer["u"]), np.asarray(layer["v"]), 3)
        np.testing.assert_allclose(state[name]["u"], u, atol=1e-5)
        np.testing.assert_allclose(state[name]["v"], v, atol=1e-5)


def test_the_discriminator_is_the_same_in_all_forms():
    network = UNetDiscriminator((16, 24, 3), features=2)
    images = jax.random.uniform(jax.random.key(1), (2, 16, 24, 3), minval=-1)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    variables = {name: random_params(shapes[name], np.random.default_rng(2)) for name in ("params", SPECTRAL)}

    def all_of(platform: str) -> Any:
        def wave(images):
            logits = network.apply(variables, images, train=False)
            return jnp.sum(jnp.square(logits)), logits

        def steep(images):
            slopes, logits = jax.grad(wave, has_aux=True)(images)
            return jnp.sum(jnp.square(slopes)), (slopes, logits)

        with target_forms(FORMS[platform]):
            return jax.jit(jax.grad(steep, has_aux=True))(images)

    expected = jax.tree.leaves(all_of("cpu"))
    for one, other in zip(jax.tree.leaves(all_of("tpu")), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def judged(params: Any, vectors: Any, images: np.ndarray, steps: int) -> np.ndarray:
    def layer(name: str, maps: np.ndarray) -> np.ndarray:
        kernel, _, _ = normalized(
            params[name]["kernel"], np.asarray(vectors[name]["u"]), np.asarray(vectors[name]["v"]), steps
        )
        if len(kernel) == 3:
            return leaky(convolved(maps, {"kernel": kernel}))
        height, width = maps.shape[1] // 2, maps.shape[2] // 2
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
        taps = [
            padded[:, row : row + 2 * height : 2, column : column + 2 * width : 2] @ kernel[row, column]
            for row in range(4)
            for column in range(4)
        ]
        return leaky(sum(taps))

    levels = [leaky(convolved((images.astype(float) + 1) / 2, params["first"]))]
    for level in range(3):
        levels.append(layer(f"down_{level}", levels[-1]))
    maps = levels.pop()
    for level in (2, 1, 0):
        for axis in (1, 2):
            maps = np.moveaxis(np.stack(list(doubled(np.moveaxis(maps, axis, 0)))), 0, axis)
        maps = layer(f"up_{level}", maps) + levels[level]
    maps = layer("detail_1", layer("detail_0", maps))
    return convolved(maps, params["last"])[..., 0]


def doubled(rows: np.ndarray):
    """Linear between centres: output i lies at (i + 1/2) / 2 - 1/2 of the input."""
    for index in range(2 * len(rows)):
        place = np.clip((index + 0.5) / 2 - 0.5, 0, len(rows) - 1)
        below = int(np.floor(place))
        above = min(below + 1, len(rows) - 1)
        yield (1 - place + below) * rows[below] + (place - below) * rows[above]


def test_the_vectors_are_constant_to_differentiation():
    """d (W / s) = dW / s - W (u^T dW v) / s^2, and nothing by way of u and v."""

    class Kernel(nn.Module):
        @nn.compact
        def __call__(self, train: bool):
            kernel = self.param("kernel", nn.initializers.normal(1.0), (3, 5))
            return spectral_norm(self, kernel, Mode(train))

    module = Kernel()
    variables = module.init(jax.random.key(0), False)
    kernel, vectors = np.asarray(variables["params"]["kernel"], float), variables[SPECTRAL]
    for vector in vectors.values():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    direction = RNG.normal(size=kernel.shape)

    def apply(kernel):
        return module.apply({"params": {"kernel": kernel}, SPECTRAL: vectors}, True, mutable=[SPECTRAL])[0]

    change = jax.jvp(apply, (variables["params"]["kernel"],), (jnp.asarray(direction, jnp.float32),))[1]
    _, u, v = normalized(kernel, np.asarray(vectors["u"]), np.asarray(vectors["v"]), 1)
    norm = v @ kernel @ u
    np.testing.assert_allclose(change, direction / norm - kernel * (v @ direction @ u) / norm**2, atol=1e-5)
    assert np.linalg.svd(kernel)[1][0] == pytest.approx(
        float(normalized(kernel, np.asarray(vectors["u"]), np.asarray(vectors["v"]), 50)[2] @ kernel @ u), rel=0.2
    )


# --- in a step ---


def make_gan(kind: str = "srvgg", **options: Any) -> GAN:
    generator = small(kind)
    return GAN(
        generator=generator,
        discriminator=UNetDiscriminator(generator.image_shape, features=4),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
        generator_terms=(RealDistance(5.0),),
        loss=losses.non_saturating,
        inputs=Smaller(2),
        **options,
    )


def state_of(gan: GAN) -> Any:
    state = random_state(gan)
    vectors = jax.tree.map(lambda leaf: jnp.asarray(leaf / np.linalg.norm(leaf)), state.discriminator.variables)
    return state.replace(discriminator=state.discriminator.replace(variables=vectors))


STEP = jax.jit(train_step, static_argnums=0)
KEY = jax.random.key(0)


@pytest.mark.parametrize("kind", KINDS)
def test_real_esrgan_trains(kind):
    gan = make_gan(kind)
    state = state_of(gan)
    after, metrics = STEP(gan, state, example_batch(gan, 4), KEY)
    assert all(np.isfinite(value) for value in metrics.values())
    changed = jax.tree.map(lambda one, other: not np.array_equal(one, other), state.generator, after.generator)
    assert all(jax.tree.leaves(changed.params))
    # Two forward passes of the discriminator's update, with the weights of before it.
    name = "up_1"
    before = {key: np.asarray(value) for key, value in state.discriminator.variables[SPECTRAL][name].items()}
    kernel = np.asarray(state.discriminator.params[name]["kernel"])
    _, u, v = normalized(kernel, before["u"], before["v"], 2)
    np.testing.assert_allclose(after.discriminator.variables[SPECTRAL][name]["u"], u, atol=1e-5)
    np.testing.assert_allclose(after.discriminator.variables[SPECTRAL][name]["v"], v, atol=1e-5)


def test_microbatches_and_devices_make_the_same_step():
    """Spectral normalisation takes as many steps, however a batch is divided."""
    gan, in_two = make_gan(), make_gan(num_microbatches=2)
    state, batch = state_of(gan), example_batch(gan, 16)
    expected, _ = STEP(gan, state, batch, KEY)
    mesh = jax.sharding.Mesh(jax.devices(), "batch")
    spread = jax.device_put(batch, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    whole = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    devices, _ = STEP(gan, whole, spread, KEY)
    local = jax.sharding.PartitionSpec
    mapped = jax.jit(
        jax.shard_map(
            lambda state, batch: train_step(in_two, state, batch, KEY, axis_name="batch")[0],
            mesh=mesh,
            in_specs=(local(), local("batch")),
            out_specs=local(),
        )
    )(whole, spread)
    for found in (devices, mapped):
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-5),
            (found.discriminator.variables, found.generator.opt_state, found.discriminator.opt_state),
            (expected.discriminator.variables, expected.generator.opt_state, expected.discriminator.opt_state),
        )


# --- what is refused ---

MISTAKES = [
    (lambda: RRDBNet((32, 32, 3)), r"input_shape is None; RRDBNet starts from images"),
    (lambda: RRDBNet((30, 32, 3), input_shape=(8, 8, 3)), r"larger by a whole number; .* are 30 x 32 and 8 x 8"),
    (lambda: RRDBNet(**sized(3)), r"RRDBNet makes images 1, 2 or 4 times as large; image_shape asks for 3 times"),
    (lambda: RRDBNet(**sized(4), num_blocks=0), r"num_blocks is 0; expected a number at least 1"),
    (lambda: SRVGG(**sized(4), shuffle=2), r"shuffle is 2; expected 4, the scale, or more"),
    (lambda: SRVGG((32, 32, 3), input_shape=(8, 8, 1)), r"image_shape and input_shape have 3 and 1 channels"),
    (lambda: UNetDiscriminator((30, 32, 3)), r"cannot judge images of 30 x 32: expected multiples of 8"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
