"""The geometry against numbers out of the paper's own implementation (NVlabs/stylegan2-ada-pytorch at d72cc7d).

``ada_geometry.npz`` has two batches of ten images, RGB and grey, with a draw for each: the eight transforms one by one,
all of them together, and all together with more than one reflection can fill. The images and the cotangents are random
integers from NumPy, in 128ths; ``augmented`` is what ``AugmentPipe`` made of the images on a CPU in PyTorch 2.13, with
xflip, rotate90, xint, scale, rotate, aniso and xfrac at 1 and the draws in place of what ``torch.rand`` and
``torch.randn`` return, and ``gradients`` is what ``torch.autograd.grad`` made of the cotangents.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_ada
from test_augment_ada import GEOMETRY
from test_data_tfds import SHARED_DATA

from ganjax import augment
from ganjax.augment import Draws
from ganjax.platform.forms import FORMS, target_forms

NAMES = [*GEOMETRY, "all together", "beyond one reflection"]
OUTPUTS = SHARED_DATA / "ada-reference" / "geometry.npz"


def official(kind: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of one batch, and its draws."""
    with np.load(pathlib.Path(__file__).with_name("ada_geometry.npz")) as file:
        arrays = {name.removeprefix(f"{kind}/"): file[name] for name in file if name.startswith(f"{kind}/")}
    arrays |= {name: np.float32(arrays[name]) / 128 for name in ("images", "cotangents")}
    return arrays, {name: arrays.pop(name) for name in GEOMETRY}


@jax.jit
def augmented_and_gradients(images: jax.Array, draws: Draws, cotangents: jax.Array) -> tuple[jax.Array, jax.Array]:
    augmented, pull = jax.vjp(lambda images: augment.apply(images, draws), images)
    return augmented, pull(cotangents)[0]


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize("kind", ["rgb", "grey"])
def test_geometry_and_its_derivative_are_the_official_ones(kind, platform):
    arrays, draws = official(kind)
    with target_forms(FORMS[platform]):
        augmented, gradients = augmented_and_gradients(
            jnp.asarray(arrays["images"]),
            Draws(**{name: jnp.asarray(draw) for name, draw in draws.items()}),
            jnp.asarray(arrays["cotangents"]),
        )
    for number, name in enumerate(NAMES):
        np.testing.assert_allclose(augmented[number], arrays["augmented"][number], rtol=0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(gradients[number], arrays["gradients"][number], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", ["rgb", "grey"])
def test_the_reference_is_the_official_pipe(kind):
    arrays, draws = official(kind)
    for number, name in enumerate(NAMES):
        draw = {name: np.float64(value[number]) for name, value in draws.items()}
        expected = arrays["augmented"][number]
        actual = reference_ada.geometry(np.float64(arrays["images"][number]), draw)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.skipif(not OUTPUTS.is_file(), reason="the folder of shared data is not beside the repository")
@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_larger_images_are_the_official_ones(platform):
    """Of smooth images. The geometry is linear, so the derivative, transposed, gives the same sums of products."""
    ones = jnp.ones(2)
    draws = {
        "x_flip": Draws(x_flip=ones),
        "quarter_turn": Draws(quarter_turns=ones),
        "scale": Draws(log2_scale=ones * np.float32(np.log2(0.9498940876))),
        "rotation": Draws(rotation_before=ones * np.float32(-1.2566370614)),
    }
    with np.load(OUTPUTS) as file:
        images, expected = file["images"], {name: file[name] for name in draws}
    cotangents = np.random.default_rng(0).uniform(-1, 1, images.shape).astype(np.float32)
    for name, draw in draws.items():
        with target_forms(FORMS[platform]):
            augmented, gradients = augmented_and_gradients(jnp.asarray(images), draw, jnp.asarray(cotangents))
        np.testing.assert_allclose(augmented, expected[name], rtol=0, atol=1e-4, err_msg=name)
        sums = [np.sum(np.float64(a) * b) for a, b in ((expected[name], cotangents), (images, np.asarray(gradients)))]
        assert sums[0] == pytest.approx(sums[1], abs=1e-3), name
        if name == "x_flip":  # the filter is not symmetric, so this is not an exact mirror
            off = np.abs(augmented - images[:, :, ::-1])
            assert off.max() == pytest.approx(0.1446, abs=4e-4)
            assert off.mean() == pytest.approx(0.0120, abs=1e-4)
