"""Pairs of images: from two folders with equal names, and from both halves of one file."""

import io
import json
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganjax.data import Pairs, open_feed
from ganjax.ground.errors import UserError


def noise(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def write(path: pathlib.Path, pixels: np.ndarray, **options: Any) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def write_pairs(place: pathlib.Path, *, scale: int = 1) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two classes, in two folders; the inputs are of other formats, and smaller by a scale."""
    names = ["cat/a", "cat/b", "dog/a"]
    images = [write(place / "photos" / f"{name}.png", noise(8, 8, seed)) for seed, name in enumerate(names)]
    inputs = [
        write(place / "sketches" / f"{name}.{ending}", noise(8 // scale, 8 // scale, seed + 10))
        for seed, (name, ending) in enumerate(zip(names, ("bmp", "PNG", "tiff"), strict=True))
    ]
    return images, inputs


def pairs(place: pathlib.Path, **options: Any) -> Pairs:
    return Pairs(place / "photos", **{"inputs": place / "sketches", "size": 8} | options)


def zipped(folder: pathlib.Path) -> pathlib.Path:
    with zipfile.ZipFile(f"{folder}.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder.parent))  # with the folder, as many tools do
    return pathlib.Path(f"{folder}.zip")


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_two_folders_with_equal_names(kind: str, scale: int, tmp_path: pathlib.Path) -> None:
    images, inputs = write_pairs(tmp_path, scale=scale)
    places: dict[str, Any] = {"path": tmp_path / "photos", "inputs": tmp_path / "sketches"}
    if kind == "zip":
        places = {key: zipped(place) for key, place in places.items()}
    source = Pairs(**places, size=8, input_size=8 // scale).open()
    assert (source.image_shape, source.input_shape) == ((8, 8, 3), (8 // scale, 8 // scale, 3))
    assert (source.class_names, len(source)) == (("cat", "dog"), 3)
    loaded = pickle.loads(pickle.dumps(source)).load()
    np.testing.assert_array_equal(loaded["images"], images)
    np.testing.assert_array_equal(loaded["inputs"], inputs)
    np.testing.assert_array_equal(loaded["labels"], np.array([0, 0, 1], np.int32), strict=True)


@pytest.mark.parametrize("half", ["left", "right", "top", "bottom"])
def test_both_halves_side_by_side(half: Any, tmp_path: pathlib.Path) -> None:
    images, inputs = [noise(6, 8, seed) for seed in range(3)], [noise(6, 8, seed + 10) for seed in range(3)]
    for number, (image, start) in enumerate(zip(images, inputs, strict=True)):
        two = [start, image] if half in ("left", "top") else [image, start]
        write(tmp_path / f"{number}.png", np.concatenate(two, axis=1 if half in ("left", "right") else 0))
    source = Pairs(tmp_path, input_half=half, size=(6, 8), input_channels=1).open()
    assert (source.image_shape, source.input_shape) == ((6, 8, 3), (6, 8, 1))
    loaded = source.load()
    np.testing.assert_array_equal(loaded["images"], images)
    grey = [np.asarray(Image.fromarray(start).convert("L"))[:, :, None] for start in inputs]
    np.testing.assert_array_equal(loaded["inputs"], grey)


def test_both_are_cropped_turned_and_flipped_alike(tmp_path: pathlib.Path) -> None:
    """The input shows the same as the image, smaller; after all that is done to both, it still does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, (height, width) in enumerate(((16, 24), (24, 16), (16, 16), (20, 32))):
        small = noise(height // 2, width // 2, number)
        write(tmp_path / "sketches" / f"{number}.png", small)
        large = small.repeat(2, axis=0).repeat(2, axis=1)
        if number == 3:
            write(tmp_path / "photos" / f"{number}.png", np.rot90(large), exif=exif)
        else:
            write(tmp_path / "photos" / f"{number}.png", large)
    source = pairs(tmp_path, size=16, input_size=8, mirror=True).open()
    feed = open_feed(source, seed=0, rows_per_step=4, mirror=True, resident="stream")
    with feed.iterate() as inputs:
        for _ in range(2):  # an epoch, in which each comes as it is and flipped
            batch = next(inputs)
            whole = np.asarray(batch["images"]).reshape(4, 8, 2, 8, 2, 3).astype(float).mean((2, 4))
            # Number 3 alone is resized, by another factor each, which blurs.
            difference = np.abs(whole - np.asarray(batch["inputs"])).mean((1, 2, 3))
            assert (difference < 0.5).sum() >= 2, difference
            assert difference.max() < 40, difference


def test_what_is_said_of_the_images_holds_for_pairs(tmp_path: pathlib.Path) -> None:
    write_pairs(tmp_path)
    attributes = {"labels": [["cat/a.png", [1, 2]], ["cat/b.png", [3, 4]], ["dog/a.png", [5, 6]]]}
    (tmp_path / "photos" / "dataset.json").write_text(json.dumps(attributes))
    (tmp_path / "sketches" / "Thumbs.db").write_bytes(b"junk")
    source = pairs(tmp_path).open()
    assert (source.num_classes, source.num_attributes) == (0, 2)
    np.testing.assert_array_equal(source.load()["attributes"], [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("folder", ["photos", "sketches"])
def test_a_missing_half_is_named(folder: str, tmp_path: pathlib.Path) -> None:
    write_pairs(tmp_path)
    write(tmp_path / folder / "cat" / "c.png", noise(8, 8))
    other = {"photos": "sketches", "sketches": "photos"}[folder]
    with pytest.raises(UserError, match=rf"{folder}/cat/c\.png has no partner in .*{other}; expected equal names"):
        pairs(tmp_path).open()
    write(tmp_path / folder / "cat" / "d.png", noise(8, 8))
    with pytest.raises(UserError, match=rf"{folder}/cat/c\.png has no partner in .*{other}, nor have 1 more;"):
        pairs(tmp_path).open()
    source = pairs(tmp_path, skip_corrupt=True).open()
    assert (len(source), source.num_skipped) == (3, 2)


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [(8, 6, "6x8 pixels .*expected 8x8, the ratio of the first pair"), (16, 16, "16x16 pixels .*expected 8x8")],
)
def test_a_half_of_another_size_is_named(height: int, width: int, words: str, tmp_path: pathlib.Path) -> None:
    write_pairs(tmp_path)
    write(tmp_path / "sketches" / "cat" / "b.PNG", noise(height, width))
    for skip_corrupt in (False, True):
        with pytest.raises(UserError, match=rf"sketches/cat/b\.PNG is {words}.*: make them alike") as caught:
            pairs(tmp_path, size=4, skip_corrupt=skip_corrupt).open()
        assert "photos/cat/b.png, which is made of it, 8x8" in str(caught.value)
    source = Pairs(tmp_path / "photos", inputs=tmp_path / "photos", size=4).open()
    write(tmp_path / "photos" / "cat" / "b.png", noise(8, 8))
    assert len(source.load()["inputs"]) == 3
    write_pairs(tmp_path)
    source = pairs(tmp_path, size=4).open()  # also if it is exchanged later
    write(tmp_path / "sketches" / "dog" / "a.tiff", noise(height, width))
    with pytest.raises(UserError, match=r"sketches/dog/a\.tiff is"):
        source.load()


def test_sizes_that_are_rounded_suit_each_other(tmp_path: pathlib.Path) -> None:
    for number, (height, width) in enumerate(((401, 603), (99, 150), (64, 64))):
        write(tmp_path / "photos" / f"{number}.png", noise(height, width))
        write(tmp_path / "sketches" / f"{number}.png", noise(height // 4, -(-width // 4)))
    assert len(pairs(tmp_path, size=32, input_size=8).open().load()["inputs"]) == 3


def test_other_mistakes_in_pairs(tmp_path: pathlib.Path) -> None:
    write_pairs(tmp_path)
    for options, words in (
        ({"inputs": None}, "inputs is None and input_half is None; expected one of them"),
        ({"input_half": "left"}, "and input_half is left; expected one of them"),
        ({"input_size": (8, 4)}, r"size is 8 and input_size \(8, 4\); expected the same proportions"),
        ({"inputs": tmp_path / "none"}, "none does not exist"),
        ({"input_size": 16}, r"sketches/cat/a\.bmp is 8x8 pixels, smaller than the 16x16 asked for"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            pairs(tmp_path, **options).open()
        assert "\n" not in str(caught.value)
    write(tmp_path / "odd" / "a.png", noise(8, 9))
    with pytest.raises(UserError, match=r"odd/a\.png is 9x8 pixels .* cannot be halved into left and right"):
        Pairs(tmp_path / "odd", input_half="left", size=4).open()
    write(tmp_path / "sketches" / "cat" / "a.png", noise(8, 8))
    with pytest.raises(UserError, match=r"sketches has both cat/a\.bmp and cat/a\.png: rename one"):
        pairs(tmp_path).open()


def test_damaged_halves(tmp_path: pathlib.Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "sketches" / "cat" / "a.bmp").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"sketches/cat/a\.bmp cannot be read as an image: .*skip_corrupt"):
        pairs(tmp_path).open()
    (tmp_path / "photos" / "README.txt").write_text("hello")
    with pytest.raises(UserError, match=r"photos/README\.txt is not an image by its name"):
        pairs(tmp_path).open()
    source = pairs(tmp_path, skip_corrupt=True).open()
    assert (len(source), source.num_skipped, source.class_names) == (2, 3, ("cat", "dog"))
    file = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(file, "PNG")
    (tmp_path / "photos" / "dog" / "a.png").write_bytes(file.getvalue()[:3000])
    write(tmp_path / "sketches" / "dog" / "a.tiff", noise(64, 64))
    source = pairs(tmp_path, skip_corrupt=True).open()
    assert (len(source), source.class_names) == (1, ("cat",))  # what is skipped has no effect
