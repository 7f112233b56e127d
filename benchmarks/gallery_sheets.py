"""What single papers of the gallery are about: sweeps of codes, accuracies, reconstructions, pairs, mixtures."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from ganjax import draw_latents, encode, reconstruct, sample
from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.data import Source, outlined
from ganjax.evaluation.distances import frechet_distance
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.statistics import Moments
from ganjax.ground.grids import image_grid, sheet
from ganjax.models.network import SCORES
from ganjax.runs.config import Config

COLUMNS, BATCH = 20, 500
Figures = dict[str, float]
Pictures = dict[str, Image.Image]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained config, and what it is looked at with.

    Attributes:
        config: with its model.
        state: of the model.
        evaluator: with the classifier.
        train: the images that it was trained on, with all labels.
        held_out: others.
        num: samples that a figure is of.
        seed: of the samples.
        quick: few updates of the supervised network.
    """

    config: Config
    state: Any
    evaluator: Evaluator
    train: Source
    held_out: Source
    num: int
    seed: int
    quick: bool = False

    def latents(self, num: int) -> jax.Array:
        """Those of the first samples."""
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(self.seed), index))(jnp.arange(num))
        return draw_latents(self.config.gan, keys)

    def images(self, latents: jax.Array, member: str = "generator") -> np.ndarray:
        """uint8 images of latents."""
        model, state = with_generator(self.config.gan, member), generator_state(self.state, member)
        draw = jax.jit(lambda latents: sample(model, state, latents))
        return pixels(np.concatenate([draw(latents[at : at + BATCH]) for at in range(0, len(latents), BATCH)]))


def pixels(images: Any) -> np.ndarray:
    """[-1, 1] to uint8."""
    return np.asarray(np.clip(np.round((np.asarray(images) + 1) * 127.5), 0, 255)).astype(np.uint8)


def scaled(images: np.ndarray) -> jax.Array:
    """uint8 to [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1


def loaded(source: Source, num: int) -> dict[str, np.ndarray]:
    """The first records."""
    return source.load(range(min(num, len(source))))


def codes(subject: Subject) -> tuple[Figures, Pictures]:
    """A row a value of the categorical code, of the same noise; then each continuous code from -1 to 1.

    The figures say whether a value stands for a kind of clothing: how many images of it are of its commonest class,
    on average, and how many classes are some value's commonest.
    """
    codes: Any = subject.config.gan.generator.codes
    (values,) = codes.categories
    few = subject.latents(COLUMNS)
    rows = {f"code {value}": subject.images(codes.with_code(few, 0, value)) for value in range(values)}
    pictures = {"codes": sheet(rows)}
    if codes.uniform:
        steps, strips = np.linspace(-1, 1, COLUMNS), []
        for number in range(codes.uniform):
            for start in few[:4]:
                latents = jnp.tile(start, (COLUMNS, 1)).at[:, len(start) - codes.uniform + number].set(steps)
                strips.append(subject.images(latents))
        pictures["continuous"] = image_grid(np.concatenate(strips), columns=COLUMNS)
    many, commonest, shares = subject.latents(max(2, subject.num // values)), set(), []
    for value in range(values):
        predicted = subject.evaluator.predictions(subject.images(codes.with_code(many, 0, value)))
        counts = np.bincount(predicted, minlength=10)
        commonest.add(int(counts.argmax()))
        shares.append(counts.max() / len(predicted))
    figures = {"of a value's commonest class": float(np.mean(shares)), "classes that are one's": float(len(commonest))}
    if hasattr(subject.config.gan, "encoder"):
        records = loaded(subject.held_out, subject.num)
        find = jax.jit(lambda images: encode(subject.config.gan, subject.state, images))
        found = np.asarray(codes.split(find(scaled(records["images"]))).categories[0]).argmax(axis=1)
        hits = sum(np.bincount(records["labels"][found == value], minlength=10).max() for value in range(values))
        figures["purity of held-out reals' clusters"] = float(hits / len(found))
    return figures, pictures


def classes_of(network: Any, variables: Any, images: np.ndarray) -> np.ndarray:
    """The class that a discriminator's head finds most likely for each image."""

    @jax.jit
    def scores(images: jax.Array) -> jax.Array:
        _, found = network.apply(variables, images, train=False, mutable=[SCORES])
        return found[SCORES]["classes"][0]

    parts = [np.asarray(scores(scaled(images[at : at + BATCH]))) for at in range(0, len(images), BATCH)]
    return np.concatenate(parts).argmax(axis=1)


def accuracy(subject: Subject) -> tuple[Figures, Pictures]:
    """How often the discriminator names the class of a held-out real."""
    player, records = subject.state.discriminator, subject.held_out.load()
    variables = {"params": player.params, **player.variables}
    model: Any = subject.config.gan
    found = classes_of(model.discriminator, variables, records["images"])
    return {"accuracy on held-out reals": float(np.mean(found == records["labels"]))}, {}


