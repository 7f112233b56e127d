"""The pictures of an evaluation show what they are for: copies, classes, failures, and curves."""

import json
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from tiny_evaluation import projection, source

from ganjax.evaluation import pictures
from ganjax.evaluation.reference import KeptFeatures
from ganjax.runs.curves import HEIGHT, WIDTH, learning_curves


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """What a picture hands to the sheet."""
    given: dict[str, np.ndarray] = {}
    sheet = pictures.sheet
    monkeypatch.setattr("ganjax.evaluation.pictures.sheet", lambda found: given.update(found) or sheet(found))
    return given


def features_of(images: np.ndarray) -> np.ndarray:
    return np.asarray(projection(images[0].size)(images).features)


def test_copies_are_found_in_features_and_in_pixels(rows: dict[str, np.ndarray]) -> None:
    data = source(400)
    arrays = data.load()
    kept = np.arange(0, 400, 2)  # the features of half of the reals
    real = KeptFeatures(features_of(arrays["images"][kept]), arrays["labels"][kept], kept)
    images = np.concatenate([source(20, seed=1).load()["images"], arrays["images"][[36, 300]]])
    picture = pictures.neighbours_picture(images, features_of(images), data, real, columns=6)
    assert picture.width > picture.height > 0
    assert list(rows) == ["generated", *(f"{kind} {rank}" for kind in ("features", "pixels") for rank in (1, 2, 3))]
    np.testing.assert_array_equal(rows["generated"][:3], images[:3])
    # The nearest, after the gap: the two copies, in either order, over what they are copies of.
    copies = rows["generated"][4:6]
    assert {image.tobytes() for image in copies} == {image.tobytes() for image in arrays["images"][[36, 300]]}
    for name in ("features 1", "pixels 1"):
        np.testing.assert_array_equal(rows[name][4:6], copies)
    # Each of the others, by an exhaustive search.
    reals = arrays["images"][kept].reshape(200, -1).astype(float)
    for column in range(3):
        squares = ((reals - images[column].reshape(-1)) ** 2).sum(axis=1)
        for rank, index in enumerate(np.argsort(squares)[:3]):
            np.testing.assert_array_equal(rows[f"pixels {rank + 1}"][column], arrays["images"][kept[index]])


def test_large_images_are_searched_by_averages(rows: dict[str, np.ndarray]) -> None:
    data = source(30, shape=(70, 66, 3))
    images = data.load()["images"][[7]]
    small = pictures._small(images)
    assert small.shape == (1, 35 * 33 * 3)
    assert small[0, 0] == images[0, :2, :2, 0].mean()
    real = KeptFeatures(np.arange(30, dtype=np.float32)[:, None], None, np.arange(30))
    pictures.neighbours_picture(images, np.array([[4.1]], np.float32), data, real)
    np.testing.assert_array_equal(rows["pixels 1"][0], images[0])
    np.testing.assert_array_equal(rows["features 1"][0], data.load()["images"][4])


def test_classes_stand_side_by_side(rows: dict[str, np.ndarray]) -> None:
    data = source(60)
    arrays = data.load()
    fakes = source(9, seed=1).load()["images"]
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    pictures.classes_picture(fakes, labels, data, arrays["labels"][10:], np.arange(10, 60), columns=4)
    assert list(rows) == ["0", "1", "2"]
    np.testing.assert_array_equal(rows["1"][5:], fakes[5:])
    np.testing.assert_array_equal(rows["1"][0], arrays["images"][10:][arrays["labels"][10:] == 1][0])
    assert (rows["2"][4:] == 32).all()  # none was generated


def test_the_most_and_the_least_realistic(rows: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    images = source(40, seed=1).load()["images"]
    features = rng.normal(size=(40, 2)).astype(np.float32)
    features[17] = 50.0  # far from everything
    real = KeptFeatures(rng.normal(size=(300, 2)).astype(np.float32), None, np.arange(300))
    logits = rng.permutation(40).astype(np.float32)
    pictures.realism_picture(images, features, real, logits, columns=5)
    np.testing.assert_array_equal(rows["discriminator: most"][0], images[logits.argmax()])
    np.testing.assert_array_equal(rows["discriminator: least"][0], images[logits.argmin()])
    np.testing.assert_array_equal(rows["density: least"][0], images[17])
    rows.clear()
    pictures.realism_picture(images, features, real, None, columns=5)
    assert list(rows) == ["density: most", "density: least"]


def test_curves(tmp_path: Path) -> None:
    log = epath.Path(tmp_path / "metrics.jsonl")
    lines = [{"step": n, "images": 1000 * n, "d/loss": 2.0 - n / 10, "penalty/r1": 10.0**-n} for n in range(1, 6)]
    lines += [{"step": 5, "images": 5000, "evaluate/fid": 7.0}]
    lines += [{"step": 5, "images": 5000, "collapse/spread": "nearly all alike"}]  # a note: nothing to draw
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = learning_curves(log)
    assert picture.size == (2 * WIDTH, 2 * HEIGHT)  # losses, penalties, fid
    pixels = np.asarray(picture)
    blue = (pixels == (0, 114, 178)).all(axis=2)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        assert blue[row * HEIGHT : (row + 1) * HEIGHT, column * WIDTH : (column + 1) * WIDTH].sum() > 20
    assert not blue[HEIGHT:, WIDTH:].any()
    # A logarithmic axis makes a line of the powers of ten: its points lie at even distances.
    down, across = np.nonzero(blue[40 : HEIGHT - 30, WIDTH + 62 :])
    slope = np.polyfit(across, down, 1)
    assert np.abs(np.polyval(slope, across) - down).max() < 6
    log.write_text('{"step": 1, "images": 10, "d/loss": 0.0}\n')  # a single point of zero
    assert learning_curves(log).size == (WIDTH, HEIGHT)
    log.write_text("")
    assert learning_curves(log).size == (WIDTH, HEIGHT)
