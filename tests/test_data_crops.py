"""Crops drawn at random: a function of the seed and of the position in the stream, in one place of both of a pair."""

import itertools
import pathlib
import pickle
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax.cli import main
from ganjax.data import Folder, Pairs, open_feed, order
from ganjax.data.crops import CENTRE, crop_picture, draw_places
from ganjax.ground.errors import UserError
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose pixels say where they are: row, column, and the size's remainder."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, (height * 7 + width) % 256)], axis=-1).astype(np.uint8)


def write(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, (height, width) in {"a": (20, 30), "b": (16, 40), "c": (50, 17)}.items():
        write(tmp_path / "photos" / f"{name}.png", coordinates(height, width))
    return tmp_path / "photos"


def corners(images: np.ndarray) -> list[tuple[int, int]]:
    """Where crops of ``coordinates`` begin, after checking that they are crops."""
    for image in images:
        height, width, _ = image.shape
        np.testing.assert_array_equal(
            image[..., 0], image[0, 0, 0] + np.arange(height, dtype=np.uint8)[:, None] * np.ones(width, np.uint8)
        )
        np.testing.assert_array_equal(
            image[..., 1], image[0, 0, 1] + np.arange(width, dtype=np.uint8) * np.ones((height, 1), np.uint8)
        )
    return [(int(image[0, 0, 0]), int(image[0, 0, 1])) for image in images]


def batches(dataset: Any, *, seed: int, steps: range, rows: int = 3, **options: Any) -> list[dict[str, np.ndarray]]:
    feed = open_feed(dataset.open(), seed=seed, rows_per_step=rows, mirror=dataset.mirror, **options)
    with feed.iterate(steps.start) as inputs:
        return [
            {key: np.asarray(value) for key, value in batch.items()} for batch in itertools.islice(inputs, len(steps))
        ]


def test_crops_are_those_of_their_positions(photos: pathlib.Path) -> None:
    dataset = Folder(photos, size=(8, 12), crop_from="original")
    found = batches(dataset, seed=5, steps=range(40))
    sizes = [(20, 30), (16, 40), (50, 17)]
    seen = []
    for step, batch in enumerate(found):
        numbers = order(num_records=3, seed=5, start=3 * step, stop=3 * step + 3)
        places = draw_places(seed=5, start=3 * step, stop=3 * step + 3)
        for number, (down, across), corner in zip(numbers, places, corners(batch["images"]), strict=True):
            height, width = sizes[number]
            assert corner == (int(down * (height - 7)), int(across * (width - 11)))
            seen.append((number, corner))
    for number, (height, width) in enumerate(sizes):
        rows, columns = (np.array([corner for which, corner in seen if which == number])[:, axis] for axis in (0, 1))
        assert rows.max() <= height - 8
        assert columns.max() <= width - 12
        assert rows.min() < (height - 8) / 4  # anywhere
        assert rows.max() > (height - 8) * 3 / 4
        assert columns.min() <= (width - 12) / 4
        assert columns.max() >= (width - 12) * 3 / 4
    again = batches(dataset, seed=5, steps=range(17, 20), num_workers=0)
    for one, other in zip(found[17:20], again, strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])
    others = batches(dataset, seed=6, steps=range(3))
    assert any((one["images"] != other["images"]).any() for one, other in zip(found, others, strict=False))


def test_places_are_uniform_and_of_one_generator_for_all_time() -> None:
    places = np.array(draw_places(seed=0, start=0, stop=4000))
    assert places.min() >= 0
    assert places.max() < 1
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.02)
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.05
    assert draw_places(seed=0, start=7, stop=9) == [tuple(place) for place in places[7:9]]
    # The first words of Philox-4x64 with this key, as NumPy gives them.
    words = np.random.Philox(key=np.array([3, 2**63 + 11], np.uint64)).random_raw(2)
    assert draw_places(seed=3, start=11, stop=12) == [
        (int(words[0] >> np.uint64(11)) / 2**53, int(words[1] >> np.uint64(11)) / 2**53)
    ]


def test_a_record_by_its_number_is_the_centre(photos: pathlib.Path) -> None:
    source = pickle.loads(pickle.dumps(Folder(photos, size=8, crop_from="original").open()))
    assert source.draws
    assert corners([source[0]["images"]]) == [(6, 11)]
    np.testing.assert_array_equal(source[1]["images"], source.shown(1, CENTRE)["images"])


def test_of_a_fitted_picture(photos: pathlib.Path) -> None:
    source = Folder(photos, size=10, crop_from=(12, 16)).open()
    whole = Folder(photos, size=(12, 16)).open()
    np.testing.assert_array_equal(source.shown(0, (0.99, 0.0))["images"], whole[0]["images"][2:, :10])


