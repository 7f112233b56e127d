"""Large pictures in parts: the whole that is made of them is what the network makes at once, or that is told."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import correlate, zoom

from ganjax.using.sizes import Sizes, padded_to
from ganjax.using.tiling import largest_overlap, measure_overlap, spans_along
from ganjax.using.translating import Translator, as_bytes, as_floats

KERNEL = np.random.default_rng(1).normal(size=(7, 7, 1)) / 7


def starts(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 127.5 - 1 if pictures.dtype == np.uint8 else pictures


def local(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Sees three pixels to each side, and zeros beyond the edge."""
    return np.stack([np.tanh(correlate(one, KERNEL, mode="constant")) for one in starts(pictures)]).astype(np.float32)


def doubled(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return local(pictures, numbers).repeat(2, axis=1).repeat(2, axis=2)


def quartered(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Works at a quarter of the size, as networks do that halve twice."""
    return local(starts(pictures)[:, ::4, ::4], numbers).repeat(4, axis=1).repeat(4, axis=2)


def of_all(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Subtracts the mean of all pixels, as instance norm does."""
    return np.tanh(starts(pictures) - starts(pictures).mean(axis=(1, 2), keepdims=True))


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth: Any = zoom(rng.random((1, -(-height // 8), -(-width // 8), channels)), (1, 8, 8, 1), order=1)
    return (smooth[:, :height, :width] * 255).astype(np.uint8)


@pytest.mark.parametrize(("length", "tile", "overlap"), [(5, 8, 2), (8, 8, 3), (9, 8, 3), (100, 16, 4), (37, 9, 4)])
def test_spans_cover_all_once_and_keep_their_distance(length: int, tile: int, overlap: int) -> None:
    spans = spans_along(length, tile=tile, overlap=overlap)
    assert [pixel for span in spans for pixel in range(span.first, span.last)] == list(range(length))
    for span in spans:
        end = min(length, span.start + tile)
        assert span.first == 0 or span.first - span.start >= overlap
        assert span.last == length or end - span.last >= overlap
        assert 0 <= span.start <= span.first < span.last <= end


def test_starts_are_multiples_of_what_all_else_is() -> None:
    assert all(span.start % 4 == 0 for span in spans_along(100, tile=24, overlap=8))
    with pytest.raises(ValueError, match="keep nothing"):
        spans_along(100, tile=24, overlap=12)


NETWORKS = {
    "local": (local, Sizes((Fraction(1), Fraction(1))), 3),
    "doubled": (doubled, Sizes((Fraction(2), Fraction(2))), 3),
    "quartered": (quartered, Sizes((Fraction(1), Fraction(1)), 4, 4), 12),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_overlap_is_as_far_as_a_network_looks(name: str) -> None:
    network, sizes, reach = NETWORKS[name]
    found = measure_overlap(
        lambda parts: network(parts, np.zeros(len(parts), np.int32)),
        picture(80, 90)[0],
        tile=(48, 48),
        scale=sizes.scale,
        multiple=sizes.multiple,
    )
    assert found.overlap == reach
    assert found.seamless


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(80, 96), (33, 120), (97, 61)])
def test_parts_make_the_whole(name: str, size: tuple[int, int]) -> None:
    network, sizes, _ = NETWORKS[name]
    pictures = picture(*size)
    number = np.zeros(1, np.int32)
    said: list[str] = []
    whole = Translator(network, sizes, tile=0)(pictures, number, as_floats)
    parts = Translator(network, sizes, tile=48, say=said.append)(pictures, number, as_floats)
    assert whole.shape == (1, *sizes.scaled(size), 3)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6)
    assert not said


def test_what_looks_at_all_is_worked_through_as_a_whole_unless_parts_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ganjax.using.translating._SIDE", 48)
    sizes, pictures, number, said = Sizes((Fraction(1), Fraction(1))), picture(80, 96), np.zeros(1, np.int32), []
    whole = Translator(of_all, sizes, tile=0)(pictures, number)
    translator = Translator(of_all, sizes, say=said.append)
    np.testing.assert_array_equal(translator(pictures, number), whole)
    translator(pictures, number)
    assert len(said) == 1
    assert "larger ones are worked through as a whole; --tile N cuts them all the same" in said[0]
    said.clear()
    cut = Translator(of_all, sizes, tile=48, say=said.append)(pictures, number)
    assert cut.shape == whole.shape
    assert not np.array_equal(cut, whole)
    (line,) = said
    assert "looks at more of a picture than such a part: parts of 48 x 48 pixels differ by up to" in line


def test_sides_that_a_network_does_not_take_are_continued_and_cropped_back() -> None:
    sizes = Sizes((Fraction(2), Fraction(2)), 8, 16)
    seen: list[tuple[int, ...]] = []

    def network(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        seen.append(pictures.shape)
        return doubled(pictures, numbers)

    made = Translator(network, sizes)(picture(17, 5), np.zeros(1, np.int32))
    assert seen == [(1, 24, 16, 3)]
    assert made.shape == (1, 34, 10, 3)
    np.testing.assert_array_equal(padded_to(picture(17, 5), (24, 5))[0, 17:], picture(17, 5)[0, 15:8:-1])
    assert padded_to(picture(1, 1), (8, 8)).shape == (1, 8, 8, 3)


def test_a_small_batch_is_filled_up_and_numbers_go_with_pictures() -> None:
    seen: list[tuple[int, ...]] = []

    def network(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        seen.append(pictures.shape)
        return np.zeros(pictures.shape, np.float32) + (numbers / 10)[:, None, None, None].astype(np.float32)

    translator = Translator(network, Sizes((Fraction(1), Fraction(1))))
    made = translator(np.repeat(picture(8, 8), 3, axis=0), np.array([5, 2, 7], np.int32), as_floats, rows=4)
    assert seen == [(4, 8, 8, 3)]
    np.testing.assert_allclose(made[:, 0, 0, 0], [0.75, 0.6, 0.85], rtol=1e-6)


def test_a_network_of_one_size_is_given_nothing_else() -> None:
    sizes = Sizes((Fraction(1), Fraction(1)), fixed=(48, 48))

    def network(pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        assert pictures.shape[1:3] == (48, 48)
        return local(pictures, numbers)

    assert sizes.takes((48, 20))
    assert not sizes.takes((48, 49))
    pictures, number = picture(48, 100), np.zeros(1, np.int32)
    made = Translator(network, sizes, tile=1, say=pytest.fail)(pictures, number, as_floats)
    np.testing.assert_allclose(made, as_floats(local(pictures, number)), rtol=0, atol=1e-6)
    assert Translator(network, sizes, tile=1)(picture(70, 20), number).shape == (1, 70, 20, 3)


def test_images_are_clipped_then_rounded_to_the_nearest() -> None:
    values = np.array([-3, -1, -0.9961, 0.0, 0.5, 1, 1.2], np.float32)
    assert as_bytes(values).tolist() == [0, 0, 0, 128, 191, 255, 255]
    np.testing.assert_allclose(as_floats(values), [0, 0, 0.00195, 0.5, 0.75, 1, 1], atol=1e-6)
    assert as_floats(values).dtype == np.float32


def test_no_overlap_leaves_less_than_a_quarter() -> None:
    for tile in range(8, 200, 8):
        assert tile - 2 * largest_overlap(tile, 4) >= tile / 4
