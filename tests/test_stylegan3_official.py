"""StyleGAN3 against its authors' code: filters, images, the gradient of every parameter, what moves, and motions."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_stylegan3 as official
import pytest
from official_translation import draw

from ganjax.evaluation.equivariance import resist, rotate, shift, translate
from ganjax.interchange.stylegan3 import generators_table
from ganjax.models import stylegan3
from ganjax.models.condition import Condition
from ganjax.models.layer_schedule import LayerSchedule
from ganjax.models.layers import Mode

FIELDS = {
    "channel_max": "channel_limit",
    "margin_size": "margin",
    "conv_kernel": "kernel_size",
    "use_radial_filters": "radial",
}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    with np.load(official.FILE) as file:
        return {name: file[name] for name in file.files}


def network(name: str) -> stylegan3.Generator:
    case = official.CASES[name]
    settings = dict(case.settings)
    clamp = settings.pop("conv_clamp", 256.0)
    return stylegan3.Generator(
        image_shape=(case.size, case.size, case.channels),
        num_classes=case.num_classes,
        latent_size=official.LATENTS,
        style_size=official.STYLES,
        magnitude_decay=official.DECAY,
        clamp=clamp,
        schedule=LayerSchedule(**{FIELDS.get(field, field): value for field, value in settings.items()}),
    )


def relative_error(actual: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))


def official_shape(shape: tuple[int, ...], *, theirs: str) -> tuple[int, ...]:
    """Of a tensor of theirs that is laid out as one of ours of this shape."""
    if theirs.endswith(("freqs", "transform")):
        return shape
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


@pytest.mark.parametrize("name", official.CASES)
def test_generators_are_the_authors(name: str, kept: dict[str, Any]) -> None:
    generator = network(name)
    labels = jnp.asarray(official.labels(name))
    latents, along = jnp.asarray(draw(f"{name} latents", official.BATCH, official.LATENTS)), official.along(name)
    table = generators_table(generator)
    assert sorted(table) == kept[f"{name}/names"].tolist()
    shapes: Any = jax.eval_shape(lambda: generator.init(jax.random.key(0), latents, labels, train=False))
    shapes = flax.traverse_util.flatten_dict(shapes, sep=".")
    flat = {}
    for theirs, place in table.items():
        ours = f"{place.collection}.{place.variable}"
        given = official.weight(f"{name}.{theirs}", official_shape(shapes[ours].shape, theirs=theirs))
        flat[ours] = jnp.asarray(place.layout(np.asarray(given)))
        assert flat[ours].shape == shapes[ours].shape
    assert flat.keys() == shapes.keys()
    variables = flax.traverse_util.unflatten_dict(flat, sep=".")
    told = Condition(labels).taken_by(generator)

    def apply(variables: Any, *given: Any, **options: Any) -> Any:
        return generator.apply(variables, *given, **options)

    @jax.jit
    def everything(variables: Any) -> Any:
        others = {name: tree for name, tree in variables.items() if name != "params"}
        nearer = generator.clone(truncation=official.PSI, truncated_layers=official.CUTOFF)
        moved = generator.moved(others, jnp.asarray(official.transform()))
        found = {
            "images": apply(variables, latents, labels, train=False),
            "truncated": nearer.apply(variables, latents, labels, train=False),
            "moved": apply({**variables, **moved}, latents, labels, train=False),
        }

        def first(params: Any) -> Any:
            images, after = apply({"params": params, **others}, latents, labels, train=True, mutable=list(others))
            return jnp.sum(images * along), after

        gradients, after = jax.grad(first, has_aux=True)(variables["params"])

        def second(params: Any) -> Any:
            variables = {"params": params, **after}

            def along_noise(styles: Any) -> Any:
                return jnp.sum(apply(variables, styles, told, Mode(train=False), method="synthesize") * along)

            styles = apply(variables, latents, told, Mode(train=False), method="map")
            return jnp.sum(jnp.square(jax.grad(along_noise)(styles)))

        return found, after, {"first": gradients, "second": jax.grad(second)(variables["params"])}

    found, after, gradients = everything(variables)
    for called, images in found.items():
        assert relative_error(official.some(np.asarray(images)), kept[f"{name}/{called}"]) < 1e-5, called
    after = flax.traverse_util.flatten_dict(after, sep=".")
    for theirs, place in table.items():
        ours = f"{place.collection}.{place.variable}"
        if f"{name}/after/{theirs}" in kept:
            assert relative_error(after[ours], kept[f"{name}/after/{theirs}"]) < 1e-5, theirs
        elif place.collection != "params":
            assert np.array_equal(after[ours], flat[ours]), theirs
    for phase, tree in gradients.items():
        ours = flax.traverse_util.flatten_dict(tree, sep=".")
        for theirs, place in table.items():
            if place.collection != "params":
                continue
            gradient = np.asarray(ours[place.variable])
            onto = official.directions(f"{name}.{theirs}", official_shape(gradient.shape, theirs=theirs))
            projected = np.array([np.sum(place.layout(one) * gradient) for one in onto])
            expected = kept[f"{name}/{phase}/{theirs}"]
            if np.any(expected):
                assert relative_error(projected, expected) < 1e-4, (phase, theirs)
            else:
                assert not np.any(gradient), (phase, theirs)


@pytest.mark.parametrize("name", official.CASES)
def test_filters_are_the_authors(name: str, kept: dict[str, Any]) -> None:
    generator = network(name)
    for index, layer in enumerate(generator.schedule.layers(generator.image_shape)):
        for kind, design in (("up_filter", layer.rise), ("down_filter", layer.fall)):
            theirs = kept.get(f"{name}/synthesis.L{index}_{layer.out_size}_{layer.out_channels}.{kind}")
            if theirs is None:
                assert layer.makes_image
                continue
            assert (theirs.ndim == 2) == design.radial
            np.testing.assert_allclose(
                design.taps, theirs if theirs.ndim == 2 else np.outer(theirs, theirs), rtol=0, atol=1e-7
            )


def test_motions_are_the_authors(kept: dict[str, Any]) -> None:
    image = jnp.asarray(draw("picture", 1, 3, 32, 32)[0].transpose(1, 2, 0))

    @jax.jit
    def everything(image: Any) -> Any:
        moves = {"shift": shift, "translate": translate}
        found = {
            f"{name} {index}": move(image, 32 * jnp.asarray(places, jnp.float32))
            for name, move in moves.items()
            for index, places in enumerate(official.SHIFTS)
        }
        angle = jnp.float32(official.ANGLE)
        return found | {"rotate": rotate(image, angle), "resist": resist(image, angle)}

    for called, (picture, mask) in everything(image).items():
        inside, expected = np.asarray(mask)[::3, ::3], kept[f"{called}/mask"]
        assert np.array_equal(np.broadcast_to(inside, expected.shape), expected), called
        picture = np.asarray(picture)[::3, ::3] * inside
        assert relative_error(picture, kept[f"{called}/picture"] * expected) < 1e-5, called
