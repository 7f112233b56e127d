"""Stacked-MNIST: the label spells the digits in the channels, and the draw is a function of the seed."""

from pathlib import Path

import numpy as np
import pytest

from ganjax import UserError
from ganjax.data import StackedMnist


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Forty "digits": digit d is a 28x28 image full of 20 * d + 1 and a mark that tells the forty apart."""
    labels = np.arange(40) % 10
    images = np.broadcast_to((20 * labels + 1)[:, None, None], (40, 28, 28)).astype(np.uint8)
    images[:, 0, 0] = np.arange(40) + 200
    np.savez(tmp_path / "mnist.npz", images=images, labels=labels)
    return tmp_path / "mnist.npz"


def test_labels_spell_the_channels(digits: Path) -> None:
    source = StackedMnist(digits, num_images=3_000).open()
    assert source.image_shape == (32, 32, 3)
    assert source.num_classes == 1000
    assert source.class_names[7] == "007"
    arrays = source.load()
    images, labels = arrays["images"], arrays["labels"]
    spelt = (images[:, 16, 16].astype(int) - 1) // 20 @ [100, 10, 1]
    np.testing.assert_array_equal(labels, spelt)
    assert not images[:, :2].any()  # the border of two pixels is black
    assert not images[:, :, -2:].any()
    assert len(np.unique(labels)) > 900  # 3,000 draws of 1,000 modes miss 5 %
    assert len(np.unique(images[:, 2, 2, 0])) == 40  # and every scan is drawn


def test_the_draw_is_a_function_of_the_seed(digits: Path) -> None:
    first, again, other = (StackedMnist(digits, num_images=50, seed=seed).open().load() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["images"], again["images"])
    assert (first["labels"] != other["labels"]).any()


def test_mistakes(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"size is 16; expected 28 or more"):
        StackedMnist(digits, size=16).open()
    np.savez(tmp_path / "colour.npz", images=np.zeros((4, 28, 28, 3), np.uint8), labels=np.arange(4))
    with pytest.raises(UserError, match=r"colour.npz has 4 classes and 3 channel"):
        StackedMnist(tmp_path / "colour.npz").open()
