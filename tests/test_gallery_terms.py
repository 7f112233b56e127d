"""Terms of what heads and logits say against statements in NumPy float64, and in a step however it is run."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import spreading
from random_state import random_state

from ganjax import (
    GAN,
    Adam,
    Classification,
    Clipped,
    Codes,
    Consistency,
    DiscriminativeClassification,
    Geometric,
    Head,
    LatentConsistency,
    LatentDiversity,
    LeCam,
    MutualInformation,
    Player,
    RealDistance,
    Repelling,
    UserError,
    example_batch,
    init,
    losses,
    train_step,
)
from ganjax.algorithms.given import Generated, Judged, Scored
from ganjax.algorithms.model import descend
from ganjax.algorithms.optimizers import Frozen
from ganjax.models import Condition, dcgan, energy, mlp, vae
from ganjax.runs.checkpoint import Checkpoints

BATCH, CLASSES = 6, 4
KEYS = jax.random.split(jax.random.key(0), BATCH)
LABELS = np.array([0, 3, -1, 2, -1, 1])
CODES = Codes(categories=(3, 2), uniform=2)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape)


def single(*arrays: np.ndarray) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(array, jnp.float32) for array in arrays)


def assert_stated(ours: Any, stated: Any, *arguments: np.ndarray) -> None:
    """Value and slopes of ``ours`` in float32 are those of ``stated`` in float64, by central differences."""
    value, slopes = jax.jit(jax.value_and_grad(ours, argnums=tuple(range(len(arguments)))))(*single(*arguments))
    np.testing.assert_allclose(value, stated(*arguments), rtol=1e-5)
    for which, slope in enumerate(slopes):
        for index in np.ndindex(slope.shape):
            ends = []
            for sign in (1, -1):
                moved = [argument.copy() for argument in arguments]
                moved[which][index] += sign * 1e-6
                ends.append(stated(*moved))
            np.testing.assert_allclose(slope[index], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


def told(head: str, scores: jax.Array, labels: np.ndarray = LABELS, **known: Any) -> Scored:
    """Images of which a discriminator tells these scores."""
    judged = Judged(jnp.zeros(BATCH), scores={head: scores})
    condition = Condition(labels=jnp.asarray(labels, jnp.int32))
    return Scored(lambda images: images, scores, judged=lambda: judged, condition=condition, **known)


def made(head: str, scores: Any, labels: np.ndarray = LABELS, **known: Any) -> Generated:
    judged = Judged(jnp.zeros(BATCH), scores={head: scores})
    condition = Condition(labels=jnp.asarray(labels, jnp.int32))
    nothing: Any = None
    start = jnp.zeros((BATCH, 1))
    return Generated(nothing, nothing, start, nothing, judged, nothing, KEYS, None, condition=condition, **known)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.sum(np.exp(scores), axis=-1, keepdims=True))


def cross_entropy(scores: np.ndarray, labels: np.ndarray, offset: int = 0) -> float:
    """Over the images with a label."""
    return -np.mean([log_softmax(row)[label + offset] for row, label in zip(scores, labels, strict=True) if label >= 0])


def test_classification() -> None:
    """L_C of reals and of fakes (arXiv 1610.09585, Eq. 3); what has no label is not asked for one."""
    term, scores = Classification(), (normal(0, BATCH, CLASSES), normal(1, BATCH, CLASSES))
    assert_stated(
        lambda real, fake: term(told("classes", real), told("classes", fake), KEYS),
        lambda real, fake: cross_entropy(real, LABELS) + cross_entropy(fake, LABELS),
        *scores,
    )
    assert_stated(lambda it: term(made("classes", it)), lambda it: cross_entropy(it, LABELS), scores[0])
    supervised = Classification(fakes=False)
    assert_stated(
        lambda it: supervised(told("classes", it), told("classes", it), KEYS),
        lambda it: cross_entropy(it, LABELS),
        scores[0],
    )
    none = np.full(BATCH, -1)
    value, slope = jax.value_and_grad(lambda it: supervised(told("classes", it, none)))(*single(scores[0]))
    assert value == 0
    assert not slope.any()


def test_discriminative_classification() -> None:
    """Reals of a class are y+, fakes y-, of one softmax over both (arXiv 2107.10060)."""
    term, labels = DiscriminativeClassification(), np.abs(LABELS)
    assert_stated(
        lambda real, fake: term(told("classes", real, labels), told("classes", fake, labels), KEYS),
        lambda real, fake: cross_entropy(real, labels) + cross_entropy(fake, labels, CLASSES),
        normal(0, BATCH, 2 * CLASSES),
        normal(1, BATCH, 2 * CLASSES),
    )
    assert_stated(
        lambda fake: term(made("classes", fake, labels)),
        lambda fake: cross_entropy(fake, labels) - cross_entropy(fake, labels, CLASSES),
        normal(2, BATCH, 2 * CLASSES),
    )


def test_mutual_information() -> None:
    """-E log Q(c|x): a softmax for each categorical code and a normal distribution for each continuous one."""
    latents = CODES.draw(KEYS, 9)
    codes = np.float64(latents)[:, 2:]
    assert CODES.size == 7

    def stated(scores: np.ndarray) -> float:
        first, second = log_softmax(scores[:, :3]), log_softmax(scores[:, 3:5])
        likelihoods = np.sum(codes[:, :3] * first, axis=1) + np.sum(codes[:, 3:5] * second, axis=1)
        return np.mean(-likelihoods + np.sum((scores[:, 5:] - codes[:, 5:]) ** 2, axis=1) / 2)

    term, known = MutualInformation(), {"latents": latents, "codes": CODES}
    assert_stated(lambda it: term(told("codes", it), told("codes", it, **known), KEYS), stated, normal(0, BATCH, 7))
    assert_stated(lambda it: term(made("codes", it, **known)), stated, normal(1, BATCH, 7))


def test_repelling() -> None:
    """1 / (N (N - 1)) sum over pairs of the squared cosine (arXiv 1609.03126, Eq. 4); no code is no direction."""

    def stated(code: np.ndarray) -> float:
        pairs = [(i, j) for i in range(BATCH) for j in range(BATCH) if i != j]
        cosines = [code[i] @ code[j] / np.linalg.norm(code[i]) / np.linalg.norm(code[j]) for i, j in pairs]
        return np.sum(np.square(cosines)) / (BATCH * (BATCH - 1))

    assert_stated(lambda code: Repelling()(made("code", code)), stated, normal(0, BATCH, 5))
    value, slope = jax.value_and_grad(lambda code: Repelling()(made("code", code)))(jnp.zeros((BATCH, 5)))
    assert value == 0
    assert np.isfinite(slope).all()


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """An augmentation that can be written down: each image times a number of its own."""

    def __call__(self, images: Any, keys: Any, strength: Any) -> Any:
        return images * strength * jax.vmap(jax.random.uniform)(keys)[:, None, None, None]


REAL, FAKE, A, Q = (normal(seed, *shape) for seed, shape in enumerate([(BATCH, 2, 2, 1)] * 2 + [(2, 2, 1)] * 2))


def critic(a: Any, q: Any, images: Any) -> Any:
    """C(x) = <a, x> + <q, x^2> / 2."""
    return (a[None] * images + q[None] * images**2 / 2).sum(axis=(1, 2, 3))


def sides(a: jax.Array, q: jax.Array, **known: Any) -> tuple[Scored, Scored]:
    score = functools.partial(critic, a, q)
    real, fake = (Scored(score, jnp.asarray(images, jnp.float32)) for images in (REAL, FAKE))
    return real, fake._replace(**known)


def test_consistency() -> None:
    """E (C(x) - C(T(x)))^2 over each kind (arXiv 2002.04724, algorithm 1), each with draws of its own."""
    term = Consistency(Shrinking(), real=1.0, fake=0.5)
    pairs = jax.vmap(jax.random.split)(KEYS)
    shares = [np.float64(jax.vmap(jax.random.uniform)(pairs[:, i])).reshape(-1, 1, 1, 1) for i in range(2)]

    def stated(a: np.ndarray, q: np.ndarray) -> float:
        of_real, of_fake = (
            np.mean((critic(a, q, images) - critic(a, q, images * share)) ** 2)
            for images, share in zip((REAL, FAKE), shares, strict=True)
        )
        return of_real + 0.5 * of_fake

    assert_stated(lambda a, q: term(*sides(a, q), KEYS), stated, A, Q)


def test_latent_consistency_and_diversity() -> None:
    """E (C(G(z)) - C(G(z + d)))^2, and minus the mean of (G(z) - G(z + d))^2 (algorithm 2), of a linear G."""
    latents, weights = normal(5, BATCH, 3), normal(6, 3, 4)
    noise = 0.2 * np.stack([np.float64(jax.random.normal(key, (3,))) for key in KEYS])

    def generate(weights: Any, latents: Any) -> Any:
        return (latents @ weights).reshape(-1, 2, 2, 1)

    def ours(a: jax.Array, q: jax.Array) -> jax.Array:
        (drawn,), (kernel,) = single(latents), single(weights)
        real, fake = sides(a, q, latents=drawn, generate=functools.partial(generate, kernel))
        return LatentConsistency(deviation=0.2)(real, fake._replace(images=generate(kernel, drawn)), KEYS)

    def stated(a: np.ndarray, q: np.ndarray) -> float:
        near, there = generate(weights, latents + noise), generate(weights, latents)
        return np.mean((critic(a, q, there) - critic(a, q, near)) ** 2)

    assert_stated(ours, stated, A, Q)
    with pytest.raises(UserError, match="LatentConsistency is of the latents of fakes, which only GAN gives"):
        LatentConsistency()(*sides(*single(A, Q)), KEYS)

    def diversity(kernel: jax.Array) -> jax.Array:
        (drawn,) = single(latents)
        generated = made("code", kernel, latents=drawn, of_latents=functools.partial(generate, kernel))
        return LatentDiversity(deviation=0.2)(generated._replace(images=generate(kernel, drawn)))

    assert_stated(diversity, lambda kernel: -np.mean((noise @ kernel) ** 2), weights)


def test_of_several_images_the_last_is_compared_with_the_real() -> None:
    """Of a generator that gives earlier ones, too, beside it on the channels."""
    images, reals = normal(0, BATCH, 2, 2, 3), normal(1, BATCH, 2, 2, 1)
    (known,) = single(reals)
    assert_stated(
        lambda it: RealDistance(kind="squared")(made("code", it)._replace(images=it, reals=known)),
        lambda it: np.mean((it[..., 2:] - np.float32(reals)) ** 2),
        images,
    )


def test_lecam() -> None:
    """E (C(x) - a_F)^2 + E (C(y) - a_R)^2 (arXiv 2104.03310); averages begin at the first batch's."""
    term, sums = LeCam(decay=0.9), {"real": 0.5, "fake": -0.2, "weights": 0.3}
    carried = {name: jnp.float32(value) for name, value in sums.items()}
    real_mean, fake_mean = np.mean(critic(A, Q, REAL)), np.mean(critic(A, Q, FAKE))
    weight = 0.9 * 0.3 + 0.1
    a_real, a_fake = (0.9 * 0.5 + 0.1 * real_mean) / weight, (-0.9 * 0.2 + 0.1 * fake_mean) / weight

    def stated(a: np.ndarray, q: np.ndarray) -> float:
        return np.mean((critic(a, q, REAL) - a_fake) ** 2) + np.mean((critic(a, q, FAKE) - a_real) ** 2)

    assert_stated(lambda a, q: term(*sides(a, q), KEYS, carried)[0], stated, A, Q)
    _, after = term(*sides(*single(A, Q)), KEYS, carried)
    np.testing.assert_allclose([after[name] / after["weights"] for name in ("real", "fake")], [a_real, a_fake], 1e-5)
    _, first = term(*sides(*single(A, Q)), KEYS, term.init())
    np.testing.assert_allclose(first["real"] / first["weights"], real_mean, rtol=1e-5)


