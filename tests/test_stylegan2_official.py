"""StyleGAN2 against its authors' code: styles, images, logits, losses, penalties, and every parameter's gradient."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_stylegan2 as official
import pytest
from official_translation import draw

from ganjax.algorithms import losses
from ganjax.algorithms.penalties import Scored, squared_gradient_norms
from ganjax.interchange.parameters import Place
from ganjax.interchange.stylegan2_tables import discriminators_table, generators_table
from ganjax.models import stylegan2
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode

ARCHITECTURES: dict[str, Any] = {"skip": "skip", "resnet": "residual", "orig": "original"}


PHASES = {  # what compiles for long is compared once
    "plain": ("Gmain", "Greg", "Dmain", "Dreg"),
    "told": ("Gmain", "Dmain", "Dreg"),
    "grey": ("Gmain", "Dmain"),
}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    with np.load(official.FILE) as file:
        return {name: file[name] for name in file.files}


def networks(name: str) -> dict[str, Any]:
    case = official.CASES[name]
    common: Any = dict(
        image_shape=(case.size, case.size, case.channels),
        num_classes=case.num_classes,
        num_attributes=case.num_attributes,
        channel_base=official.BASE,
        channel_limit=official.LIMIT,
        num_mapping_layers=case.layers,
        clamp=case.clamp,
    )
    sizes = dict(latent_size=official.LATENTS, style_size=official.STYLES, mixing=0.0, noise="constant")
    return {
        "G": stylegan2.Generator(**common, **sizes, architecture=ARCHITECTURES[case.generator]),
        "D": stylegan2.Discriminator(
            **common,
            architecture=ARCHITECTURES[case.discriminator],
            deviation_group=case.group,
            deviation_maps=case.maps,
        ),
    }


def tables(made: dict[str, Any]) -> dict[str, dict[str, Place]]:
    return {"G": generators_table(made["G"]), "D": discriminators_table(made["D"])}


def official_shape(place: Place, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a tensor of theirs that is laid out as one of ours of this shape."""
    if len(shape) == 4:
        return (shape[3], shape[2], *shape[:2])
    if len(shape) == 3:
        return (shape[2], *shape[:2])
    return shape[::-1] if place.collection == "params" else shape


def variables_of(name: str, key: str, network: Any, table: dict[str, Place]) -> dict[str, Any]:
    case = official.CASES[name]
    first = jnp.zeros((1, official.LATENTS) if key == "G" else (1, case.size, case.size, case.channels))
    told = Condition(jnp.zeros(1, jnp.int32), jnp.zeros((1, case.num_attributes)))
    shapes: Any = jax.eval_shape(lambda: network.init(jax.random.key(0), first, told, train=False))
    shapes = flax.traverse_util.flatten_dict(shapes, sep=".")
    found = {}
    for theirs, place in table.items():
        ours = f"{place.collection}.{place.variable}"
        given = official.weight(f"{name}.{key}.{theirs}", official_shape(place, shapes[ours].shape))
        found[ours] = jnp.asarray(place.layout(np.asarray(given)))
        assert found[ours].shape == shapes[ours].shape
    assert found.keys() == shapes.keys()
    return flax.traverse_util.unflatten_dict(found, sep=".")


def relative_error(actual: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))


def compare_gradients(name: str, phase: str, table: dict[str, Place], gradients: Any, kept: dict[str, Any]) -> None:
    ours = flax.traverse_util.flatten_dict(gradients, sep=".")
    parameters = {theirs: place for theirs, place in table.items() if place.collection == "params"}
    prefix = f"{name}/{phase}/{phase[0]}."
    assert {f"{prefix}{theirs}" for theirs in parameters} == {called for called in kept if called.startswith(prefix)}
    for theirs, place in parameters.items():
        gradient = np.asarray(ours[place.variable])
        along = official.directions(f"{name}.{phase[0]}.{theirs}", official_shape(place, gradient.shape))
        projected = np.array([np.sum(place.layout(one) * gradient) for one in along])
        expected = kept[f"{prefix}{theirs}"]
        if np.any(expected):
            assert relative_error(projected, expected) < 1e-4, theirs
        else:
            assert np.linalg.norm(gradient) < 1e-6, theirs


