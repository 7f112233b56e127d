"""Digits, .npz files, and arrays in memory."""

import pathlib
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from ganjax.data import ArraySource, Dataset, Digits, Npz
from ganjax.ground.errors import UserError

SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def test_digits_at_their_own_size_are_the_scans() -> None:
    source = Digits(size=8).open()
    scans: Any = datasets.load_digits()
    arrays = source.load()
    assert (len(source), source.image_shape, source.num_classes) == (1797, (8, 8, 1), 10)
    assert source.class_names == tuple("0123456789")
    # 17 levels, 0 to 16, onto 0 to 255: black stays black, white is 255, and rounding loses no level.
    np.testing.assert_allclose(arrays["images"][..., 0] / 255 * 16, scans.images, atol=16 / 255 / 2 + 1e-9)
    assert arrays["images"].min() == 0
    assert arrays["images"].max() == 255
    np.testing.assert_array_equal(arrays["labels"], scans.target)
    assert arrays["labels"].dtype == np.int32


def test_digits_are_enlarged_smoothly() -> None:
    source = Digits().open()
    assert source.image_shape == (16, 16, 1)
    scans: Any = datasets.load_digits()
    scan = scans.images[7]
    enlarged = Image.fromarray(scan.astype(np.float32)).resize((16, 16), Image.Resampling.BICUBIC)
    expected = np.clip(np.asarray(enlarged) * 255 / 16, 0, 255)
    np.testing.assert_allclose(source[7]["images"][:, :, 0], expected, atol=0.51)
    # A person would see the same picture: brought back to 8x8 it is the scan again.
    small = source[7]["images"][:, :, 0].reshape(8, 2, 8, 2).mean((1, 3)) * 16 / 255
    assert np.corrcoef(small.ravel(), scan.ravel())[0, 1] > 0.98
    assert Digits(size=(12, 20)).open().image_shape == (12, 20, 1)
    with pytest.raises(ValueError, match="read-only"):  # they are everybody's who opens them
        source[7]["images"][0] = 0


def test_dataset_values_are_hashable_and_meet_the_protocol() -> None:
    assert isinstance(Digits(), Dataset)
    assert len({Digits(), Digits(size=16), Npz("a.npz"), Npz("a.npz", size=(4, 4))}) == 3


def write(path: pathlib.Path, **arrays: Any) -> pathlib.Path:
    np.savez(path, **arrays)
    return path


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_npz_with_labels(tmp_path: pathlib.Path) -> None:
    images, labels = noise(6, 8, 8, 3), np.array([0, 2, 1, 2, 0, 0], np.uint8)
    source = Npz(write(tmp_path / "a.npz", images=images, labels=labels)).open()
    assert (len(source), source.image_shape, source.class_names) == (6, (8, 8, 3), ("0", "1", "2"))
    np.testing.assert_array_equal(source[3]["images"], images[3])
    np.testing.assert_array_equal(source[3]["labels"], np.int32(2), strict=True)  # its type too
    np.testing.assert_array_equal(source.load()["images"], images)


def test_npz_without_labels_grey_without_a_channel_axis(tmp_path: pathlib.Path) -> None:
    images = noise(3, 6, 8)
    source = Npz(str(write(tmp_path / "a.npz", images=images))).open()
    assert (source.image_shape, source.num_classes) == ((6, 8, 1), 0)
    assert set(source[0]) == set(source.load()) == {"images"}
    np.testing.assert_array_equal(source[1]["images"], images[1][:, :, None])


