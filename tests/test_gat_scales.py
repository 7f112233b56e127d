"""CAT's ways with GAT's four images: each judged by itself at a size of its own, and tied to the last."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import GAN, ScaleConsistency, UserError, example_batch, init, load_config, train_step
from ganjax.algorithms.given import Generated, Judged
from ganjax.models import gat
from ganjax.models.condition import Condition

KEY = jax.random.key(0)
CONFIGS = Path(__file__).parent.parent / "configs"
SIZES: dict[str, Any] = dict(image_shape=(16, 16, 2), num_classes=3, patch=2, width=16, depth=2, num_heads=2)


def normalized(values: np.ndarray, epsilon: float) -> np.ndarray:
    return values / np.sqrt(np.mean(values**2, axis=-1, keepdims=True) + epsilon)


def turned(values: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Numbers 2j and 2j + 1 of each head turned by the angle of the token."""
    even, odd, cos, sin = values[..., 0::2], values[..., 1::2], np.cos(angles), np.sin(angles)
    return np.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1).reshape(values.shape)


def masked_logits(params: Any, images: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The definition, in NumPy: the tokens of all images at once, in blocks whose attention a mask divides by image."""
    width, heads, patch = SIZES["width"], SIZES["num_heads"], SIZES["patch"]
    size, tokens, angles, scale_of = width // heads, [], [], []
    for scale in range(4):
        side = SIZES["image_shape"][0] >> (3 - scale)
        shrink, grid = 2 ** (3 - scale), side // patch
        image = images[..., 2 * scale : 2 * scale + 2]
        image = image.reshape(len(image), side, shrink, side, shrink, 2).mean(axis=(2, 4))
        patches = np.stack(
            [
                image[:, patch * row : patch * (row + 1), patch * column : patch * (column + 1)].reshape(len(image), -1)
                for row in range(grid)
                for column in range(grid)
            ],
            axis=1,
        )
        layer = params[f"patches_by_scale_{scale}"]
        embedded = patches @ layer["kernel"] + layer["bias"] + params[f"places_{scale}"]
        first = np.broadcast_to(params["class_tokens"][scale], (len(image), 1, width))
        tokens.append(np.concatenate([first, embedded], axis=1))
        frequencies = 10_000.0 ** (-2 * np.arange(size // 4) / (size / 2))
        turns = [np.concatenate([row * frequencies, column * frequencies]) for row, column in np.ndindex(grid, grid)]
        angles.append(np.stack([np.zeros(size // 2), *turns]))
        scale_of += [scale] * (1 + grid**2)
    kinds, angle, of = np.concatenate(tokens, axis=1), np.concatenate(angles), np.array(scale_of)
    mask = np.where(of[:, None] == of[None, :], 0.0, -np.inf)
    blocks = params["stack"]["block"]
    for index in range(SIZES["depth"]):
        block = jax.tree.map(lambda leaf: leaf[index], blocks)  # noqa: B023
        part = block["attention"]
        inside = normalized(kinds, 1e-6) * block["attention_norm"]

        def of_heads(name: str, part: Any = part, inside: Any = inside) -> np.ndarray:
            values = inside @ part[f"{name}_kernel"] + part[f"{name}_bias"]
            return values.reshape(*values.shape[:2], heads, size).swapaxes(1, 2)

        queries, keys = (
            turned(normalized(of_heads(name), np.finfo(np.float32).eps) * part[f"{name}_factor"], angle)
            for name in ("query", "key")
        )
        scores = queries @ keys.swapaxes(-1, -2) / np.sqrt(size) + mask
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        taken = (shares / shares.sum(axis=-1, keepdims=True)) @ of_heads("value")
        taken = taken.swapaxes(1, 2).reshape(kinds.shape)
        kinds = kinds + block["attention_factor"] * (taken @ part["output_kernel"] + part["output_bias"])
        part, inside = block["feed_forward"], normalized(kinds, 1e-6) * block["feed_forward_norm"]
        gate = inside @ part["gate_kernel"] + part["gate_bias"]
        hidden = gate / (1 + np.exp(-gate)) * (inside @ part["value_kernel"] + part["value_bias"])
        kinds = kinds + block["feed_forward_factor"] * (hidden @ part["output_kernel"] + part["output_bias"])
    seen = normalized(kinds[:, [scale_of.index(scale) for scale in range(4)]], 1e-6) * params["output_norm"]
    outputs = seen @ params["output"]["kernel"] + params["output"]["bias"]
    return np.sum(outputs * told[:, None], axis=-1)


def test_each_image_has_a_logit_of_its_own_as_under_a_mask() -> None:
    discriminator = gat.ScaleDiscriminator(**SIZES, class_size=12)
    images, condition = jax.random.normal(KEY, (3, 16, 16, 8)), Condition(jnp.array([0, 2, 1], jnp.int32))
    params = discriminator.init(KEY, images, condition, train=False)["params"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: leaf + np.float32(0.3 * rng.normal(size=leaf.shape)), params)

    def logits(images: Any) -> Any:
        return discriminator.apply({"params": params}, images, condition, method="judge_seen")

    told = discriminator.apply({"params": params}, condition, 3, method="_told")
    wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = masked_logits(wide, np.asarray(images, np.float64), np.asarray(told, np.float64))
    found: Any = logits(images)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())
    slopes: Any = jax.jacrev(lambda images: jnp.sum(logits(images), axis=0))(images)
    moved = np.abs(slopes).sum(axis=(1, 2, 3)).reshape(4, 4, 2).sum(axis=-1) > 0
    np.testing.assert_array_equal(moved, np.eye(4, dtype=bool))  # of each image alone


def test_a_step_by_scale_has_four_logits_an_image_and_no_levels_of_noise() -> None:
    flags = ["--path", "absent.npz", "--judging", "by_scale", "--consistency", "0.5", "--batch-size", "4"]
    flags += ["--patch", "4", "--width", "16", "--depth", "4", "--num-heads", "2", "--class-size", "8"]
    gan = load_config(CONFIGS / "gat_cifar10.py", [*flags, "--dtype", "float32"]).gan
    assert isinstance(gan, GAN)
    assert isinstance(gan.discriminator, gat.ScaleDiscriminator)
    assert gan.discriminator.noise_levels == (0.01,) * 4
    assert gan.generator_terms == (ScaleConsistency(0.5),)
    state, batch = init(gan, KEY), example_batch(gan, 4)
    after, metrics = jax.jit(train_step, static_argnums=0)(gan, state, batch, KEY)
    for name in ("d/loss", "g/loss", "penalty/difference_r1", "penalty/difference_r2", "term/scale_consistency"):
        assert np.isfinite(metrics[name]), name
    assert metrics["term/scale_consistency"] > 0
    moved = jax.tree.map(
        lambda one, other: bool(jnp.any(one != other)), state.discriminator.params, after.discriminator.params
    )
    assert all(moved["patches_by_scale_0"].values())
    assert moved["class_tokens"]


def test_consistency_is_the_mean_of_what_earlier_images_miss_of_the_last() -> None:
    rng = np.random.default_rng(2)
    images, reals = np.float32(rng.normal(size=(3, 16, 16, 8))), np.float32(rng.normal(size=(3, 16, 16, 2)))
    *earlier, last = np.split(images.astype(np.float64), 4, axis=-1)
    expected = np.mean(
        [
            np.mean((image - last).reshape(3, side, 16 // side, side, 16 // side, 2).mean(axis=(2, 4)) ** 2)
            for image, side in zip(earlier, (2, 4, 8), strict=True)
        ]
    )

    def value(images: Any) -> Any:
        judged = Judged(jnp.zeros(3))
        given: Any = dict(start=jnp.zeros((3, 1)), generate=None, fake=judged, real=None, keys=None, axis_name=None)
        return ScaleConsistency()(Generated(images=images, reals=jnp.asarray(reals), **given))

    np.testing.assert_allclose(value(jnp.asarray(images)), expected, rtol=1e-5)
    slope = np.asarray(jax.grad(value)(jnp.asarray(images)))
    assert not slope[..., 6:].any()  # the last is followed, and does not follow
    assert all(np.any(slope[..., 2 * index : 2 * index + 2]) for index in range(3))


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(
        UserError, match="a side too, in patches of 8; expected sides that are multiples of 64, or patches of 4"
    ):
        gat.ScaleDiscriminator(**{**SIZES, "image_shape": (32, 32, 3), "patch": 8})
    with pytest.raises(UserError, match=r"expected sides that are multiples of 16$"):
        gat.ScaleDiscriminator(**{**SIZES, "image_shape": (20, 16, 3)})
    adam = load_config(CONFIGS / "quickstart.py", []).gan
    with pytest.raises(UserError, match="ScaleConsistency compares the images that a generator makes on its way"):
        dataclasses.replace(adam, generator_terms=(ScaleConsistency(),))
    with pytest.raises(UserError, match="ScaleConsistency's weight is -1"):
        ScaleConsistency(-1)