@pytest.mark.parametrize("name", official.CASES)
def test_networks_losses_and_gradients_are_the_authors(name: str, kept: dict[str, Any]) -> None:
    case, made = official.CASES[name], networks(name)
    phases = PHASES[name]
    generator, discriminator = made["G"], made["D"]
    places = tables(made)
    ours = {key: variables_of(name, key, made[key], places[key]) for key in made}
    labels, attributes = map(jnp.asarray, official.condition(name))
    told = Condition(labels, attributes).taken_by(generator)
    latents, others = (
        jnp.asarray(draw(f"{name} {which}", case.batch, official.LATENTS)) for which in ("latents", "others")
    )
    reals, noise = jnp.asarray(official.reals(name)), jnp.asarray(official.length_noise(name))

    def apply(network: Any, *given: Any, **options: Any) -> Any:
        return network.apply(*given, **options)

    def images(variables: Any, styles: Any, network: Any = generator) -> Any:
        return apply(network, variables, styles, told, Mode(train=False), method="synthesize")

    def judge(params: Any, images: Any) -> Any:
        return apply(discriminator, {"params": params}, images, told, train=True)

    @jax.jit
    def everything(ours: Any) -> Any:
        styles, second = (
            apply(generator, ours["G"], vectors, told, Mode(train=False), method="map") for vectors in (latents, others)
        )
        average = ours["G"]["styles"]["average"][None, None]
        near = average + official.PSI * (styles - average)
        truncated = jnp.where(jnp.arange(generator.num_layers)[None, :, None] < official.CUTOFF, near, styles)
        mixed = stylegan2.mix_styles(styles, second, jnp.full((case.batch,), official.CROSSOVER))
        three = images(ours["G"], jnp.concatenate([styles, truncated, mixed]))
        found = dict(zip(("constant", "truncated", "mixed"), jnp.split(three, 3), strict=True)) | {
            "styles": styles[:, 0],
            "none": images(ours["G"], styles, generator.clone(noise="none")),
            "logits": judge(ours["D"]["params"], reals),
        }

        def adversarial(params: Any) -> Any:
            fakes, after = apply(
                generator, {**ours["G"], "params": params}, latents, told, train=True, mutable=["styles"]
            )
            return losses.non_saturating.generator(None, judge(ours["D"]["params"], fakes)), after["styles"]["average"]

        def lengths(params: Any) -> Any:
            variables = {**ours["G"], "params": params}
            some = Condition(*(None if leaf is None else leaf[::2] for leaf in told))
            styles = apply(generator, variables, latents[::2], some, Mode(train=False), method="map")

            def along(styles: Any) -> Any:
                made = apply(generator, variables, styles, some, Mode(train=False), method="synthesize")
                return jnp.sum(made * noise) / case.size

            lengths = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(jax.grad(along)(styles)), axis=-1), axis=-1))
            mean = official.LENGTH + 0.01 * (jnp.mean(lengths) - official.LENGTH)
            return 2 * jnp.mean(jnp.square(lengths - mean)), mean

        def judging(params: Any) -> Any:
            return losses.non_saturating.discriminator(judge(params, reals), judge(params, found["constant"]))

        def penalty(params: Any) -> Any:
            scored = Scored(lambda images: judge(params, images), reals)
            return official.GAMMA * jnp.mean(squared_gradient_norms(scored)) / 2

        players = {"G": ours["G"]["params"], "D": ours["D"]["params"]}
        found["gradients"] = {}
        functions = {"Gmain": adversarial, "Greg": lengths, "Dmain": judging, "Dreg": penalty}
        for phase in phases:
            derive = jax.value_and_grad(functions[phase], has_aux=phase[0] == "G")
            value, found["gradients"][phase] = derive(players[phase[0]])
            found[phase], *more = value if phase[0] == "G" else (value,)
            found |= {"average" if phase == "Gmain" else "length": one for one in more}
        return found

    found = everything(ours)
    for called in sorted(found.keys() & {called.removeprefix(f"{name}/") for called in kept}):
        value = np.asarray(found[called])
        expected = kept[f"{name}/{called}"]
        assert relative_error(official.some(value) if value.ndim == 4 else value, expected) < 1e-5, called
    for phase in phases:
        called = f"Loss/{phase[0]}/{'loss' if phase.endswith('main') else 'reg'}"
        assert float(found[phase]) == pytest.approx(float(kept[f"{name}/{phase}/{called}"]), rel=1e-5), phase
        compare_gradients(name, phase, places[phase[0]], found["gradients"][phase], kept)
