"""DiffAugment against a statement of it in float64, at given draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import UserError
from ganjax.augment import DiffAugment
from ganjax.augment.diffaugment import Draws, apply

SHAPES = [(16, 16, 3), (12, 18, 3), (16, 16, 1), (17, 11, 1)]


def reference(image: np.ndarray, draw: dict[str, np.ndarray]) -> np.ndarray:
    height, width, _ = image.shape
    if "brightness" in draw:
        image = image + draw["brightness"]
        grey = np.repeat(image.mean(axis=2, keepdims=True), image.shape[2], axis=2)
        image = grey * (1 - draw["saturation"]) + image * draw["saturation"]
        image = image.mean() * (1 - draw["contrast"]) + image * draw["contrast"]
    if "translation" in draw:
        x, y = draw["translation"]
        canvas = np.pad(image, [(height, height), (width, width), (0, 0)])
        image = canvas[height - y : 2 * height - y, width - x : 2 * width - x]
    if "cutout_center" in draw:
        x, y = draw["cutout_center"]
        image = image.copy()
        top, left = y - (height + 1) // 2 // 2, x - (width + 1) // 2 // 2
        image[max(0, top) : max(0, top + (height + 1) // 2), max(0, left) : max(0, left + (width + 1) // 2)] = 0
    return image


def random_draws(shape: tuple[int, int, int], count: int) -> dict[str, np.ndarray]:
    rng, (height, width, _) = np.random.default_rng(0), shape
    return {
        "brightness": rng.uniform(-0.5, 0.5, count),
        "saturation": rng.uniform(0, 2, count),
        "contrast": rng.uniform(0.5, 1.5, count),
        "translation": np.stack([rng.integers(-(n // 8), n // 8 + 1, count) for n in (width, height)], axis=1),
        "cutout_center": np.stack([rng.integers(0, n + 1, count) for n in (width, height)], axis=1),
    }


GROUPS = {
    "color": ["brightness", "saturation", "contrast"],
    "translation": ["translation"],
    "cutout": ["cutout_center"],
    "all": ["brightness", "saturation", "contrast", "translation", "cutout_center"],
}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_policy_is_the_papers(shape, group):
    count = 8
    values = {name: value for name, value in random_draws(shape, count).items() if name in GROUPS[group]}
    images = np.random.default_rng(1).uniform(-1, 1, (count, *shape))
    draws = Draws(
        **{
            name: jnp.asarray(value, jnp.int32 if value.dtype == np.int64 else jnp.float32)
            for name, value in values.items()
        }
    )
    augmented = jax.jit(apply)(jnp.asarray(images, jnp.float32), draws)
    for index, image in enumerate(images):
        expected = reference(image, {name: value[index] for name, value in values.items()})
        np.testing.assert_allclose(augmented[index], expected, atol=1e-5)
    if group != "all":
        assert np.abs(np.asarray(augmented) - images).max() > 0.1


def test_every_image_has_its_own_draw_and_a_policy_only_its_transforms():
    images = jnp.ones((6, 16, 16, 3))
    keys = jax.random.split(jax.random.key(0), 6)
    out = jax.jit(DiffAugment("cutout, translation"))(images, keys, jnp.float32(0.3))
    assert set(np.unique(out)) == {0, 1}
    assert len({image.tobytes() for image in np.asarray(out)}) == 6
    np.testing.assert_allclose(
        jax.jit(DiffAugment("color"))(images, keys, jnp.float32(1)).std(axis=(1, 2)), 0, atol=1e-6
    )
    assert DiffAugment().parts() == {name: DiffAugment(name) for name in ("color", "translation", "cutout")}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("color,translaton", r"unknown transform 'translaton'; perhaps you meant translation"),
        ("", r"unknown transform ''; expected one of color, translation, cutout"),
    ],
)
def test_an_unknown_transform_is_refused(policy, message):
    with pytest.raises(UserError, match=message):
        DiffAugment(policy)
