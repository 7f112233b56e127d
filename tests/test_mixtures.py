"""Latents with codes, several generators in one network, and `--generator` of `ganjax sample` and `evaluate`."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_state import random_state
from scipy import stats

from ganjax import GAN, Codes, UserError, draw_latents, sample, with_generator
from ganjax.algorithms.generators import generator_names, generator_state
from ganjax.cli import main
from ganjax.data import Domains, Unpaired
from ganjax.data.source import ArraySource
from ganjax.models import coupled, dcgan, mlp
from ganjax.runs.makes import made_by
from ganjax.runs.sampling import Sampler

SHAPE = (8, 8, 1)
CODES = Codes(categories=(3, 2), uniform=2, deviation=0.5)


# --- codes ---


def test_each_code_is_drawn_from_its_distribution() -> None:
    keys = jax.random.split(jax.random.key(1), 4_000)
    latents = CODES.draw(keys, 10)
    noise, (three, two), uniform = jax.tree.map(np.asarray, CODES.split(latents))
    assert (noise.shape[1], three.shape[1], two.shape[1], uniform.shape[1]) == (3, 3, 2, 2)
    assert stats.kstest(noise.ravel(), stats.norm(0, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest(uniform.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    for code in (three, two):
        assert set(np.unique(code)) == {0, 1}
        assert np.all(code.sum(axis=1) == 1)
        assert stats.chisquare(code.sum(axis=0)).pvalue > 1e-3
    assert abs(np.corrcoef(three[:, 0], two[:, 0])[0, 1]) < 0.06
    np.testing.assert_allclose(CODES.draw(keys[:5], 10), latents[:5], rtol=1e-6)


def test_likelihood_is_scipys() -> None:
    rng = np.random.default_rng(0)
    scores, latents = rng.normal(size=(6, 9)), np.asarray(CODES.draw(jax.random.split(jax.random.key(2), 6), 9))
    expected = np.zeros(6)
    for first, last in ((2, 5), (5, 7)):
        chances = np.exp(scores[:, first:last]) / np.exp(scores[:, first:last]).sum(axis=1, keepdims=True)
        expected -= np.log(chances[latents[:, first:last] == 1])
    constant = 2 * 0.5 * np.log(2 * np.pi)  # that of the two continuous ones
    expected -= stats.norm.logpdf(latents[:, 7:], scores[:, 7:]).sum(axis=1) + constant
    found = CODES.negative_log_likelihood(jnp.asarray(scores, jnp.float32), jnp.asarray(latents))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    alone = CODES.negative_log_likelihood(jnp.asarray(scores[:, 2:], jnp.float32), jnp.asarray(latents))
    np.testing.assert_allclose(alone, found, rtol=1e-6)


def gan_of(generator: Any) -> GAN:
    """With the smallest discriminator."""
    judge: Any = {"image_shape": generator.image_shape, "num_classes": generator.num_classes}
    discriminator = mlp.Discriminator(**judge, hidden=(2,))
    sgd = optax.sgd(0.1)
    return GAN(generator=generator, discriminator=discriminator, generator_optimizer=sgd, discriminator_optimizer=sgd)


def test_truncation_leaves_codes_as_they_are() -> None:
    model = gan_of(dcgan.Generator(SHAPE, latent_size=10, features=2, codes=CODES))
    keys = jax.random.split(jax.random.key(0), 50)
    whole = Sampler(model).latents(keys)
    scaled = Sampler(model, truncation=0.5, truncation_mode="scale").latents(keys)
    np.testing.assert_allclose(scaled[:, :3], 0.5 * whole[:, :3])
    cut = Sampler(model, truncation=0.5, truncation_mode="resample").latents(keys)
    assert 0.2 < np.abs(cut[:, :3]).max() <= 0.25
    for other in (scaled, cut):
        np.testing.assert_array_equal(other[:, 3:], whole[:, 3:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Codes(), "Codes has neither categories nor uniform codes"),
        (lambda: Codes(categories=(1,)), "Codes' categories is 1"),
        (
            lambda: dcgan.Generator(SHAPE, latent_size=6, features=2, codes=CODES),
            "latent_size is 6 and the codes take 7 of them; give more latents",
        ),
        (lambda: coupled.Generator(SHAPE, own_first=1), "num_members is 2 and neither labels nor codes say which"),
        (lambda: coupled.Generator(SHAPE, num_classes=2), "own_first is 0 and own_last 0, of 2 layers"),
        (lambda: coupled.Generator(SHAPE, num_classes=3, own_first=1), "num_classes is 3 and num_members 2"),
        (lambda: coupled.Discriminator(SHAPE, own_first=1), "num_members is 2 and num_classes 0: whose images"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# --- several in one ---

MIXTURE = coupled.Generator((16, 16, 1), 7, 3, own_first=1, features=2, codes=Codes(categories=(3,)))
DOMAINS = coupled.Generator((16, 16, 1), 5, 2, own_last=2, features=2, num_classes=2)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_each_sample_is_its_members(batch_norm: bool) -> None:
    network = MIXTURE.clone(batch_norm=batch_norm)
    latents = draw_latents(gan_of(network), jax.random.split(jax.random.key(0), 6))
    variables = network.init(jax.random.key(1), latents, train=False)
    whole = network.apply(variables, latents, train=False)
    members = np.asarray(latents)[:, -3:].argmax(axis=1)
    assert len(set(members.tolist())) > 1
    for number in range(3):
        only = network.member(number).apply(variables, latents, train=False)
        np.testing.assert_allclose(only[members == number], whole[members == number], atol=1e-6)
        assert np.all(np.abs(only - whole).max(axis=(1, 2, 3))[members != number] > 1e-4)


def test_members_share_what_is_not_their_own() -> None:
    latents = jnp.ones((2, 5))
    variables = DOMAINS.init(jax.random.key(1), latents, jnp.arange(2), train=False)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["layer_0"]["kernel"] == (5, 64)
    assert shapes["layer_1"]["kernel"] == (4, 4, 4, 2 * 2)
    assert shapes["layer_2"]["kernel"] == (4, 4, 2, 2 * 1)
    judge = coupled.Discriminator((16, 16, 1), own_first=1, features=2, num_classes=2)
    images = jax.random.normal(jax.random.key(2), (2, 16, 16, 1))
    judged: Any = judge.init(jax.random.key(1), images, jnp.arange(2), train=False)
    logits = judge.apply(judged, images, jnp.arange(2), train=False)
    doubled: Any = jax.tree.map(jnp.copy, judged)
    doubled["params"]["layer_0"]["kernel"] = judged["params"]["layer_0"]["kernel"].at[..., 2:].multiply(2.0)
    after = judge.apply(doubled, images, jnp.arange(2), train=False)
    assert after[0] == pytest.approx(logits[0])
    assert after[1] != pytest.approx(logits[1])


CONFIG = """
from ganjax import GAN, Adam, Codes, Config, Run
from ganjax.data import Digits
from ganjax.models import coupled, mlp