def test_npz_resized_and_recoloured(tmp_path: pathlib.Path) -> None:
    images = noise(70, 8, 8, 4)
    source = Npz(write(tmp_path / "a.npz", images=images), size=4, channels=1).open()
    flat = Image.alpha_composite(Image.new("RGBA", (8, 8), "white"), Image.fromarray(images[69])).convert("L")
    expected = np.asarray(flat.resize((4, 4), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(source[69]["images"][:, :, 0], expected)
    loaded = source.load(num_threads=3)["images"]  # more records than a thread takes at a time
    np.testing.assert_array_equal(loaded, np.stack([source[index]["images"] for index in range(70)]))
    assert Npz(tmp_path / "a.npz").open().image_shape == (8, 8, 3)  # transparency never stays
    with pytest.raises(UserError, match=r"^image 0 of .*a\.npz is 8x8 pixels, smaller than the 9x9"):
        Npz(tmp_path / "a.npz", size=9).open()
    assert Npz(tmp_path / "a.npz", size=9, upsample=True).open()[0]["images"].shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": noise(2, 4, 4, 3)}, "has no `images` but pictures"),
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, r"is float32 \[2, 4, 4, 3\], expected uint8"),
        ({"images": noise(2, 3, 4, 5)}, r"uint8 \[2, 3, 4, 5\], expected \[records, height, width\]"),
        ({"images": noise(4, 4)}, r"uint8 \[4, 4\], expected"),
        ({"images": noise(0, 4, 4, 3)}, "holds no image"),
        ({"images": noise(2, 4, 4, 3), "labels": np.zeros(3, int)}, "expected one integer for each of 2 images"),
        ({"images": noise(2, 4, 4, 3), "labels": np.zeros(2)}, "float64.*expected one integer"),
        ({"images": noise(2, 4, 4, 3), "labels": np.array([0, -1])}, "-1 to 0, expected class numbers from 0"),
        ({"images": noise(2, 4, 4, 3), "class_names": np.array(["a"])}, "has 1 `class_names` but no `labels`"),
        (
            {"images": noise(2, 4, 4), "labels": np.array([0, 2]), "class_names": np.array(["a", "b"])},
            "values 0 to 2, expected 0 to 1, as there are names",
        ),
        ({"images": noise(2, 4, 4), "attributes": np.zeros((3, 2))}, "expected one row for each of 2 images"),
        ({"images": noise(2, 4, 4), "attributes": np.zeros(2)}, r"float64 \[2\], expected one row for each"),
        ({"images": noise(2, 4, 4), "attributes": np.array([["a"], ["b"]])}, "expected numbers"),
        ({"images": noise(2, 4, 4), "attributes": np.array([[0.0], [1e39]])}, r"\[inf\] in row 1, expected finite"),
        (
            {"images": noise(2, 4, 4), "attributes": np.zeros((2, 3)), "attribute_names": np.array(["a"])},
            "has 1 `attribute_names` and 3 attributes an image",
        ),
        ({"images": noise(2, 4, 4), "inputs": noise(3, 4, 4)}, "has 2 `images` and 3 `inputs`"),
        ({"images": noise(2, 4, 4), "inputs": np.zeros((2, 4, 4))}, "`inputs` in .* is float64"),
    ],
)
def test_npz_mistakes(tmp_path: pathlib.Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = write(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        Npz(path).open()
    assert "wrong.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_npz(tmp_path: pathlib.Path) -> None:
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    objects = np.empty(1, object)
    objects[0] = Payload()
    write(tmp_path / "pickle.npz", images=objects)
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").touch()
    (tmp_path / "cut.npz").write_bytes(write(tmp_path / "whole.npz", images=noise(9, 9, 9)).read_bytes()[:300])
    np.save(tmp_path / "single.npy", objects)
    for name in ("pickle.npz", "text.npz", "empty.npz", "cut.npz", "single.npy", "absent.npz"):
        with pytest.raises(UserError, match=name) as caught:
            Npz(tmp_path / name).open()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_an_error_while_loading_comes_through() -> None:
    source = ArraySource(noise(200, 4, 4, 1), image_shape=(5, 5, 1), name="these")
    with pytest.raises(UserError, match=r"^image 0 of these is 4x4 pixels"):
        source.load(num_threads=2)


def test_npz_with_all_there_is(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "images": noise(6, 8, 8, 3),
        "labels": np.array([0, 1, 1, 0, 1, 0]),
        "class_names": np.array(["cat", "Löwe"]),
        "attributes": rng.normal(size=(6, 2)),
        "attribute_names": np.array(["age", "fur"]),
        "inputs": noise(6, 4, 4),
    }
    source = Npz(write(tmp_path / "a.npz", **arrays), size=4, input_size=2).open()
    assert (source.class_names, source.attribute_names) == (("cat", "Löwe"), ("age", "fur"))
    assert (source.num_attributes, source.image_shape, source.input_shape) == (2, (4, 4, 3), (2, 2, 1))
    expected = {"images": np.uint8, "labels": np.int32, "attributes": np.float32, "inputs": np.uint8}
    assert {key: field.dtype for key, field in source.fields.items()} == expected
    assert source.record_bytes == 4 * 4 * 3 + 4 + 2 * 4 + 2 * 2
    loaded = source.load()
    for key, field in source.fields.items():
        np.testing.assert_array_equal(loaded[key], np.stack([source[index][key] for index in range(6)]))
        assert (loaded[key].shape, loaded[key].dtype) == ((6, *field.shape), field.dtype)
    np.testing.assert_array_equal(loaded["attributes"], arrays["attributes"].astype(np.float32))
    small = Image.fromarray(arrays["inputs"][5]).resize((2, 2), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(loaded["inputs"][5, :, :, 0], np.asarray(small))


def test_npz_inputs_are_cropped_as_their_images_are(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.npz", images=noise(2, 8, 16, 3), inputs=noise(2, 4, 8, 3))
    with pytest.raises(UserError, match="size is 8 and input_size None, which crops `images` and `inputs`"):
        Npz(path, size=8).open()
    source = Npz(path, size=8, input_size=4).open()
    np.testing.assert_array_equal(source.load()["inputs"], noise(2, 4, 8, 3)[:, :, 2:6])
    with pytest.raises(UserError, match=r"input_size is 4, but .* has no `inputs`"):
        Npz(write(tmp_path / "b.npz", images=noise(2, 8, 8)), input_size=4).open()


def test_arrays_without_a_name_are_images_and_labels(tmp_path: pathlib.Path) -> None:
    images = noise(3, 4, 4)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", images)
    np.savez(tmp_path / "c.npz", images, np.array([0, 1, 0]))
    (tmp_path / "c.npz").rename(tmp_path / "c.NPZ")
    for name, keys in (("a.npy", ["images"]), ("b.npz", ["images"]), ("c.NPZ", ["images", "labels"])):
        loaded = Npz(tmp_path / name).open().load()
        assert list(loaded) == keys
        np.testing.assert_array_equal(loaded["images"][..., 0], images)


def test_labels_that_count_from_one_add_no_empty_class(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.array([1, 3, 2, 1])
    source = Npz(write(tmp_path / "a.npz", images=noise(4, 4, 4), labels=labels)).open()
    assert source.class_names == ("1", "2", "3")
    np.testing.assert_array_equal(source.load()["labels"], labels - 1)
    assert "count from 1; here class 0 is 1, and class 2 is 3" in caplog.text
    caplog.clear()
    # With names that number is theirs; and numbers in between stay what they are, which is said.
    names = np.array(["a", "b", "c"])
    source = Npz(write(tmp_path / "b.npz", images=noise(4, 4, 4), labels=labels, class_names=names)).open()
    assert (source.class_names, source[1]["labels"]) == (("a", "b", "c"), 2)
    caplog.clear()
    source = Npz(write(tmp_path / "c.npz", images=noise(4, 4, 4), labels=np.array([0, 4, 1, 4]))).open()
    assert (source.num_classes, source[1]["labels"]) == (5, 4)
    assert "c.npz has no image of 2 of its 5 classes: 2, 3" in caplog.text


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the folder of shared data is not beside the repository")
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_real_images_through_npz(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED_DATA))
    load = pytest.importorskip("load", reason="the loader of the shared data is absent")
    monkeypatch.delitem(sys.modules, "load")
    images, labels = (array[:500] for array in getattr(load, name)())
    source = Npz(write(tmp_path / "real.npz", images=images, labels=labels)).open()
    assert source.image_shape == images.shape[1:]
    assert source.num_classes == 10
    arrays = source.load()
    np.testing.assert_array_equal(arrays["images"], images)
    np.testing.assert_array_equal(arrays["labels"], labels)
