"""Datasets made of others: few labels, two domains."""

import pickle

import numpy as np
import pytest

from ganjax import UserError
from ganjax.data import ArraySource, Digits, Domains, FewLabels, Npz, outlined
from ganjax.evaluation.content import read_content
from ganjax.evaluation.reference import Reals
from ganjax.runs.subjects import open_classifier


def test_few_labels_are_of_all_classes_alike() -> None:
    data = FewLabels(Digits(size=8), num=30)
    plain, source = Digits(size=8).open(), data.open()
    labels, known = (one.load()["labels"] for one in (plain, source))
    kept = np.flatnonzero(known >= 0)
    np.testing.assert_array_equal(kept, data.kept(plain))
    assert np.bincount(known[kept]).tolist() == [3] * 10
    np.testing.assert_array_equal(known[kept], labels[kept])
    assert set(known[known < 0]) == {-1}
    assert source.fields == plain.fields
    np.testing.assert_array_equal(source[5]["images"], plain[5]["images"])
    other = FewLabels(Digits(size=8), num=30, seed=1).kept(plain)
    assert set(other) != set(kept)
    again = pickle.loads(pickle.dumps(source))
    assert again[int(kept[0])]["labels"] == labels[kept[0]]


def test_an_evaluation_knows_that_labels_are_lacking() -> None:
    source = FewLabels(Digits(size=8), num=30).open()
    content = read_content(source)
    assert content.label_counts == (3,) * 10
    with pytest.raises(UserError, match="needs a classifier, and of digits some labels are not known; name"):
        open_classifier(None, Reals(source, content, "all"))


@pytest.mark.parametrize(
    ("num", "message"),
    [
        (25, "num is 25, for 10 classes; expected a multiple of 10"),
        (0, "num is 0"),
        (5_000, "digits has fewer than 500 images of 8; set num to less than 5000"),
    ],
)
def test_labels_that_cannot_be_kept_are_refused(num: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FewLabels(Digits(size=8), num=num).open()


def test_labels_are_kept_of_a_dataset_that_has_some(tmp_path) -> None:
    np.savez(tmp_path / "plain.npz", images=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(UserError, match=r"plain\.npz has no labels, and 100 are to be kept"):
        FewLabels(Npz(tmp_path / "plain.npz")).open()


def test_every_other_image_is_of_the_second_domain() -> None:
    plain, source = Digits(size=8).open(), Domains(Digits(size=8)).open()
    assert source.class_names == ("as it is", "outlined")
    assert len(source) == len(plain)
    for index in (0, 1, 2, 3):
        image = plain[index]["images"]
        expected = outlined(image) if index % 2 else image
        np.testing.assert_array_equal(source[index]["images"], expected)
        assert source[index]["labels"] == index % 2
    assert {*source.fields} == {*source[0]} == {"images", "labels"}
    assert read_content(source).label_counts == (899, 898)
    assert pickle.loads(pickle.dumps(source))[1]["labels"] == 1


def test_outlines_are_bright_at_edges() -> None:
    image = np.zeros((6, 6, 1), np.uint8)
    image[2:4, 2:4] = 100
    expected = np.zeros((6, 6), np.uint8)
    expected[1, 2:4] = expected[3, 2:4] = expected[2:4, 1] = expected[2:4, 3] = 200
    np.testing.assert_array_equal(outlined(image)[:, :, 0], expected)
    assert outlined(np.array([[[0], [255]]], np.uint8)).max() == 255


def test_fields_that_are_not_told_are_left_out() -> None:
    arrays = ArraySource(np.zeros((2, 4, 4, 1), np.uint8), attributes=np.ones((2, 3), np.float32))

    class Given:
        mirror = True

        def open(self) -> ArraySource:
            return arrays

    assert Domains(Given()).mirror
    assert Domains(Given()).open().num_attributes == 0
