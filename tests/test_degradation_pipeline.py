"""The degradation as a whole: beside the authors' code at given draws, in batches, over devices, in a GAN's step.

``degradation_official.npz`` has what Real-ESRGAN's own functions (BasicSR's kernels, filter2D, USMSharp, noise and
DiffJPEG, with the table of luma as in the standard, and PyTorch's interpolate) made of ``given()`` in their order.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import GAN, Adam, Generated, RealDistance, UserError, example_batch, init, losses, train_step
from ganjax.augment import Degraded, Sharpened
from ganjax.augment.degradation import SECOND, Blur, Noise, Resizing, Round
from ganjax.augment.degradation.kernels import KernelDraw
from ganjax.augment.degradation.noise import NoiseDraw
from ganjax.augment.degradation.pipeline import DegradedDraw, RoundDraw
from ganjax.augment.degradation.resizing import ResizingDraw
from ganjax.models.restoration import SRVGG, UNetDiscriminator
from ganjax.platform.sharding import batch_sharding, data_mesh

SIDE, NUM = 64, 6
OFFICIAL = Path(__file__).parent / "degradation_official.npz"


def given() -> tuple[np.ndarray, DegradedDraw]:
    """Images, channels first, and a draw for each: all kinds of noise, ways of resizing, and both orders."""
    rng = np.random.default_rng(17)
    squares = np.kron(rng.uniform(0, 1, (NUM, 3, 8, 8)), np.ones((1, 1, 8, 8)))
    images = (0.7 * squares + 0.3 * rng.uniform(0, 1, (NUM, 3, 1, SIDE))).astype(np.float32)

    def uniform(least: float, greatest: float, *shape: int) -> np.ndarray:
        return rng.uniform(least, greatest, (NUM, *shape)).astype(np.float32)

    def kernels(kinds: list[int]) -> KernelDraw:
        return KernelDraw(
            kind=np.array(kinds, np.int32),
            size=rng.choice([7, 13, 21], NUM).astype(np.int32),
            sigmas=uniform(0.4, 2.5, 2),
            angle=uniform(-3, 3),
            beta=uniform(0.6, 1.8) if kinds[0] == 2 else np.ones(NUM, np.float32),
            cutoff=uniform(1.1, 3),
            applied=np.array([1, 1, 0, 1, 1, 1], np.float32),
        )

    def one_round(kinds: list[int], factors: tuple[float, float], buffer: int, gaussian: list[int]) -> RoundDraw:
        chosen = np.array(gaussian, np.float32)
        return RoundDraw(
            kernel=kernels(kinds),
            resizing=ResizingDraw(uniform(*factors), np.array([0, 1, 2, 2, 1, 0], np.int32)),
            noise=NoiseDraw(
                gaussian=chosen,
                strength=np.where(chosen > 0, 12, 1.2).astype(np.float32),
                grey=np.array([0, 1, 0, 1, 0, 1], np.float32),
                uniform=(rng.integers(0, 2**23, (NUM, 3, buffer, buffer)) / 2**23).astype(np.float32),
            ),
            quality=uniform(30, 95),
        )

    draw = DegradedDraw(
        first=one_round([2, 3, 2, 4, 5, 6], (0.5, 1.5), 96, [1, 1, 0, 0, 1, 0]),
        second=one_round([0, 1, 0, 1, 0, 6], (0.75, 1.2), 19, [0, 1, 1, 0, 0, 1]),
        sinc=kernels([6] * NUM),
        way=np.array([2, 1, 0, 0, 1, 2], np.int32),
        jpeg_first=np.array([0, 1, 1, 0, 1, 0], np.float32),
    )
    return images, draw


def reals(num: int = 4, height: int = 32, width: int = 48, channels: int = 3) -> jax.Array:
    rng = np.random.default_rng(3)
    coarse = rng.uniform(-1, 1, (num, height // 8, width // 8, channels))
    return jnp.asarray(np.kron(coarse, np.ones((1, 8, 8, 1))), jnp.float32)


KEYS = jax.random.split(jax.random.key(5), 8)


def test_given_draws_come_to_what_the_authors_code_makes_of_them():
    images, draw = given()
    made = jax.jit(jax.vmap(Degraded(4).degrade))(jnp.asarray(images), jax.tree.map(jnp.asarray, draw))
    official = np.load(OFFICIAL)["degraded"]
    differences = np.abs(np.round(np.asarray(made) * 255) - official)
    # A coefficient of JPEG next to the middle of a step falls on its other side.
    assert np.mean(differences > 0) < 0.02
    assert differences.max() <= 3
    assert np.abs(official[:, :, ::2] - np.roll(official, 1, axis=0)[:, :, ::2]).mean() > 20  # they are pictures


def test_an_image_is_a_function_of_itself_and_its_key_in_any_batch_and_on_any_device():
    images, split = reals(8), batch_sharding(data_mesh())
    spread = jax.jit(Degraded(4), in_shardings=(split, split), out_shardings=split)
    whole = np.asarray(spread(images, KEYS))
    assert whole.shape == (8, 8, 12, 3)
    assert whole.dtype == np.float32
    levels = (whole + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), rtol=0, atol=1e-4)
    assert levels.min() > -1e-4
    assert levels.max() < 255 + 1e-4
    assert min(len(np.unique(np.round(it))) for it in levels) > 20
    # Others in the batch, other places in it, and one device.
    order = np.array([5, 2, 2])
    some = jax.jit(Degraded(4))(images[order], KEYS[jnp.array([5, 2, 3])])
    np.testing.assert_allclose(some[:2], whole[order[:2]], rtol=0, atol=1e-6)
    assert np.abs(some[2] - some[1]).mean() > 0.01


@pytest.mark.parametrize(("scale", "channels"), [(1, 1), (2, 3), (4, 1)])
def test_the_result_is_smaller_by_the_scale_whatever_is_drawn(scale, channels):
    shape = jax.eval_shape(Degraded(scale), reals(2, 32, 48, channels), KEYS[:2]).shape
    assert shape == (2, 32 // scale, 48 // scale, channels)


def test_derivatives_come_through_where_rounding_lets_them():
    images, draw = given()
    one, drawn = jnp.asarray(images[0, :, :32, :32]), jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), draw)
    noises = [
        it.noise._replace(uniform=it.noise.uniform[:, :side, :side]) for it, side in ((drawn[0], 48), (drawn[1], 9))
    ]
    drawn = drawn._replace(first=drawn[0]._replace(noise=noises[0]), second=drawn[1]._replace(noise=noises[1]))
    function = Degraded(4, rounding="straight_through")
    change = jax.jit(lambda it: jax.jvp(lambda it: function.degrade(it, drawn), (it,), (jnp.ones_like(it),))[1])(one)
    assert np.isfinite(change).all()
    # Lighter by so much: so it is after linear operations whose weights sum to 1, but for what is cut off.
    assert float(jnp.median(change)) == pytest.approx(1, abs=0.2)


def test_what_is_compared_with_can_be_the_sharpened_picture():
    images, sharp = reals(2), Sharpened(weight=2.0)
    generated = Generated(images, images, *[None] * 6)  # pyright: ignore[reportArgumentType]
    assert float(RealDistance()(generated)) == 0
    expected = np.abs(np.asarray(sharp(images)) - np.asarray(images)).mean()
    assert expected > 0.01
    assert float(RealDistance(target=sharp)(generated)) == pytest.approx(expected, rel=1e-5)


def gan(**settings) -> GAN:
    parts = {"input_shape": (4, 4, 3), "features": 4, "num_blocks": 1}
    return GAN(
        generator=SRVGG((16, 16, 3), **parts),
        discriminator=UNetDiscriminator((16, 16, 3), features=4),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
        loss=losses.non_saturating,
        inputs=Degraded(4),
        **settings,
    )


def test_a_gan_starts_from_it():
    one = gan(generator_terms=(RealDistance(1.0, target=Sharpened()),))
    state = jax.eval_shape(lambda: init(one, jax.random.key(0)))
    after, metrics = jax.eval_shape(lambda state: train_step(one, state, example_batch(one, 2), KEYS[0]), state)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert any("real_distance" in name for name in metrics)
    with pytest.raises(UserError, match=r"inputs makes images of \(8, 8, 3\) .* input_shape is \(4, 4, 3\)"):
        dataclasses.replace(one, inputs=Degraded(2))


def test_they_are_values():
    assert Degraded(4) == Degraded() != Degraded(2)
    assert len({Degraded(4), Degraded(4, second=SECOND), Degraded(4, sharpened=None)}) == 2


MISTAKES = [
    (lambda: Degraded(0), r"Degraded's scale is 0; expected a number at least 1, such as 4"),
    (lambda: Degraded(3)(reals(), KEYS[:4]), r"Degraded's scale is 3; expected one that divides 32 and 48"),
    (
        lambda: Degraded(4)(reals(4, 32, 48, 2), KEYS[:4]),
        r"Degraded is given images of 2 channels; expected 1 or 3",
    ),
    (lambda: Degraded(sinc=1.5), r"Degraded's sinc is 1\.5; expected a number from 0 to 1"),
    (lambda: Degraded(sinc_sizes=(8, 21)), r"Blur's sizes are \(8, 21\); expected odd numbers, such as \(7, 21\)"),
    (
        lambda: Round(quality=(0.0, 95.0)),
        r"the least of Round's quality is 0\.0; expected a number from 1 to 100",
    ),
    (
        lambda: Round(quality=(95.0, 30.0)),
        r"Round's quality is \(95\.0, 30\.0\); expected a tuple of the least",
    ),
    (lambda: Blur(sigma=(0.0, 3.0)), r"the least of Blur's sigma is 0\.0; expected a number above 0, such as 0\.2"),
    (lambda: Blur(plateau_beta=(1.5, 2.0)), r"the first of Blur's plateau_beta is 1\.5; expected a number at most 1"),
    (lambda: Blur(isotropic=-1.0), r"Blur's isotropic is -1\.0; expected a number at least 0, such as 0\.25"),
    (lambda: Blur(cutoff=4.0), r"Blur's cutoff is 4\.0; expected a number above 0 and at most 3\.14"),
    (lambda: Resizing(up=0.7, down=0.7), r"the sum of Resizing's up and down is 1\.4; expected a number at most 1"),
    (lambda: Resizing(factors=(1.1, 2.0)), r"the first of Resizing's factors is 1\.1; expected a number at most 1"),
    (lambda: Noise(grey=float("nan")), r"Noise's grey is nan; expected a number from 0 to 1"),
    (lambda: Sharpened(sigma=0.0), r"Sharpened's sigma is 0\.0; expected a number above 0, such as 8\.0"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
