"""The adversarial autoencoder: against the official code's gradients, in every way of running it, what it refuses."""

import dataclasses
import functools
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from spreading import WAYS, assert_same
from tiny_evaluation import reals, source

from ganjax import Autoencoder, RealDistance, UserError, example_batch, gradients, init, losses, sample, train_step
from ganjax.algorithms.draws import draw_updates
from ganjax.evaluation.measure import Evaluator
from ganjax.models import Condition, autoencoder
from ganjax.models.translation import PatchDiscriminator
from ganjax.runs.sampling import Sampler
from ganjax.runs.subjects import generated

KEY, SHAPE = jax.random.key(0), (16, 16, 3)
OFFICIAL = Path(__file__).parent / "official_vqgan.npz"

# The official code's names of what holds parameters, and ours.
_PARTS = {
    r"^quant_conv": "to_moments",
    r"^post_quant_conv": "of_maps",
    r"^quantize\.embedding\.weight": "codebook.codes",
    r"(down|up)\.(\d)\.block\.(\d)": lambda m: f"{m[1]}_{m[2]}_{int(m[3]) * (2 if m[2] == '1' else 1)}",
    r"(down|up)\.(\d)\.attn\.(\d)": lambda m: f"{m[1]}_{m[2]}_{2 * int(m[3]) + 1}",
    r"down\.(\d)\.downsample\.conv": r"halve_\1",
    r"up\.(\d)\.upsample\.conv": lambda m: f"double_{int(m[1]) - 1}",
    r"mid\.block_1": "middle_0",
    r"mid\.attn_1": "middle_1",
    r"mid\.block_2": "middle_2",
    r"\.conv_in": ".input",
    r"\.(conv_out|proj_out)": ".output",
    r"\.norm_out": ".norm",
    r"\.norm(\d)\.": lambda m: f".norm_{int(m[1]) - 1}.",
    r"\.conv(\d)\.": lambda m: f".convolution_{int(m[1]) - 1}.",
    r"\.nin_shortcut": ".shortcut",
    r"\.q\.": ".query.",
    r"\.k\.": ".key.",
    r"\.v\.": ".value.",
    r"^discriminator\.main\.0": "layer_0",
    r"^discriminator\.main\.2": "layer_1",
    r"^discriminator\.main\.3": "layer_1_norm",
    r"^discriminator\.main\.5": "output",
}


def named(theirs: str) -> str:
    ours = theirs
    for pattern, replacement in _PARTS.items():
        ours = re.sub(pattern, replacement, ours)
    last = "scale" if "norm" in ours.rpartition(".")[0] else "kernel"
    return ours.removesuffix("weight") + last if ours.endswith("weight") else ours


def weights_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What the official networks were filled with: shapes are theirs."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return drawn / np.float32(np.sqrt(np.prod(shape[1:])))
    return np.float32(0.1) * drawn + np.float32(1.0 if name.endswith("weight") else 0.0)


def marks(name: str, gradient: np.ndarray) -> np.ndarray:
    """A norm, and a product with numbers that are drawn from the name."""
    wide = gradient.astype(np.float64)
    drawn = np.random.default_rng(zlib.crc32(name.encode()) + 1).standard_normal(wide.shape)
    return np.array([np.sqrt((wide**2).sum()), (wide * drawn).sum()])


def theirs(array: np.ndarray, name: str) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def model_of(**settings: Any) -> Autoencoder:
    network: dict[str, Any] = {"widths": (4, 4), "blocks": 1, "groups": 2, "attention": False}
    for name in ("num_codes", "codes_follow", "latent_channels"):
        if name in settings:
            network[name] = settings.pop(name)
    given = {"generator_optimizer": optax.sgd(1e-2), "discriminator_optimizer": optax.sgd(1e-2)} | settings
    return Autoencoder(
        generator=autoencoder.Generator(SHAPE, **network),
        discriminator=PatchDiscriminator(SHAPE, num_layers=1, features=4, norm="none"),
        **given,
    )


