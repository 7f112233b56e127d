"""Points of a generator, the ways between them, and directions in which images change."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gan import LinearGenerator

from ganjax import UserError
from ganjax.models import biggan, dcgan, mlp, r3gan, stylegan2
from ganjax.models.condition import Condition, example_condition
from ganjax.using.directions import closed_form, first_products, principal
from ganjax.using.points import Points, along, images_of, mixed, moved, num_layers, points_of, slerp
from ganjax.using.projection import Descent, irregularity, project

KEY = jax.random.key(0)
CONDITION = Condition(jnp.array([0, 2], jnp.int32))


def variables_of(generator: Any) -> Any:
    latents = jnp.zeros((1, generator.latent_size))
    return jax.jit(lambda key: generator.init(key, latents, example_condition(generator, 1), train=False))(KEY)


STYLED = stylegan2.Generator(
    (8, 8, 1),
    channel_base=32,
    channel_limit=4,
    latent_size=6,
    style_size=5,
    num_classes=3,
    num_mapping_layers=1,
    mixing=0.0,
)


@pytest.fixture(scope="module")
def styled() -> tuple[Any, Any]:
    return STYLED, variables_of(STYLED)


def test_slerp_keeps_lengths_and_angles() -> None:
    first, second = jax.random.normal(KEY, (2, 1, 8))
    halfway, quarter, start, end = (slerp(first, second, jnp.array([share]))[0] for share in (0.5, 0.25, 0.0, 1.0))
    np.testing.assert_allclose(start, first[0], atol=1e-6)
    np.testing.assert_allclose(end, second[0], atol=1e-6)
    lengths = [jnp.linalg.norm(point) for point in (first[0], second[0], halfway)]
    assert float(lengths[2]) == pytest.approx(float((lengths[0] + lengths[1]) / 2), rel=1e-5)

    def angle(one: jax.Array, other: jax.Array) -> float:
        return float(jnp.arccos(one @ other / jnp.linalg.norm(one) / jnp.linalg.norm(other)))

    assert angle(first[0], quarter) == pytest.approx(angle(first[0], second[0]) / 4, rel=1e-4)
    np.testing.assert_allclose(slerp(first, first, jnp.array([0.3])), first, rtol=1e-6)  # of no direction
    np.testing.assert_allclose(slerp(first, -first, jnp.array([0.5])), 0 * first, atol=1e-5)


def test_a_way_goes_through_its_points_and_between_classes() -> None:
    points = Points(jax.random.normal(KEY, (2, 4)), None, CONDITION)
    way = along(points, num_frames=4, between_classes=3)
    assert way.num == 5
    np.testing.assert_allclose(way.array[jnp.array([0, 4])], points.array, atol=1e-6)
    labels: Any = way.condition.labels
    np.testing.assert_allclose(labels[1], [0.75, 0, 0.25])
    looped = along(points, num_frames=4, loop=True)
    assert looped.num == 8
    labels = looped.condition.labels
    assert labels.tolist() == [0] * 4 + [2] * 4


def test_between_classes_is_between_their_images() -> None:
    """A linear generator with a class as further numbers: halfway is the mean; a label as shares is that label."""
    generator = mlp.Generator((2, 2, 1), hidden=(), latent_size=3, num_classes=3)
    variables = variables_of(generator)
    latents = jnp.zeros((3, 3))
    shares = jnp.array([[1.0, 0, 0], [0, 0, 1.0], [0.5, 0, 0.5]])
    images = images_of(generator, variables, Points(latents, None, Condition(shares)))
    ends = images_of(generator, variables, Points(latents[:2], None, CONDITION))
    np.testing.assert_array_equal(images[:2], ends)
    np.testing.assert_allclose(jnp.arctanh(images[2]), jnp.mean(jnp.arctanh(ends), axis=0), atol=1e-6)


def test_what_knows_labels_alone_has_nothing_between_classes() -> None:
    generator = LinearGenerator(num_classes=3)
    points = Points(jnp.zeros((1, 3)), None, Condition(jnp.ones((1, 3)) / 3))
    with pytest.raises(UserError, match="takes labels and nothing between classes; stay within one"):
        images_of(generator, {}, points)


def test_styles_are_straight_mixed_by_layers_and_make_the_images_of_their_latents(styled: tuple[Any, Any]) -> None:
    generator, variables = styled
    latents = jax.random.normal(KEY, (2, 6))
    points = points_of(generator, variables, latents, CONDITION)
    assert points.latents is None
    assert num_layers(generator, variables) == 4
    expected = generator.apply(variables, latents, CONDITION, train=False)
    np.testing.assert_allclose(images_of(generator, variables, points), expected, atol=1e-6)
    np.testing.assert_allclose(along(points, num_frames=2).array[1], jnp.mean(points.array, axis=0), atol=1e-6)
    grid = mixed(points, points, [2, 3], num_layers=4)
    labels: Any = grid.condition.labels
    assert labels.tolist() == [0, 0, 2, 2]
    np.testing.assert_array_equal(grid.array[1, :2], points.array[0, :2])
    np.testing.assert_array_equal(grid.array[1, 2:], points.array[1, 2:])
    walked = moved(points, jnp.ones(5), jnp.array([-1.0, 0.0]), layers=[1])
    np.testing.assert_allclose(walked.array[0] - points.array[0], jnp.zeros((4, 5)).at[1].set(-1.0), atol=1e-6)
    np.testing.assert_array_equal(walked.array[3], points.array[1])


def test_closed_form_directions_are_the_singular_vectors_of_the_first_layer() -> None:
    generator = dcgan.Generator((8, 8, 1), features=2, latent_size=5, num_classes=3, embedding_size=4)
    variables = variables_of(generator)

    def image_of(code: jax.Array) -> jax.Array:
        return images_of(generator, variables, Points(code[None], None, Condition(jnp.zeros(1, jnp.int32))))

    codes = 2 * jax.random.normal(KEY, (400, 5))
    found = closed_form(image_of, codes, num=3)
    kernel = variables["params"]["Dense_0"]["kernel"][:5]  # the class's rows come after them
    vectors, strengths, _ = np.linalg.svd(kernel)
    np.testing.assert_allclose(found.strengths, strengths[:3], rtol=1e-4)
    np.testing.assert_allclose(jnp.abs(found.vectors @ vectors[:, :3]), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(found.deviations, jnp.std(codes @ found.vectors.T, axis=0), rtol=1e-5)
    with pytest.raises(UserError, match="6 directions are asked for; expected 1 to 5"):
        closed_form(image_of, codes, num=6)


FIRST_LAYERS: dict[str, tuple[Any, int]] = {
    # How many numbers a code first becomes: the dense layer's; the linear map's; the first chunk's layer, and scales
    # and shifts of the norms of each of three blocks, which the other chunks go into.
    "mlp": (mlp.Generator((4, 4, 1), hidden=(7,), latent_size=4), 7),
    "r3gan": (r3gan.Generator((8, 8, 1), widths=(8, 8), group_size=4, latent_size=4), 8),
    "biggan": (biggan.Generator((32, 32, 1), features=1, latent_size=8), 16 * 4 + 3 * 2 * 2 * 4),
}


@pytest.mark.parametrize("family", FIRST_LAYERS)
def test_the_first_layers_of_a_family_are_found(family: str) -> None:
    generator, size = FIRST_LAYERS[family]
    variables = jax.eval_shape(
        lambda key: generator.init(key, jnp.zeros((1, generator.latent_size)), None, train=False), KEY
    )
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1, leaf.dtype), variables)
    code = jnp.zeros(generator.latent_size)
    found = first_products(lambda code: images_of(generator, variables, Points(code[None])), code)
    assert found.shape == (size,)


def test_styles_first_meet_the_layers_that_make_scales(styled: tuple[Any, Any]) -> None:
    generator, variables = styled

    def image_of(code: jax.Array) -> jax.Array:
        styles = jnp.stack([code, *[jnp.zeros(5)] * 3])[None]
        return images_of(generator, variables, Points(None, styles, Condition(jnp.zeros(1, jnp.int32))))

    kernel = variables["params"]["synthesis"]["convolution_4x4_1"]["style"]["kernel"] / np.sqrt(5)
    strengths = closed_form(image_of, jnp.ones((2, 5)), num=2).strengths
    np.testing.assert_allclose(strengths, np.linalg.svd(kernel)[1][:2], rtol=1e-4)


def test_a_code_that_nothing_takes_as_it_is_has_no_closed_form() -> None:
    with pytest.raises(UserError, match="no layer of the generator takes its code as it is"):
        first_products(lambda code: jnp.tanh(code) @ jnp.ones((3, 2)), jnp.zeros(3))


def test_principal_directions_are_of_codes_or_brought_back_from_features() -> None:
    codes = jax.random.normal(KEY, (500, 3)) @ jnp.diag(jnp.array([0.1, 3.0, 1.0]))
    found = principal(codes, num=2)
    np.testing.assert_allclose(jnp.abs(found.vectors), [[0, 1, 0], [0, 0, 1]], atol=0.05)
    np.testing.assert_allclose(found.deviations, [3, 1], rtol=0.1)
    normal = jax.random.normal(KEY, (2000, 3))
    features = normal @ jnp.diag(jnp.array([1.0, 0.2, 5.0]))
    np.testing.assert_allclose(jnp.abs(principal(normal, num=1, features=features).vectors), [[0, 0, 1]], atol=0.02)


def test_maps_are_irregular_where_neighbours_are_alike_at_any_scale() -> None:
    board = jnp.asarray(np.indices((16, 16)).sum(axis=0) % 2 * 2.0 - 1)
    assert float(irregularity(board)) == pytest.approx(2.0)  # and nothing is left of it at 8 x 8
    assert float(irregularity(jnp.ones((16, 16)))) == pytest.approx(2.0 + 2 * 4**2)
    assert float(irregularity(jnp.repeat(jnp.repeat(board[:8, :8], 2, 0), 2, 1))) > 30  # alike in twos
    assert float(irregularity(jax.random.normal(KEY, (256, 256)))) < 0.1


def of_code_and_maps(weights: Any, code: Any, maps: Any, target: Any) -> Any:
    return jnp.mean(jnp.square(code - target[0])) + jnp.mean(jnp.square(maps["map"] - target[1]))


def test_maps_descend_beside_codes_and_stay_noise() -> None:
    texture = jnp.sin(jnp.arange(256.0) / 7).reshape(1, 16, 16) + jnp.zeros((2, 1, 1))
    targets, maps = (jnp.ones((2, 3)), texture), {"map": jax.random.normal(KEY, (2, 16, 16))}
    how: Any = {"spread": jnp.float32(1), "key": KEY, "maps": maps}
    descents = [Descent(num_steps=60, regularity=weight) for weight in (0.0, 1e5)]
    free, kept = (project(of_code_and_maps, {}, jnp.zeros((2, 3)), targets, **how, descent=each) for each in descents)
    for found in (free, kept):
        np.testing.assert_allclose(found.codes, targets[0], atol=0.05)
        np.testing.assert_allclose(jnp.mean(found.maps["map"], axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(jnp.var(found.maps["map"], axis=(1, 2)), 1, rtol=1e-4)
    likeness = [jnp.mean(found.maps["map"] * texture) for found in (free, kept)]
    assert likeness[0] > 0.6  # as much as a map of variance 1 can be like it
    assert likeness[1] < 0.5 * likeness[0]
    assert float(irregularity(kept.maps["map"][0])) < 0.05 * float(irregularity(free.maps["map"][0]))


def test_each_image_has_its_own_maps_of_noise(styled: tuple[Any, Any]) -> None:
    generator, variables = styled
    strong = jax.tree.map_with_path(
        lambda path, leaf: jnp.ones_like(leaf) if "noise_strength" in str(path) else leaf, variables
    )
    points = points_of(generator, variables, jnp.ones((2, 6)), Condition(jnp.zeros(2, jnp.int32)))
    stored = strong["noise"]
    maps = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), stored)
    images = images_of(generator, strong, points, maps=maps)
    np.testing.assert_allclose(images[0], images_of(generator, strong, points)[0], atol=1e-5)
    assert float(jnp.abs(images[1] - images[0]).max()) > 0.1
