"""The perceptual term in runs: where its weights come from, how they reach the step, and networks of evaluation."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_srgan as official
import optax
import pytest
from foreign_files import write_pth, write_safetensors
from linear_gan import KEY
from random_state import random_state

from ganjax import GAN, PerceptualDistance, UserError, example_batch, gradients, load_config
from ganjax.algorithms.frozen import given_weights, prepare
from ganjax.algorithms.perceptual import perceptions_of
from ganjax.cli import main
from ganjax.data import Digits
from ganjax.evaluation import perception, vgg19
from ganjax.evaluation.classifier import Classifier, Network
from ganjax.evaluation.perception import ClassifierOf, FeaturesOf
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.evaluation.weights import PublishedWeights, sha256_of
from ganjax.models import mlp
from ganjax.platform.cache import cache_folder
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

CONFIG = Path(__file__).parent.parent / "configs" / "enlarging_cifar10.py"
TINY = ["--features", "2", "--num-blocks", "1", "--batch-size", "8", "--total-images", "16"]
INTERVALS = ["--run.log-every", "8", "--run.sample-every", "16", "--run.checkpoint-every", "16", "--run.num-samples=4"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_pth(tmp_path / "vgg.pth", official.vgg_weights())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    np.savez(path, images=rng.integers(0, 256, (40, 32, 32, 3), np.uint8), labels=np.arange(40, dtype=np.int32) % 2)
    return path


def gan_of(term: PerceptualDistance, size: int = 8) -> GAN:
    shape = (size, size, 1)
    return GAN(
        generator=mlp.Generator(shape, latent_size=3),
        discriminator=mlp.Discriminator(shape),
        generator_optimizer=optax.sgd(0.1),
        discriminator_optimizer=optax.sgd(0.1),
        generator_terms=(term,),
    )


def test_a_network_is_its_name_and_is_read_once(weights: Path, tmp_path: Path) -> None:
    network = Vgg19(weights)
    assert network == Vgg19(weights, download=True) != Vgg19()
    assert hash(PerceptualDistance(1.0, Vgg19())) == hash(PerceptualDistance(1.0, Vgg19()))
    assert network.load() is Vgg19(weights).load()
    tensors = official.vgg_weights()
    other = Vgg19(write_safetensors(tmp_path / "vgg.safetensors", tensors), sha256=None).load()
    jax.tree.map(np.testing.assert_array_equal, other, network.load())
    pinned = dataclasses.replace(network, sha256="0" * 64)
    with pytest.raises(UserError, match=rf"vgg.pth has the sha256 {sha256_of(weights)}, expected 0{{64}}: name"):
        pinned.load()
    assert dataclasses.replace(network, sha256=sha256_of(weights)).load()


def test_the_published_file_keeps_its_convolutions_alone(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is looked at, and what is kept beside it are the layers that are used."""
    folder = cache_folder() / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    content = {**official.vgg_weights(), "classifier.0.bias": np.ones(3, np.float32)}
    path = write_pth(folder / "tiny-vgg.pth", content)
    published = PublishedWeights("tiny-vgg.pth", "https://nowhere.invalid/x", sha256_of(path), prefix="features.")
    monkeypatch.setattr(vgg19, "PUBLISHED", published)
    vgg19._loaded.cache_clear()
    found = Vgg19().load()
    np.testing.assert_array_equal(found["conv5_4"]["bias"], content["features.34.bias"])
    with np.load(folder / f"{published.sha256}.npz") as kept:
        assert sorted(kept) == sorted(official.vgg_weights())
    vgg19._loaded.cache_clear()