SHAPE = (8, 8, 1)
SGD: Any = {"generator_optimizer": optax.sgd(0.05), "discriminator_optimizer": optax.sgd(0.05)}


def telling(**settings: Any) -> GAN:
    """A GAN whose discriminator tells classes and codes, with a term of every kind."""
    heads = (Head("classes", CLASSES), Head("codes", CODES.size, hidden=4))
    defaults: dict[str, Any] = {
        "generator": mlp.Generator(SHAPE, hidden=(6,), num_classes=CLASSES, latent_size=9, codes=CODES),
        "discriminator": mlp.Discriminator(SHAPE, hidden=(6,), heads=heads),
        "penalties": (
            Classification(),
            MutualInformation(),
            LeCam(decay=0.8),
            Consistency(Shrinking()),
        ),
        "generator_terms": (Classification(), LatentDiversity(), Repelling(layer=-1)),
        "loss": losses.top_k(losses.non_saturating, Geometric(1.0, 0.5, every=16, end=0.5)),
    }
    return GAN(**{**SGD, **defaults, **settings})


def equilibrium(**settings: Any) -> GAN:
    parts: Any = {"image_shape": SHAPE, "latent_size": 4}
    autoencoder = energy.Discriminator(
        SHAPE, encoder=vae.Encoder(**parts, features=2), decoder=mlp.Generator(**parts, hidden=(6,))
    )
    defaults: dict[str, Any] = {
        "generator": mlp.Generator(SHAPE, hidden=(6,), latent_size=4),
        "discriminator": autoencoder,
        "generator_terms": (Repelling(),),
        "loss": losses.boundary_equilibrium(0.9, 0.5),
    }
    return GAN(**{**SGD, **defaults, **settings})