def test_losses_and_gradients_are_the_official_codes() -> None:
    """VQGAN's of taming-transformers, run once: reconstruction, codes, adaptive weight, and every parameter."""
    network = autoencoder.Generator(SHAPE, widths=(32, 64), blocks=1, attention_stages=(1,), num_codes=12)
    model = Autoencoder(
        generator=network,
        discriminator=PatchDiscriminator(SHAPE, num_layers=1, features=8, norm="batch"),
        generator_optimizer=optax.sgd(0.0),
        discriminator_optimizer=optax.sgd(0.0),
        codebook=0.25,
        commitment=1.0,
        adversarial_weight=0.8,
    )
    official = np.load(OFFICIAL)
    names = official["names"].tolist()
    ours = {name: named(name) for name in names}
    shapes = jax.eval_shape(lambda: init(model, KEY))
    trees = {}
    for player in ("generator", "discriminator"):
        leaves = flax.traverse_util.flatten_dict(shapes.players[player].params, sep=".")
        mine = [name for name in names if name.startswith("discriminator.") == (player == "discriminator")]
        assert {ours[name] for name in mine} == leaves.keys()
        filled = {}
        for name in mine:
            leaf: Any = leaves[ours[name]]
            shape = leaf.shape
            drawn = weights_of(name, theirs(np.empty(shape), name).shape)
            filled[ours[name]] = jnp.asarray(drawn.transpose(2, 3, 1, 0) if drawn.ndim == 4 else drawn)
        trees[player] = flax.traverse_util.unflatten_dict(filled, sep=".")
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)
    inputs = jnp.asarray(images / np.float32(127.5) - 1)

    @jax.jit
    def compute(trees: Any) -> Any:
        state = init(model, KEY, **trees)
        reconstructed = sample(model, state, jnp.zeros((4, 0)), Condition(inputs=inputs))
        return *gradients(model, state, {"images": jnp.asarray(images)}, KEY), reconstructed

    found, metrics, reconstructed = compute(trees)
    np.testing.assert_allclose(reconstructed[0, ::3, ::3], official["reconstructions"], atol=1e-4)
    for name, ours_name in (
        ("nll_loss", "autoencoder/loss"),
        ("d_weight", "g/weight"),
        ("g_loss", "g/loss"),
        ("logits_real", "d/real"),
        ("logits_fake", "d/fake"),
    ):
        assert float(metrics[ours_name]) == pytest.approx(float(official[f"log.{name}"]), abs=1e-4), name
    assert 0.5 * float(metrics["d/loss"]) == pytest.approx(float(official["dtotal"]), abs=1e-4)
    quantised = 0.25 * metrics["autoencoder/codebook"] + metrics["autoencoder/commitment"]
    assert float(quantised) == pytest.approx(float(official["log.quant_loss"]), abs=1e-4)
    flat = {player: flax.traverse_util.flatten_dict(jax.device_get(tree), sep=".") for player, tree in found.items()}
    for name, expected in zip(names, official["gradients"], strict=True):
        player = "discriminator" if name.startswith("discriminator.") else "generator"
        gradient = theirs(np.asarray(flat[player][ours[name]]), name)
        np.testing.assert_allclose(marks(name, gradient), expected, atol=1e-4, err_msg=name)


class Solo(NamedTuple):
    """A model whose discriminator begins with the second step, two batches, and what comes of each."""

    model: Autoencoder
    batches: list[Any]
    states: list[Any]
    metrics: list[Any]


@pytest.fixture(scope="module", params=[{}, {"num_codes": 6, "codes_follow": True}], ids=["drawn", "codes"])
def solo(request: pytest.FixtureRequest) -> Solo:
    model = model_of(**request.param, discriminator_start=16)
    step = jax.jit(functools.partial(train_step, model))
    states, metrics, batches = [jax.jit(init, static_argnums=0)(model, KEY)], [], [example_batch(model, 16)] * 2
    for batch in batches:
        state, found = step(states[-1], batch, KEY)
        states, metrics = [*states, state], [*metrics, found]
    return Solo(model, batches, states, metrics)


def test_every_way_of_spreading_it_gives_the_same_numbers(solo: Solo) -> None:
    """Codes, which are sums over the batch, in shard_map; the others over a mesh and in microbatches at once."""
    model = solo.model if solo.model.generator.num_codes else dataclasses.replace(solo.model, num_microbatches=2)
    way = WAYS["shard_map" if solo.model.generator.num_codes else "mesh"]
    assert_same(way(model, solo.states[0], solo.batches), (solo.states[-1], solo.metrics[-1]))


def test_the_discriminator_begins_at_its_start_step(solo: Solo) -> None:
    first, second = solo.metrics
    assert float(first["g/weight"]) == float(first["d/loss"]) == float(first["d/grad_norm"]) == 0
    assert float(second["g/weight"]) > 0
    before, then, later = (state.players["discriminator"].params for state in solo.states)
    assert jax.tree.all(jax.tree.map(lambda one, other: bool((one == other).all()), before, then))
    assert not jax.tree.all(jax.tree.map(lambda one, other: bool((one == other).all()), then, later))