WRONG = {
    "absent": (
        {"features.34.weight": None},
        r"vgg.pth is no VGG-19: features.34.weight is absent, expected \[",
    ),
    "of another network": (
        {"features.2.weight": np.zeros((4, 9, 3, 3), np.float32)},
        r"features.2.weight is of shape \[4, 9, 3, 3\], expected \[channels, 4, 3, 3\]",
    ),
    "not finite": ({"features.0.bias": np.full(4, np.nan, np.float32)}, "features.0 has numbers that are not finite"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_vgg(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = {name: array for name, array in (official.vgg_weights() | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        Vgg19(write_pth(tmp_path / "vgg.pth", content)).load()


def test_mistakes(weights: Path) -> None:
    with pytest.raises(UserError, match=r"PerceptualDistance's layers name 'conv6_1', and Vgg19 has conv1_1, conv1_2,"):
        PerceptualDistance(1.0, Vgg19(), (("conv6_1", 1.0),))
    with pytest.raises(UserError, match=r"PerceptualDistance's layers are \(\); expected pairs"):
        PerceptualDistance(1.0, Vgg19(), ())
    with pytest.raises(UserError, match=r"PerceptualDistance's weight of conv1_1 is -1"):
        PerceptualDistance(1.0, Vgg19(), (("conv1_1", -1),))
    gan = gan_of(PerceptualDistance(1.0, Vgg19(weights)))
    with pytest.raises(UserError, match="images of 8 x 8: nothing of them comes to VGG-19's conv5_1, which needs 16"):
        jax.eval_shape(functools.partial(gradients, gan), random_state(gan), example_batch(gan, 2), KEY)


def test_given_weights_take_the_place_of_the_hosts_on_any_devices(weights: Path) -> None:
    """As constants of the program, as its arguments, and over a mesh: the same numbers; and other ones are heeded."""
    gan = gan_of(PerceptualDistance(1.0, Vgg19(weights), (("conv1_2", 1.0), ("conv2_1", 1.0))))
    (network,) = perceptions_of(gan)
    state, batch = random_state(gan), example_batch(gan, 8)

    def step(state: Any, batch: Any, key: Any, constants: Any) -> Any:
        with given_weights({network: constants}):
            return gradients(gan, state, batch, key)

    _, expected = jax.jit(functools.partial(gradients, gan))(state, batch, KEY)
    mesh = data_mesh()
    whole, split = replicated(mesh), batch_sharding(mesh)
    jitted = jax.jit(step, in_shardings=(whole, split, whole, whole))
    _, metrics = jitted(state, batch, KEY, network.load())
    assert float(metrics["term/perceptual_distance"]) > 0
    np.testing.assert_allclose(metrics["term/perceptual_distance"], expected["term/perceptual_distance"], rtol=1e-5)
    np.testing.assert_allclose(metrics["g/grad_norm"], expected["g/grad_norm"], rtol=1e-4)
    _, nothing = jitted(state, batch, KEY, jax.tree.map(jnp.zeros_like, network.load()))
    assert float(nothing["term/perceptual_distance"]) == 0


def test_features_of_a_network_of_evaluation(tmp_path: Path) -> None:
    """Of a classifier, which is called once, when it is first needed; gradients pass, grey stays grey."""
    network = Network(num_classes=2, width=4, num_features=6)
    variables = network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 1)), train=False)
    calls = []

    def opened() -> Classifier:
        calls.append(0)
        return Classifier(variables, network, "mine", "abc", 0.5, 2, (8, 8, 1))

    gan = gan_of(PerceptualDistance(2.0, FeaturesOf(opened), (("features", 0.5),), "squared"))
    state, batch = random_state(gan), example_batch(gan, 4)
    found, metrics = jax.jit(functools.partial(gradients, gan))(state, batch, KEY)
    assert len(calls) == 1
    reals = jnp.asarray(batch["images"], jnp.float32) / 127.5 - 1
    with jax.ensure_compile_time_eval():
        (term,) = gan.generator_terms
        assert isinstance(term, PerceptualDistance)
        maps = term.network.maps(opened(), reals, ("features",))["features"]
        expected = opened()(batch["images"]).features
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    assert float(metrics["term/perceptual_distance"]) > 0
    assert optax.tree.norm(found["generator"]) > 0
    other = gan_of(PerceptualDistance(1.0, FeaturesOf(opened), (("features", 1.0),)), size=16)
    with pytest.raises(UserError, match=r"mine sees images of \(8, 8, 1\) .* and they are \(16, 16, 1\); take a"):
        jax.eval_shape(functools.partial(gradients, other), random_state(other), example_batch(other, 2), KEY)


def test_a_classifier_is_named_by_its_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (FeaturesOf(ClassifierOf(Digits(size=8), seed=3, total_images=256)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    network = Network(num_classes=2, width=4, num_features=6)
    made = Classifier({"scale": jnp.ones(2)}, network, "mine", "abc", 0.5, 2, (8, 8, 1))
    asked = []

    def cached(source: Any, **settings: Any) -> Classifier:
        asked.append((source.image_shape, settings))
        return made

    monkeypatch.setattr(perception, "cached_classifier", cached)
    prepare(perceptions_of(gan_of(PerceptualDistance(1.0, first, (("features", 1.0),)))))
    assert second.load().name == "mine"
    assert isinstance(second.load().variables["scale"], np.ndarray)
    assert asked == [((8, 8, 1), {"seed": 3, "total_images": 256})]


def test_a_run(weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before there is a folder where weights are absent; of no concern to who samples."""
    asked = ["--path", str(images), *TINY, *INTERVALS, "--perceptual", "0.1", "--vgg-layer", "conv2_1"]
    run = ["train", str(CONFIG), "--workdir", str(tmp_path / "run"), *asked, "--vgg", str(weights)]
    moved = weights.rename(tmp_path / "moved.pth")
    vgg19._loaded.cache_clear()
    for arguments in (run, ["bench", str(CONFIG), *asked, "--vgg", str(weights)]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert f"the weights {weights} are not there: name a file in the format of vgg19-dcbb9e9d.pth" in error
    assert not (tmp_path / "run").exists()
    moved.rename(weights)
    assert main(run) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["term/perceptual_distance"] > 0
    weights.unlink()
    vgg19._loaded.cache_clear()
    np.savez(images, images=np.zeros((4, 16, 16, 3), np.uint8))
    out = ["--out", str(tmp_path / "grid.png"), "--inputs", str(images)]
    assert main(["sample", "--workdir", str(tmp_path / "run"), *out]) == 0
    assert load_config(CONFIG, [*asked, "--vgg", "gone.pth"])
