"""The classifier learns, is kept in the cache, and reads Stacked-MNIST channel by channel."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import UserError
from ganjax.data import ArraySource, Digits
from ganjax.evaluation.classifier import Classifier, StackedClassifier, cached_classifier, train_classifier
from ganjax.evaluation.content import read_content
from ganjax.evaluation.features import FeatureNetwork, stream_features


@pytest.fixture(scope="module")
def digits() -> ArraySource:
    source = Digits(size=8).open()
    assert isinstance(source, ArraySource)
    return source


@pytest.fixture(scope="module")
def classifier(digits: ArraySource, tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield cached_classifier(digits, total_images=10_000)


def test_it_learns_and_is_a_feature_network(classifier: Classifier, digits: ArraySource) -> None:
    network: Any = classifier
    assert isinstance(network, FeatureNetwork)
    assert classifier.num_held_out == 179
    assert classifier.accuracy > 0.9
    arrays = digits.load()
    (found,) = stream_features(network, [arrays["images"][:200]])
    assert found.features.shape == (200, classifier.num_features)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(found.probabilities.argmax(axis=1) == arrays["labels"][:200]) > 0.9


def test_it_comes_from_the_cache_unless_that_is_damaged(
    classifier, digits: ArraySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path))
    first = cached_classifier(digits, total_images=128)
    (path,) = (tmp_path / "classifiers").iterdir()
    written = path.stat().st_mtime_ns
    again = cached_classifier(digits, total_images=128)
    assert path.stat().st_mtime_ns == written
    assert (again.name, again.accuracy, again.fingerprint) == (first.name, first.accuracy, first.fingerprint)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(damaged)
    third = cached_classifier(digits, total_images=128)
    assert "damaged" in caplog.text
    assert third.fingerprint == first.fingerprint  # trained again, to the same bits


def test_another_dataset_gets_another_classifier(digits: ArraySource) -> None:
    arrays = digits.load()
    images = arrays["images"].copy()
    original = read_content(digits)
    assert read_content(ArraySource(images, arrays["labels"], name="renamed")) == original
    images[17, 3, 3] ^= 1
    assert read_content(ArraySource(images, arrays["labels"])) != original
    swapped = arrays["labels"].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert read_content(ArraySource(arrays["images"], swapped)) != original


def test_stacked_classes_spell_the_digits_of_the_channels(classifier, digits: ArraySource) -> None:
    arrays = digits.load()
    picks = np.array([[0, 1, 2], [5, 4, 3], [17, 17, 8]])
    stacked = np.moveaxis(arrays["images"][picks][..., 0], 1, 3)
    found = jax.jit(lambda network, images: network(images))(StackedClassifier(digits=classifier), jnp.asarray(stacked))
    single = classifier(jnp.asarray(arrays["images"][:20]))
    expected = single.probabilities.argmax(axis=1)[picks] @ np.array([100, 10, 1])
    np.testing.assert_array_equal(found.probabilities.argmax(axis=1), expected)
    np.testing.assert_allclose(found.features[1, 128:256], single.features[4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(40, 13, 9, 3), (40, 18, 20, 1)])
def test_any_image_shape(shape: tuple[int, int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    classifier = train_classifier(ArraySource(images, np.arange(40) % 4), total_images=32)
    assert classifier(jnp.asarray(images[:2])).features.shape == (2, 128)


def test_mistakes() -> None:
    images = np.zeros((9, 8, 8, 1), np.uint8)
    with pytest.raises(UserError, match="has no class"):
        train_classifier(ArraySource(images))
    with pytest.raises(UserError, match="has 9 images"):
        train_classifier(ArraySource(images, np.arange(9) % 2))