def test_what_follows_the_maps(solo: Solo) -> None:
    """The variance that brings maps to latents, and codes that are averages of what they replace."""
    model, batches, (start, after, _), (metrics, _) = solo
    network, images = model.generator, batches[0]["images"].astype(jnp.float32) / 127.5 - 1
    (draw,) = draw_updates(batches[0], jax.random.fold_in(KEY, 0), num_updates=0, num_batches=1, axis_name=None)
    variables = {"params": start.generator.params, **start.generator.variables}
    encoded: Any = jax.jit(functools.partial(network.apply, method="encode"))(variables, images)
    noise = np.stack([jax.random.normal(key, network.latent_shape) for key in draw.noise.latents])
    maps = np.asarray(encoded.mean + encoded.deviation * noise, np.float64)
    assert float(after.generator.variables["latents"]["variance"]) == pytest.approx(maps.var(), rel=1e-4)
    assert float(metrics["autoencoder/deviation"]) == pytest.approx(maps.std(), rel=1e-4)
    if not network.num_codes:
        mean, variance = np.asarray(encoded.mean, np.float64), np.asarray(encoded.deviation, np.float64) ** 2
        divergence = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum((1, 2, 3)).mean()
        assert float(metrics["autoencoder/divergence"]) == pytest.approx(divergence, rel=1e-4)
        return
    codes, rows = start.generator.variables["codebook"]["codebook"], maps.reshape(-1, maps.shape[-1])
    table = np.asarray(codes["sums"], np.float64)  # each of which has a count of 1
    numbers = ((rows[:, None] - table[None]) ** 2).sum(-1).argmin(1)
    counts = np.bincount(numbers, minlength=len(table))
    sums = np.stack([rows[numbers == code].sum(0) for code in range(len(table))])
    moved = after.generator.variables["codebook"]["codebook"]
    np.testing.assert_allclose(moved["counts"], 0.99 + 0.01 * counts, rtol=1e-5)
    np.testing.assert_allclose(moved["sums"], 0.99 * table + 0.01 * sums, rtol=1e-3, atol=1e-5)


def test_codes_in_use_are_counted(solo: Solo) -> None:
    """Which share of them stands for something of the images, and of how many equally frequent ones that would be."""
    model, state = solo.model, solo.states[-1]
    data = source(20, shape=SHAPE, labelled=False)
    shown: dict[str, Any] = {"reals": reals(data), "batch_size": 8, "name": "run", "num": 20}
    fakes = generated(Sampler(model), state, **shown)
    results, refused = Evaluator(("codes",), {}, reals=shown["reals"], num=20, seed=0, batch_size=8)(fakes)
    if not model.generator.num_codes:
        assert list(refused) == ["codes"]
        return
    variables = {"params": state.ema_params, **state.generator.variables}
    images = jnp.asarray(data.load()["images"] / np.float32(127.5) - 1)
    run = jax.jit(functools.partial(model.generator.apply, method="numbers"))
    counts = np.bincount(np.asarray(run(variables, images)).ravel(), minlength=6)
    shares = counts[counts > 0] / counts.sum()
    assert {result.metric: result.value for result in results} == {
        "code-use": np.mean(counts > 0),
        "code-perplexity": pytest.approx(np.prod(shares**-shares)),
    }


def test_latents_are_maps_of_variance_one() -> None:
    network = autoencoder.Generator(SHAPE, widths=(4, 4), blocks=1, groups=2, attention=False)
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)), jnp.float32)

    @jax.jit
    def compute() -> Any:
        variables: Any = network.init(KEY, jnp.zeros((2, 0)), Condition(inputs=images), train=False)
        scaled = variables | {"latents": {"shift": jnp.float32(0.5), "variance": jnp.float32(1 / 0.18215**2)}}
        plain: Any = network.apply(variables, images, method="encode")
        found: Any = network.apply(scaled, images, method="to_latents")
        again = network.apply(scaled, found[0], method="from_latents")
        return plain.mean, plain.deviation, *found, again, network.apply(variables, plain.mean, method="decode")

    plain_mean, plain_deviation, mean, deviation, again, decoded = compute()
    np.testing.assert_allclose(mean, (plain_mean - 0.5) * 0.18215, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(deviation, plain_deviation * 0.18215, rtol=1e-5)
    np.testing.assert_allclose(again, decoded, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"terms": ()}, "such as RealDistance"),
        ({"terms": (RealDistance(1.0, every=4),)}, "comes at an interval"),
        ({"divergence": -1.0}, "divergence is -1.0; expected"),
        ({"codebook_decay": 1.5}, "codebook_decay is 1.5; expected"),
        ({"loss": losses.relativistic_pairing}, "none that is relativistic"),
    ],
)
def test_what_cannot_be_trained_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_of(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (18, 16, 3), "widths": (8, 8, 8)}, "no multiple of 4; use a multiple, or fewer widths"),
        ({"widths": (8, 10)}, "does not divide 10 of widths"),
        ({"widths": ()}, r"widths is \(\)"),
        ({"latent_size": 3}, "leave them out"),
        ({"num_codes": 1}, "num_codes is 1; expected"),
        ({"attention_stages": (2,)}, "attention_stages is 2; expected"),
    ],
)
def test_networks_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        autoencoder.Generator(**({"image_shape": SHAPE, "widths": (8, 16), "groups": 4} | settings))