def accuracy_with_few_labels(subject: Subject) -> tuple[Figures, Pictures]:
    """The same, beside the same network trained on the same labelled images alone, at its best of all its updates."""
    figures, _ = accuracy(subject)
    data: Any = subject.config.data
    kept = data.kept(subject.train)
    chosen = [subject.train[int(index)] for index in kept]
    images, labels = (
        scaled(np.stack([one["images"] for one in chosen])),
        np.array([int(one["labels"]) for one in chosen]),
    )
    model: Any = subject.config.gan
    network = model.discriminator
    variables = dict(network.init(jax.random.key(subject.seed), images[:1], train=False))
    params, adam = variables.pop("params"), optax.adam(1e-3)

    @jax.jit
    def update(params: Any, variables: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            mutable = [SCORES, *variables]
            _, after = network.apply({"params": params, **variables}, images, train=True, mutable=mutable)
            scores = after.pop(SCORES)["classes"][0]
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels)), after

        slopes, after = jax.grad(loss, has_aux=True)(params)
        changes, state = adam.update(slopes, state)
        return optax.apply_updates(params, changes), after, state

    state, records, found = adam.init(params), subject.held_out.load(), []
    for step in range(1, 11 if subject.quick else 401):
        params, variables, state = update(params, variables, state)
        if step % 10 == 0:
            guessed = classes_of(network, {"params": params, **variables}, records["images"])
            found.append(float(np.mean(guessed == records["labels"])))
    return figures | {f"of the same network with the same {len(kept)} alone, at its best": max(found)}, {}


def reconstructions(subject: Subject) -> tuple[Figures, Pictures]:
    """Held-out images above what becomes of them, and the root mean square error in grey levels."""
    records = loaded(subject.held_out, subject.num)["images"]
    there_and_back = jax.jit(functools.partial(reconstruct, subject.config.gan))
    made = pixels(
        np.concatenate(
            [there_and_back(subject.state, scaled(records[at : at + BATCH])) for at in range(0, len(records), BATCH)]
        )
    )
    error = float(np.sqrt(np.mean((made.astype(np.float64) - records) ** 2)))
    rows = {"held out": records[:COLUMNS], "reconstructed": made[:COLUMNS]}
    return {"error of reconstructions, of 255": error}, {"reconstructed": sheet(rows)}


def pairs(subject: Subject) -> tuple[Figures, Pictures]:
    """Both members' images of the same latents, and how like the outlines of the one the other's are."""
    latents = subject.latents(max(COLUMNS, min(subject.num, 1_000)))
    plain, drawn = (subject.images(latents, member) for member in ("0", "1"))
    expected = np.stack([outlined(image) for image in plain])

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        one, other = (array.reshape(len(array), -1).astype(np.float64) for array in (one, other))
        one, other = (array - array.mean(axis=1, keepdims=True) for array in (one, other))
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        return float(np.mean(np.sum(one * other, axis=1) / np.maximum(norms, 1e-9)))

    figures = {
        "correlation of an image's outlines with its pair": correlation(expected, drawn),
        "with another's": correlation(expected, np.roll(drawn, 1, axis=0)),
    }
    return figures, {"pairs": sheet({"0": plain[:COLUMNS], "1": drawn[:COLUMNS]})}


def members(subject: Subject) -> tuple[Figures, Pictures]:
    """A row a generator, and the Fréchet distances between their samples beside those within one's."""
    count = subject.config.gan.generator.num_members  # pyright: ignore[reportAttributeAccessIssue]
    latents = subject.latents(2 * max(2, subject.num // 2))
    drawn = {str(number): subject.images(latents, str(number)) for number in range(count)}
    features = {name: subject.evaluator.features(images, "network") for name, images in drawn.items()}
    half = len(latents) // 2

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return frechet_distance(Moments.of(one), Moments.of(other))

    figures = {
        f"distance of {one} and {other}": distance(features[one][:half], features[other][half:])
        for one in features
        for other in features
        if one < other
    }
    within = [distance(found[:half], found[half:]) for found in features.values()]
    figures["of two halves of one's samples, at most"] = max(within)
    return figures, {"generators": sheet({f"generator {name}": images[:COLUMNS] for name, images in drawn.items()})}


SHEETS: dict[str, Callable[[Subject], tuple[Figures, Pictures]]] = {
    "aae": reconstructions,
    "acgan": accuracy,
    "bigan": reconstructions,
    "cluster_gan": codes,
    "cogan": pairs,
    "infogan": codes,
    "mad_gan": members,
    "mgan": members,
    "sgan": accuracy_with_few_labels,
    "vae": reconstructions,
    "vae_gan": reconstructions,
}


def of(name: str, subject: Subject) -> tuple[Figures, Pictures]:
    """The figures and the sheets of a config; none where its samples say all."""
    return SHEETS[name](subject) if name in SHEETS else ({}, {})
