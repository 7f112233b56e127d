"""GAT against its authors' code: images, losses, penalties, every parameter's gradient, and the averages of styles."""

from typing import Any

import flax.traverse_util
import gat_weights
import jax
import jax.numpy as jnp
import numpy as np
import official_gat as official
import pytest

from ganjax.algorithms import losses
from ganjax.algorithms.differences import squared_differences
from ganjax.algorithms.distillation import Distillation
from ganjax.algorithms.frozen import given_weights
from ganjax.algorithms.given import Judged, Scored
from ganjax.augment import pyramid
from ganjax.evaluation import dinov2
from ganjax.models import gat
from ganjax.models.condition import Condition


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    with np.load(official.FILE) as file:
        return {name: file[name] for name in file.files}


def networks(case: official.Case) -> dict[str, Any]:
    sizes: Any = dict(
        image_shape=(case.size, case.size, case.channels),
        num_classes=case.num_classes,
        patch=case.patch,
        width=case.width,
        depth=case.depth,
        num_heads=case.heads,
    )
    discriminator = gat.Discriminator(**sizes, class_size=official.CLASS_SIZE, teacher_size=case.teacher)
    return {"G": gat.Generator(**sizes), "D": discriminator}


def places(key: str, case: official.Case) -> dict[str, list[gat_weights.Part]]:
    return gat_weights.places(key, case.depth, taught=bool(case.teacher))


def first_inputs(network: Any, key: str) -> Any:
    return jnp.zeros((1, network.latent_size) if key == "G" else (1, *network.image_shape))