def batches_of(gan: GAN, number: int = 3) -> list[Any]:
    batch = example_batch(gan, 16)
    return [{name: jnp.roll(leaf, index, axis=0) for name, leaf in batch.items()} for index in range(number)]


MODELS = {"telling": telling, "equilibrium": equilibrium}


def start_of(gan: GAN) -> Any:
    """In the middle of what a loss may carry."""
    state = random_state(gan)
    return state if gan.loss.init is None else dataclasses.replace(state, carried={"loss": jnp.float32(0.5)})


@functools.cache
def alone(name: str) -> Any:
    gan = MODELS[name]()
    return jax.device_get(spreading.alone(gan, start_of(gan), batches_of(gan)))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("telling", spreading.over_a_mesh),
        ("telling", spreading.in_shard_map),
        ("equilibrium", spreading.in_shard_map),
    ],
)
def test_a_step_is_the_same_however_it_is_spread(name: str, way: Any) -> None:
    gan = MODELS[name]()
    (found, metrics), (expected, told) = way(gan, start_of(gan), batches_of(gan)), alone(name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), jax.device_get(found), expected)
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {name: float(value) for name, value in told.items()}, rel=2e-4, abs=2e-5
    )
    if name == "telling":
        assert expected.carried["lecam"]["weights"] == pytest.approx(1 - 0.8**3, rel=1e-5)
    else:
        assert 0 < abs(expected.carried["loss"] - 0.5) < 0.5