@pytest.mark.parametrize(("scale", "input_larger"), [(1, False), (2, False), (4, True)])
def test_both_of_a_pair_are_cropped_at_one_place(scale: int, input_larger: bool, tmp_path: pathlib.Path) -> None:
    small, large = coordinates(11, 14), np.repeat(np.repeat(coordinates(11, 14), scale, 0), scale, 1)
    rest = coordinates(11 * scale + scale - 1, 14 * scale + scale - 1)  # a size that is no multiple
    rest[: 11 * scale, : 14 * scale] = large
    image, start = (small, rest) if input_larger else (rest, small)
    write(tmp_path / "images" / "a.png", image)
    write(tmp_path / "inputs" / "a.png", start)
    sizes = (5, 5 * scale) if input_larger else (5 * scale, 5)
    pairs = Pairs(
        tmp_path / "images",
        size=sizes[0],
        inputs=tmp_path / "inputs",
        input_size=sizes[1],
        crop_from="original",
        mirror=True,
    )
    places = set()
    for batch in batches(pairs, seed=1, steps=range(30), rows=1):
        less, more = (batch["images"], batch["inputs"]) if input_larger else (batch["inputs"], batch["images"])
        np.testing.assert_array_equal(np.repeat(np.repeat(less, scale, 1), scale, 2), more)
        places.add(tuple(less[0, 0, 0, :2]))
    assert len(places) > 15


def test_refusals(photos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"crop_from is 6 and size 8; expected at least that size, or 'original'"):
        Folder(photos, size=8, crop_from=6).open()
    with pytest.raises(UserError, match=r"b.png is 40x16 pixels, smaller than the 20x20 asked for"):
        Folder(photos, size=8, crop_from=20).open()
    with pytest.raises(UserError, match=r"resident is 'device', and of .* another crop is shown each time"):
        open_feed(Folder(photos, size=8, crop_from="original").open(), seed=0, rows_per_step=1, resident="device")
    write(tmp_path / "one" / "a.png", coordinates(20, 20))
    write(tmp_path / "other" / "a.png", coordinates(10, 10))
    pairs = Pairs(tmp_path / "one", size=8, inputs=tmp_path / "other", crop_from="original")
    with pytest.raises(
        UserError, match=r"other/a.png is 10x10 pixels .*, and .*one/a.png 20x20; expected sizes of 1 to 1"
    ):
        pairs.open()[0]
    with pytest.raises(UserError, match=r"cannot be cropped alike; expected one to be a whole multiple"):
        Pairs(tmp_path / "one", size=9, inputs=tmp_path / "other", input_size=6, crop_from="original").open()
    with pytest.raises(UserError, match=r"crop_from is 19; expected multiples of 2"):
        Pairs(tmp_path / "one", size=8, inputs=tmp_path / "other", input_size=4, crop_from=19).open()


def test_smaller_pictures_are_enlarged_as_far_as_they_must(photos: pathlib.Path) -> None:
    source = Folder(photos, size=24, crop_from="original", upsample=True).open()
    assert source[2]["images"].shape == (24, 24, 3)  # of 50 x 17 pixels
    image = Image.fromarray(coordinates(12, 48))
    cropped = crop_picture(
        image, name="x", image_shape=(24, 24, 3), upsample=True, crop_from="original", place=(0.0, 0.999)
    )
    np.testing.assert_array_equal(cropped, np.asarray(image.resize((96, 24), Image.Resampling.LANCZOS))[:, 72:])


CONFIG = """
from pathlib import Path

from ganjax import GAN, Adam, Config, Run
from ganjax.data import Folder
from ganjax.models import mlp


def config(*, path: Path) -> Config:
    adam, shape = Adam(1e-3), (8, 8, 3)
    gan = GAN(
        generator=mlp.Generator(shape, latent_size=4, hidden=(8,)),
        discriminator=mlp.Discriminator(shape, hidden=(8,)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    run = Run(batch_size=8, total_images=32, log_every=8, sample_every=32, checkpoint_every=8, num_samples=4)
    return Config(gan=gan, data=Folder(path, size=8, crop_from="original", mirror=True), run=run)
"""


def test_a_run_on_crops_goes_on_bit_for_bit(tmp_path: pathlib.Path) -> None:
    for index in range(8):
        pixels = np.random.default_rng(index).integers(0, 256, (20 + index, 24, 3), np.uint8)
        write(tmp_path / "photos" / f"{index}.png", pixels)
    (tmp_path / "own.py").write_text(CONFIG)
    command = ["train", str(tmp_path / "own.py"), "--path", str(tmp_path / "photos"), "--workdir"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    assert main([*command, str(tmp_path / "parts"), "--run.total-images", "16"]) == 0
    assert main([*command, str(tmp_path / "parts")]) == 0
    states = [
        restore_state(load_workdir(epath.Path(tmp_path / name)), epath.Path(tmp_path / name))
        for name in ("whole", "parts")
    ]
    assert int(states[1].step) == 4
    jax.tree.map(np.testing.assert_array_equal, *states)
