"""Labels and attributes of ``dataset.json``, in folders and in .zip archives."""

import json
import logging
import pathlib
from typing import Any

import numpy as np
import pytest
from test_data_folder import make, png

from ganjax.data import Folder
from ganjax.ground.errors import UserError

# As StyleGAN's tool writes them: the folders count images, and say nothing of classes.
FILES = {f"0000{number // 2}/img0000000{number}.png": png(number) for number in range(4)}
NAMES = list(FILES)


def write(kind: str, path: pathlib.Path, content: Any, files: dict[str, bytes] | None = None) -> pathlib.Path:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return make(kind, path, (files or FILES) | {"dataset.json": text})


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_one_number_an_image_is_its_class(kind: str, tmp_path: pathlib.Path) -> None:
    labels = [2, 0, 1, 2]
    entries = list(zip(NAMES, labels, strict=True))[::-1]  # in no order, and spelled as other systems do
    entries[0] = (entries[0][0].replace("/", "\\"), entries[0][1])
    entries[1] = (f"./{entries[1][0]}", float(entries[1][1]))
    source = Folder(write(kind, tmp_path, {"labels": entries}), size=8).open()
    assert (len(source), source.class_names, source.num_attributes) == (4, ("0", "1", "2"), 0)
    arrays = source.load()
    np.testing.assert_array_equal(arrays["images"][:, 0, 0, 0], range(4))
    np.testing.assert_array_equal(arrays["labels"], np.array(labels, np.int32), strict=True)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_list_of_numbers_an_image_is_its_attributes(kind: str, tmp_path: pathlib.Path) -> None:
    values = [[0, 1.5, -2], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    content = {"labels": list(zip(NAMES, values, strict=True)), "attribute_names": ["a", "b", "c"]}
    source = Folder(write(kind, tmp_path, content), size=8).open()
    assert (source.num_attributes, source.attribute_names, source.num_classes) == (3, ("a", "b", "c"), 0)
    np.testing.assert_array_equal(source.load()["attributes"], np.array(values, np.float32), strict=True)
    np.testing.assert_array_equal(source[1]["attributes"], np.float32([1, 0, 0]), strict=True)


@pytest.mark.parametrize("labels", [None, [], [[name, None] for name in NAMES]])
def test_no_labels_are_none_even_if_there_are_folders(labels: Any, tmp_path: pathlib.Path) -> None:
    source = Folder(write("zip", tmp_path, {"labels": labels}), size=8).open()
    assert set(source[0]) == {"images"}


def test_folders_of_one_class_each_name_it(tmp_path: pathlib.Path) -> None:
    files = {"dog/a.png": png(1), "dog/b.png": png(2), "cat/a.png": png(3)}
    for first in (0, 1):
        labels = [["dog/a.png", first], ["dog/b.png", first], ["cat/a.png", first + 1]]
        source = Folder(write("folder", tmp_path / str(first), {"labels": labels}, files), size=8).open()
        assert source.class_names == ("dog", "cat")
        np.testing.assert_array_equal(source.load()["labels"], [1, 0, 0])  # cat/a, dog/a, dog/b
    named = {"labels": labels, "class_names": ["Hund", "Katze"]}
    assert Folder(write("zip", tmp_path, named, files), size=8).open().class_names == ("Hund", "Katze")


def test_it_lies_in_the_one_folder_of_an_archive(tmp_path: pathlib.Path) -> None:
    files = {f"ffhq/{name}": content for name, content in FILES.items()}
    files["ffhq/dataset.json"] = json.dumps({"labels": [[name, 0] for name in NAMES]}).encode()
    source = Folder(make("zip", tmp_path, files), size=8).open()
    assert (len(source), source.class_names) == (4, ("0",))


def test_labels_from_one_add_no_empty_class(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = [[name, number + 1] for number, name in enumerate(NAMES)]
    source = Folder(write("zip", tmp_path, {"labels": labels}), size=8).open()
    assert source.class_names == ("1", "2", "3", "4")
    np.testing.assert_array_equal(source.load()["labels"], range(4))
    assert "dataset.json count from 1; here class 0 is 1, and class 3 is 4" in caplog.text


def test_what_is_skipped_needs_no_label(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = [[name, number % 2] for number, name in enumerate(NAMES)]
    files = FILES | {NAMES[0]: b"broken", "notes.txt": b"hello"}
    path = write("folder", tmp_path, {"labels": labels}, files)
    with caplog.at_level(logging.WARNING, "ganjax"):
        source = Folder(path, size=8, skip_corrupt=True).open()
    np.testing.assert_array_equal(source.load()["labels"], [1, 0, 1])
    assert source.num_skipped == 2


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{labels", "is no JSON"),
        (b"\xff\xfe\x00", "is no JSON"),
        ([["a.png", 0]], 'holds no "labels"'),
        ({"classes": []}, 'holds no "labels"'),
        ({"labels": 3}, '"labels" in .* is 3, expected'),
        ({"labels": [["a.png"]]}, r'has the entry \["a.png"\], expected'),
        (
            {"labels": [[name, 0] for name in NAMES] + [["gone.png", 0], ["x.png", 1]]},
            "names gone.png, which is absent",
        ),
        ({"labels": [[name, 0] for name in NAMES[:2]]}, f"no label for {NAMES[2]} and 1 more of 4 images"),
        ({"labels": [[name, 0] for name in NAMES[:3]] + [[NAMES[3], None]]}, f"no label for {NAMES[3]} of 4 images"),
        ({"labels": [[name, -1] for name in NAMES]}, "values -1|has the label -1 for"),
        ({"labels": [[name, 0.5] for name in NAMES]}, "has the label 0.5 for .*expected a class number from 0"),
        ({"labels": [[name, "cat"] for name in NAMES]}, 'has the label "cat" for'),
        ({"labels": [[name, [1.0] * (2 + (name == NAMES[2]))] for name in NAMES]}, f"{NAMES[2]}, expected a list of 2"),
        ({"labels": [[name, [] if name == NAMES[3] else 1] for name in NAMES]}, f"has the label .* for {NAMES[3]}"),
        ({"labels": [[name, [float("nan")]] for name in NAMES]}, r"has \[NaN\] for"),
        ({"labels": [[name, 0] for name in NAMES] + [[NAMES[0], 1]]}, f"has both 0 and 1 for {NAMES[0]}"),
        ({"labels": [[name, 7] for name in NAMES], "class_names": ["a"]}, "values 7 to 7, expected 0 to 0"),
        ({"labels": [[name, [1]] for name in NAMES], "attribute_names": ["a", "b"]}, "2 `attribute_names` and 1 attr"),
    ],
)
def test_mistakes_in_it(kind: str, content: Any, message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Folder(write(kind, tmp_path, content), size=8).open()
    assert "dataset.json" in str(caught.value)
    assert "\n" not in str(caught.value)