def official_shapes(key: str, case: official.Case) -> dict[str, tuple[int, ...]]:
    """Of their tensors, by their names."""
    width, units, patch = case.width, 8 * case.width // 3, case.patch
    tokens, mapped = (case.size // patch) ** 2, official.LATENTS * 2 if key == "G" else official.CLASS_SIZE
    inner = width if key == "G" else official.CLASS_SIZE
    sizes = {
        "latent_embedder.0": (inner, mapped), "latent_embedder.2": (inner, inner), "attn.qkv": (3 * width, width),
        "attn.proj": (width, width), "mlp.w12": (2 * units, width), "mlp.w3": (width, units),
        "x_embedder.proj": (width, 4 * case.channels, patch, patch), "final_layer.1": (official.CLASS_SIZE, width),
        ".linear": (patch * patch * case.channels, width), "q_norm": (width // case.heads,),
        "k_norm": (width // case.heads,), "proj.0": (official.TEACHER_WIDTH, width),
        "proj.2": (official.TEACHER_WIDTH,) * 2, "proj.4": (case.teacher, official.TEACHER_WIDTH),
    }  # fmt: skip

    def shape(name: str) -> tuple[int, ...]:
        if "embedding_table" in name:
            return case.num_classes, official.LATENTS if key == "G" else official.CLASS_SIZE
        if name == "pos_embed":
            return 1, tokens, width
        if name == "cls_token":
            return 1, 1, width
        if "adaLN" in name:
            found = (width if name.startswith("final") else 4 * width, width)
        else:
            found = next((size for part, size in sizes.items() if part in name), (width,))
        return found[:1] if name.endswith("bias") else found

    return {name: shape(name) for name in places(key, case)}


def flat(tree: Any) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(tree, sep=".")


def params_of(name: str, key: str, network: Any) -> Any:
    case = official.CASES[name]
    labels = jnp.zeros(1, jnp.int32)
    shapes: Any = jax.eval_shape(
        lambda: network.init(jax.random.key(0), first_inputs(network, key), labels, train=False)
    )
    theirs = {
        called: np.float32(official.weight(f"{name}.{key}.{called}", shape))
        for called, shape in official_shapes(key, case).items()
    }
    ours = gat_weights.converted(theirs, places(key, case), flat(shapes["params"]))
    return flax.traverse_util.unflatten_dict(jax.tree.map(jnp.asarray, ours), sep=".")


def augmented(images: Any, given: dict[str, Any], side: str, last: Any) -> Any:
    def of(name: str) -> Any:
        return jnp.asarray(given[f"{side} {name}"])

    draws = pyramid.PyramidDraws(
        colored=of("colored") < 0.5,
        brightness=(of("brightness") - 0.5).astype(images.dtype),
        saturation=(of("saturation") * 2).astype(images.dtype),
        contrast=(of("contrast") + 0.5).astype(images.dtype),
        translation=jnp.int32(jnp.stack([of("right"), of("down")], axis=1)),
        cutout_center=jnp.int32(jnp.stack([of("column"), of("row")], axis=1)),
        flipped=of("flipped") < 0.4,
    )
    return pyramid.apply(images, draws, last)


def taught(name: str, told: Any, reals: Any, flipped: Any) -> Any:
    """Their teacher's part of the loss, of what the discriminator tells; what the teacher says is made up."""

    def tokens(_: Any, colours: Any) -> Any:
        mean, deviation = (np.float32(each).reshape(1, 1, 1, 3) for each in (official.MEAN, official.DEVIATION))
        pooled = ((colours / 255 - mean) / deviation).reshape(-1, 16, 14, 16, 14, 3).mean(axis=(2, 4))
        of_image, of_patches = (jnp.asarray(np.float32(matrix)) for matrix in official.lessons(name))
        of_image = jnp.einsum("bhwc,ct->bt", pooled / 256, of_image)
        of_patches = jnp.einsum("bhwc,ct->bhwt", pooled, of_patches).reshape(len(pooled), 256, -1)
        return jnp.concatenate([of_image[:, None], of_patches], axis=1)

    def mirrored(pictures: Any) -> Any:
        return pyramid.apply(pictures, pyramid.PyramidDraws(flipped=flipped), pictures)

    term = Distillation(1.0, dinov2.DinoTokens())
    judged = Judged(jnp.zeros(len(told)), scores={"teacher": told})
    real = Scored(lambda images: jnp.zeros(len(images)), reals, judged=lambda: judged, mirrored=mirrored)
    with pytest.MonkeyPatch.context() as patch, given_weights({term.teacher: {}}):
        patch.setattr(dinov2, "_tokens", tokens)
        patch.setattr(dinov2, "WIDTH", official.CASES[name].teacher)
        return term(real, real, jax.random.split(jax.random.key(0), len(told)))


def relative_error(actual: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(actual, np.float64) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", official.CASES)
def test_networks_losses_and_gradients_are_the_authors(
    name: str, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gat, "_TEACHER_WIDTH", official.TEACHER_WIDTH)
    case, made, given = official.CASES[name], networks(official.CASES[name]), official.arrays(name)
    generator, discriminator = made["G"], made["D"]
    params = {key: params_of(name, key, made[key]) for key in made}
    labels, latents, reals = (jnp.asarray(given[which]) for which in ("labels", "latents", "reals"))
    told = Condition(labels)
    before = {"average": jnp.asarray(np.float32(official.weight(f"{name}.G.w_avg", (case.num_classes, case.width))))}

    def four_images(params: Any) -> tuple[Any, Any]:
        return generator.apply({"params": params, "styles": before}, latents, told, train=True, mutable=["styles"])

    def judge(params: Any, images: Any, side: str, clean: Any) -> tuple[Any, Any]:
        precise = params["places"].dtype
        seen = augmented(images.astype(precise), given, side, clean[..., -case.channels :].astype(precise))
        seen = jnp.tile(seen, (1, 1, 1, 4 * case.channels // seen.shape[-1]))
        seen = gat.add_noise(seen, jnp.asarray(given[f"{side} noise"], precise))
        wide = discriminator.clone(dtype=precise, sum_dtype=precise)
        return wide.apply({"params": params}, seen, told, method="judge_seen", mutable=["scores"])

    def score(*given: Any) -> Any:
        return judge(*given)[0]

    def scored(params: Any, images: Any, side: str) -> tuple[Scored, Any]:
        logits, sown = judge(params, images, side, images)
        return Scored(lambda near: score(params, near, side, images), images, logits=logits), sown

    def discriminator_loss(params: Any, fakes: Any) -> Any:
        wide = params["places"].dtype
        (real, sown), (fake, _) = (
            scored(params, images.astype(wide), side) for images, side in ((reals, "real"), (fakes, "fake"))
        )
        adversarial = losses.relativistic_pairing.discriminator(real.logits, fake.logits)
        first, second = (
            squared_differences(each, jnp.asarray(given[f"{side} shift"], wide), 0.01)
            for each, side in ((real, "real"), (fake, "fake"))
        )
        total = adversarial + official.GAMMA / 2 * (first + second)
        values = {"r1_loss": first, "r2_loss": second}
        if not case.teacher:
            return total, values | {"disc_loss": total}  # theirs adds the penalties in place
        lesson = taught(name, sown["scores"]["teacher"][0], reals, jnp.asarray(given["real flipped"] < 0.4))
        return total + lesson.astype(wide), values | {"disc_loss": adversarial, "lesson": lesson}

    def generator_loss(params: Any, opponent: Any) -> Any:
        fakes, after = four_images(params)
        real, fake = (score(opponent, images, side, images) for images, side in ((reals, "real"), (fakes, "fake")))
        loss = losses.relativistic_pairing.generator(real, fake)
        return loss, ({"gen_loss": loss}, after["styles"]["average"], fakes)

    @jax.jit
    def everything(params: Any) -> Any:
        truncated = generator.clone(truncation=1 - official.PSI)
        last = truncated.apply({"params": params["G"], "styles": before}, latents, told, train=False)
        gradients, (values, *found) = jax.grad(generator_loss, has_aux=True)(params["G"], params["D"])
        return last, (gradients, values), found

    last, generators, (averages, four) = everything(params)
    with jax.enable_x64(True):  # the difference of two logits leaves four digits of float32
        precise = jax.tree.map(lambda leaf: jnp.asarray(np.float64(leaf)), params["D"])
        discriminators = jax.jit(jax.grad(discriminator_loss, has_aux=True))(precise, four)
    phases = {"discriminator": discriminators, "generator": generators}
    for level, images in enumerate(jnp.split(four, 4, axis=-1)):
        assert relative_error(official.some(np.asarray(images)), kept[f"{name}/image_{level}"]) < 1e-5
    assert relative_error(official.some(np.asarray(last)), kept[f"{name}/truncated"]) < 1e-5
    assert relative_error(averages, kept[f"{name}/averages"]) < 1e-5
    for phase, key in (("discriminator", "D"), ("generator", "G")):
        gradients, values = phases[phase]
        theirs = {called: kept.get(f"{name}/{phase}/{called}") for called in values}
        if case.teacher and phase == "discriminator":
            theirs["lesson"] = kept[f"{name}/{phase}/z_kd_cls"] + kept[f"{name}/{phase}/z_kd_patch"]
        for called, value in values.items():
            assert relative_error(value, theirs[called]) < 1e-4, called
        prefix, table = f"{name}/{phase}/{key}.", places(key, case)
        expected = {called.removeprefix(prefix): value for called, value in kept.items() if called.startswith(prefix)}
        # What embeds a random image that is then multiplied by 0.
        dead = {called for called in expected if key == "G" and called.startswith("x_embedder")}
        assert not any(np.any(expected.pop(called)) for called in dead)
        assert expected.keys() == table.keys()
        errors = {}
        for called, shape in official_shapes(key, case).items():
            gradient = gat_weights.as_theirs(called, table, flat(gradients), shape)
            along = official.directions(f"{name}.{key}.{called}", shape)
            projected = np.tensordot(along, gradient, gradient.ndim)
            scale = np.linalg.norm(expected[called])
            errors[called] = float(np.linalg.norm(projected - expected[called]) / max(scale, 1e-3))
        worst = max(errors, key=errors.__getitem__)
        assert errors[worst] < 1e-4, (worst, errors[worst])