def config() -> Config:
    codes = Codes(categories=(3,))
    gan = GAN(
        generator=coupled.Generator((8, 8, 1), latent_size=7, num_members=3, own_first=1, features=2, codes=codes),
        discriminator=mlp.Discriminator((8, 8, 1), hidden=(4,)),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    run = Run(batch_size=8, total_images=16, log_every=8, sample_every=16, checkpoint_every=16, num_samples=4)
    return Config(gan=gan, data=Digits(size=8), run=run)
"""


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three generators in one."""
    folder = tmp_path_factory.mktemp("mixture")
    (folder / "mixture.py").write_text(CONFIG)
    assert main(["train", str(folder / "mixture.py"), "--workdir", str(folder / "run")]) == 0
    return folder / "run"


def test_samples_of_one_generator(mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    workdir, drawn = mixture, []
    for name in ("generator", "0", "1", "2"):
        out = tmp_path / f"{name}.npz"
        asked = ["sample", "--workdir", str(workdir), "--num", "12", "--weights", "live", "--generator", name]
        assert main([*asked, "--out", str(out)]) == 0
        drawn.append(np.load(out)["images"].astype(int))
    whole, *members = drawn
    chosen = [[np.array_equal(image, whole[index]) for image in (one[index] for one in members)] for index in range(12)]
    assert all(any(hits) for hits in chosen)  # each sample is one of the members'
    assert all(np.any(one != other) for one in members for other in members if one is not other)
    capsys.readouterr()
    refused = ["sample", "--workdir", str(workdir), "--generator", "3", "--out", str(tmp_path / "x.png")]
    assert main(refused) == 2
    message = "--generator is 3; this model has generator, 0, 1 and 2: give one of these"
    assert message in capsys.readouterr().err


def test_evaluation_of_one_generator(mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Each has numbers of its own, which say whose they are and are kept beside those of all."""
    asked, found = ["evaluate", "--workdir", str(mixture), "--metrics", "swd", "--num", "12"], {}
    for name in ("generator", "0", "2"):
        out = tmp_path / f"{name}.json"
        assert main([*asked, "--generator", name, "--out", str(out)]) == 0
        (found[name],) = json.loads(out.read_text())["results"]
    assert len({result["value"] for result in found.values()}) == 3
    assert [found[name]["stamp"]["generator"] for name in found] == [None, "0", "2"]
    (kept,) = (mixture / "evaluation").glob("*.json")
    assert len(json.loads(kept.read_text())["results"]) == 3
    said = capsys.readouterr()
    assert f"12 images of {mixture}, generator 2 against" in said.out
    assert "DIFFERENT" not in said.out
    assert "does not compare" not in said.out
    assert main(["evaluate", "--compare", str(tmp_path / "0.json"), str(tmp_path / "2.json")]) == 0
    compared = capsys.readouterr().out
    assert "same protocol" in compared
    assert "measured generator: 0 | 2" in compared
    assert main([*asked, "--generator", "3"]) == 2
    assert "--generator is 3; this model has generator, 0, 1 and 2: give one of these" in capsys.readouterr().err


def test_what_a_generator_is_compared_with() -> None:
    """All of the data in a mixture, its own domain in CoGAN, and the inputs on the way back."""
    rng = np.random.default_rng(0)
    images, inputs = rng.integers(0, 256, (2, 9, 16, 16, 1), np.uint8)

    class Given:
        mirror = False

        def __init__(self, images: np.ndarray, labels: Any = None) -> None:
            self.source = ArraySource(images, labels)

        def open(self) -> ArraySource:
            return self.source

    plain = Given(images).source
    assert made_by(gan_of(MIXTURE), "2", plain) is plain
    both = Domains(Given(images)).open()
    for name in "01":
        part = made_by(gan_of(DOMAINS), name, both)
        assert {int(part[index]["labels"]) for index in range(len(part))} == {int(name)}
        np.testing.assert_array_equal(part[1]["images"], both[2 + int(name)]["images"])
    with pytest.raises(UserError, match="generator 1 makes images of one of 2 domains, and arrays has no classes"):
        made_by(gan_of(DOMAINS), "1", plain)
    with pytest.raises(UserError, match="arrays has no image of domain 1; expected some to compare with"):
        made_by(gan_of(DOMAINS), "1", ArraySource(images, np.zeros(9, int), class_names=("one", "other")))
    turned = made_by(gan_of(DOMAINS), "backward_generator", Unpaired(Given(images), inputs=Given(inputs)).open())
    np.testing.assert_array_equal(turned[3]["images"], inputs[3])
    np.testing.assert_array_equal(turned[3]["inputs"], images[3])
    assert len(turned.parts) == 2
    with pytest.raises(UserError, match="arrays has no inputs; expected some, for a generator that makes them"):
        made_by(gan_of(DOMAINS), "backward_generator", plain)


def test_a_member_of_domains_takes_no_label() -> None:
    model = gan_of(DOMAINS)
    assert generator_names(model) == ("generator", "0", "1")
    state, latents = random_state(model), jnp.ones((2, 5))
    one = with_generator(model, "1")
    assert one.generator.num_classes == 0
    both = sample(model, state, latents, jnp.ones(2, jnp.int32))
    np.testing.assert_array_equal(sample(one, generator_state(state, "1"), latents), both)