def test_what_a_loss_carries_goes_through_a_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    gan, step = equilibrium(), jax.jit(train_step, static_argnums=0)
    batches = batches_of(gan)
    state, _ = step(gan, random_state(gan), batches[0], spreading.KEY)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        restored = checkpoints.restore(jax.eval_shape(lambda: init(gan, spreading.KEY)))
    assert restored is not None
    _, after = restored
    for batch in batches[1:]:
        state, after = (step(equilibrium(), it, batch, spreading.KEY)[0] for it in (state, after))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), jax.device_get(state))


def test_microbatches_give_the_same_where_images_are_not_compared() -> None:
    terms: Any = {
        "penalties": (LatentConsistency(),),
        "generator_terms": (MutualInformation(),),
        "loss": losses.boundary_seeking,
    }
    whole, parts = (telling(**terms, num_microbatches=number) for number in (1, 2))
    (found, _), (expected, _) = (spreading.alone(it, random_state(it), batches_of(it, 1)) for it in (parts, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_a_head_that_judges_makes_the_logit() -> None:
    """ln sum exp of the classes' scores, as D / (1 - D) of Z / (Z + 1), or minus that; no other output is there."""
    images = jnp.asarray(normal(0, 3, 8, 8, 1), jnp.float32)
    for judges, sign in (("real", 1), ("fake", -1)):
        for family in (mlp.Discriminator(SHAPE, hidden=(6,)), dcgan.Discriminator(SHAPE, features=4)):
            network = family.clone(heads=(Head("classes", CLASSES, judges=judges),))
            variables = network.init(jax.random.key(0), images, train=False)
            logits, sown = network.apply(variables, images, train=False, mutable=["scores"])
            scores = np.float64(sown["scores"]["classes"][0])
            np.testing.assert_allclose(logits, sign * np.log(np.sum(np.exp(scores), axis=1)), rtol=1e-5)
            assert not {"Dense_1", "output"} & set(variables["params"])


def test_semi_supervised_learning_asks_for_labels_that_no_network_is_told() -> None:
    """The records' labels, of which -1 is none, teach the classes of the head; the generator takes no class."""
    gan = GAN(
        generator=mlp.Generator(SHAPE, hidden=(6,), latent_size=4),
        discriminator=mlp.Discriminator(SHAPE, hidden=(6,), heads=(Head("classes", CLASSES, judges="real"),)),
        penalties=(Classification(fakes=False),),
        **SGD,
    )
    assert gan.label_classes == CLASSES
    batch, state = example_batch(gan, 4), random_state(gan)
    labels = {"all": batch["labels"], "none": jnp.full(4, -1, jnp.int32)}
    step = jax.jit(functools.partial(train_step, gan))
    _, metrics = step(state, batch, spreading.KEY)
    _, unlabelled = step(state, batch | {"labels": labels["none"]}, spreading.KEY)
    assert metrics["penalty/classification"] > 0 == unlabelled["penalty/classification"]
    del batch["labels"]
    with pytest.raises(UserError, match="the batch has no 'labels'; a model that tells classes needs one for each"):
        train_step(gan, state, batch, spreading.KEY)


def test_clipped_parameters_are_within_their_bound() -> None:
    """To the bit, by an update; within another optimizer, what that leaves alone stays as it is."""
    params = {"kept": jnp.full(3, 0.5), "free": jnp.asarray(normal(0, 5), jnp.float32)}
    clipped = Clipped(Adam(0.1), 0.01)
    for optimizer, kept in ((clipped, 0.01), (Frozen(clipped, ("kept",)), 0.5)):
        player = Player(params=params, variables={}, opt_state=optimizer.init(params))
        after = descend(optimizer, player, jax.tree.map(jnp.ones_like, params), {}, jnp.zeros(()))
        assert np.all(np.abs(after.params["free"]) <= np.float32(0.01))
        assert np.any(np.abs(after.params["free"]) == np.float32(0.01))
        np.testing.assert_array_equal(after.params["kept"], jnp.full(3, kept))


def test_a_geometric_schedule_stops_at_its_end() -> None:
    falling, rising = Geometric(1.0, 0.9, every=100, end=0.5), Geometric(0.1, 2, every=10, end=0.3)
    values = [float(falling(jnp.float32(seen))) for seen in (0, 99, 100, 250, 5_000)]
    np.testing.assert_allclose(values, [1, 1, 0.9, 0.81, 0.5], rtol=1e-6)
    np.testing.assert_allclose([rising(jnp.float32(seen)) for seen in (0, 10, 20)], [0.1, 0.2, 0.3], rtol=1e-6)
    with pytest.raises(UserError, match=r"goes from 1 by factors of 0.9, and end is 2; expected"):
        Geometric(1, 0.9, every=100, end=2)
    with pytest.raises(UserError, match=r"share of top_k, at its start, is 1.5; expected a number above 0"):
        losses.top_k(losses.hinge, Geometric(1.5, 0.9, every=100, end=0.5))


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no head": (
        {"discriminator": mlp.Discriminator(SHAPE, num_classes=CLASSES)},
        r"Classification is of what a head 'classes' tells, and the discriminator tells nothing; give it heads",
    ),
    "another number of classes": (
        {"discriminator": mlp.Discriminator(SHAPE, heads=(Head("classes", 3), Head("codes", 7)))},
        "Classification: head 'classes' tells 3 numbers and the generator takes 4 classes; expected 4",
    ),
    "no classes": (
        {"generator": mlp.Generator(SHAPE, latent_size=9, codes=CODES)},
        "Classification is of fakes, too, and the generator takes no classes",
    ),
    "no codes": (
        {"generator": mlp.Generator(SHAPE, num_classes=CLASSES)},
        "MutualInformation is of codes, and none of the generator's latents are; give it codes",
    ),
    "another number of codes": (
        {"discriminator": mlp.Discriminator(SHAPE, heads=(Head("classes", CLASSES), Head("codes", 5)))},
        "MutualInformation: head 'codes' tells 5 numbers and there are 7 of codes; make them equal",
    ),
    "half a class": (
        {"penalties": (DiscriminativeClassification(),)},
        "DiscriminativeClassification: head 'classes' tells 4 numbers and the generator takes 4 classes; expected 8",
    ),
    "no energies": ({"loss": losses.energy_based()}, "the loss is of energies, which are never below 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_does_not_go_together_is_refused_when_the_gan_is_made(name: str) -> None:
    settings, message = MISTAKES[name]
    with pytest.raises(UserError, match=message):
        telling(**settings)


def test_heads_that_cannot_be_meant() -> None:
    def discriminator(*heads: Any, **settings: Any) -> None:
        mlp.Discriminator(SHAPE, heads=heads, **settings)

    judging = Head("classes", 3, judges="real")
    with pytest.raises(UserError, match=r"heads is \('classes',\); expected a tuple of heads"):
        discriminator("classes")
    with pytest.raises(UserError, match="the size of head 'classes' is 0; expected a number at least 1"):
        discriminator(Head("classes", 0))
    with pytest.raises(UserError, match="2 heads are named 'classes'"):
        discriminator(Head("classes", 3), Head("classes", 4))
    with pytest.raises(UserError, match="several heads judge; an image has one logit"):
        discriminator(judging, Head("codes", 4, judges="fake"))
    with pytest.raises(UserError, match="head 'classes' judges, and the discriminator is told classes or attributes"):
        discriminator(judging, num_classes=3)
    with pytest.raises(UserError, match="bound of Clipped is 0; expected a number above 0"):
        Clipped(Adam(1e-3), 0)
    parts: Any = {"image_shape": SHAPE, "latent_size": 4}
    with pytest.raises(UserError, match="latent_size: the encoder has 4 and the decoder 5; make them equal"):
        energy.Discriminator(SHAPE, encoder=vae.Encoder(**parts), decoder=dcgan.Generator(SHAPE, latent_size=5))


@pytest.mark.parametrize("difference", ["squared", "absolute"])
def test_an_energy_is_how_badly_an_image_is_reconstructed(difference: Any) -> None:
    parts: Any = {"image_shape": SHAPE, "latent_size": 4}
    encoder, decoder = vae.Encoder(**parts, features=2), mlp.Generator(**parts, hidden=(6,))
    network = energy.Discriminator(SHAPE, encoder=encoder, decoder=decoder, difference=difference)
    images = jnp.asarray(normal(0, 3, *SHAPE), jnp.float32)
    variables = network.init(jax.random.key(0), images, train=False)
    logits, sown = network.apply(variables, images, train=False, mutable=["scores"])
    params = variables["params"]
    posterior: Any = encoder.apply({"params": params["encoder"]}, images, train=False)
    code = posterior.mean
    again = np.float64(decoder.apply({"params": params["decoder"]}, code, train=False))
    apart = np.float64(images) - again
    each = apart**2 if difference == "squared" else np.abs(apart)
    np.testing.assert_allclose(logits, -each.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(sown["scores"]["code"][0], code)
