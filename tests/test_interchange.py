"""Readers of others' files: what they read, and that a hostile file is refused in one line and nothing of it runs."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import DICTIONARY, Pickled, Raw, tensor, write_header, write_pth, write_safetensors, write_zip

from ganjax import UserError
from ganjax.interchange.ncnn import read_ncnn
from ganjax.interchange.pytorch import read_pytorch
from ganjax.interchange.safetensors import read_safetensors
from ganjax.interchange.tensorflowjs import read_tensorflowjs

RNG = np.random.default_rng(0)
ARRAYS = {
    "a.weight": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "a.bias": RNG.normal(size=4).astype(np.float16),
    "count": np.array(3.5, np.float32),
}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


# --- what is read ---


def test_tensors_of_pytorch_by_their_path(tmp_path: Path) -> None:
    same(read_pytorch(write_pth(tmp_path / "plain.pth", ARRAYS)), ARRAYS)
    nested = {"params_ema": ARRAYS, "iteration": 3, "rates": [1e-4, None, "text"], "optimizer": {"state": {0: ARRAYS}}}
    found = read_pytorch(write_pth(tmp_path / "nested.pth", nested))
    same(
        found, {f"{key}.{name}": array for key in ("params_ema", "optimizer.state.0") for name, array in ARRAYS.items()}
    )


def write_legacy(path: Path, value: Any) -> Path:
    """The format before PyTorch 1.6."""
    pickled, plain = Pickled(value), [Pickled(each).content for each in (0x1950A86A20F9469CFC6C, 1001, {})]
    content = b"".join([*plain, pickled.content, Pickled(list(pickled.storages)).content])
    for data, array in zip(pickled.storages.values(), value.values(), strict=True):
        content += struct.pack("<q", array.size) + data
    path.write_bytes(content)
    return path


def test_the_old_format_of_pytorch(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "old.pth", ARRAYS)
    same(read_pytorch(path), ARRAYS)
    path.write_bytes(path.read_bytes()[:-1])
    refused(lambda: read_pytorch(path), r"storage 2 is cut short")


def test_a_view_is_read_as_what_it_shows(tmp_path: Path) -> None:
    storage = np.arange(12, dtype=np.float32)
    turned = {"turned": tensor(length=12, shape=(4, 2), strides=(1, 4), offset=2)}
    path = write_zip(tmp_path / "view.pth", Pickled(turned).content, {"0": storage.tobytes()})
    np.testing.assert_array_equal(read_pytorch(path)["turned"], storage[2:10].reshape(2, 4).T)


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    exact = np.array([1.5, -2.0, 2.0**67], np.float32)
    halves = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    value = {"x": tensor(length=3, shape=(3,), kind="BFloat16Storage")}
    path = write_zip(tmp_path / "brief.pth", Pickled(value).content, {"0": halves})
    np.testing.assert_array_equal(read_pytorch(path)["x"], exact)
    header = {"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    brief = write_header(tmp_path / "brief.safetensors", json.dumps(header).encode(), halves)
    np.testing.assert_array_equal(read_safetensors(brief)["x"], exact)


def test_safetensors(tmp_path: Path) -> None:
    same(read_safetensors(write_safetensors(tmp_path / "file.safetensors", ARRAYS)), ARRAYS)


PARAM = """7767517
3 3
Input input 0 1 data
Convolution one 1 1 data 1 0=4 1=1 5=1 6=8
PReLU two 1 1 1 output 0=4
"""
KERNEL = np.arange(8, dtype="<f2").reshape(4, 2, 1, 1)
BIAS = np.arange(4, dtype="<f4")
WEIGHTS = struct.pack("<I", 0x01306B47) + KERNEL.tobytes() + BIAS.tobytes() + (BIAS / 8).tobytes()


def write_ncnn(folder: Path, param: str = PARAM, weights: bytes = WEIGHTS) -> Path:
    (folder / "net.param").write_text(param)
    (folder / "net.bin").write_bytes(weights)
    return folder / "net.param"


def test_layers_of_ncnn(tmp_path: Path) -> None:
    start, convolution, slopes = read_ncnn(write_ncnn(tmp_path))
    assert (start.kind, start.outputs, start.weights) == ("Input", ("data",), ())
    np.testing.assert_array_equal(convolution.weights[0], KERNEL)
    np.testing.assert_array_equal(convolution.weights[1], BIAS)
    np.testing.assert_array_equal(slopes.weights[0], BIAS / 8)
    assert convolution.settings[6] == 8
    # One that lies there under another name will do, if there is but one.
    (tmp_path / "net.bin").rename(tmp_path / "other.bin")
    assert len(read_ncnn(tmp_path / "net.param")) == 3


def write_tensorflowjs(folder: Path, **changes: Any) -> Path:
    weights = [
        {"name": "one/kernel", "shape": [2, 3], "dtype": "float32"} | changes.pop("entry", {}),
        {
            "name": "two/bias",
            "shape": [4],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1},
        },
    ]
    model = {
        "modelTopology": {"model_config": {"config": {"layers": [{"class_name": "Add", "config": {}}]}}},
        "weightsManifest": [{"paths": changes.pop("paths", ["shard.bin"]), "weights": weights}],
    } | changes
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "shard.bin").write_bytes(np.arange(6, dtype="<f4").tobytes() + bytes(range(4)))
    return folder / "model.json"


def test_arrays_of_tensorflowjs(tmp_path: Path) -> None:
    tensors, layers, shards = read_tensorflowjs(write_tensorflowjs(tmp_path))
    np.testing.assert_array_equal(tensors["one/kernel"], np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(tensors["two/bias"], [-1, -0.5, 0, 0.5])
    assert layers == [{"class_name": "Add", "config": {}}]
    assert shards == [tmp_path / "shard.bin"]


# --- what is refused ---


def called(name: bytes, *arguments: Any) -> Raw:
    return Raw(name + Pickled(None).write(tuple(arguments)) + b"R")


class Reduced:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def pickled(content: bytes) -> bytes:
    return b"\x80\x02" + content + b"."


CYCLE = b"]q\x00h\x00a"
SIX = {"0": np.zeros(6, "<f4").tobytes()}
HOSTILE_PICKLES: dict[str, tuple[Any, str]] = {
    "a call of the system": (called(b"cos\nsystem\n", "touch pwned"), r"it names os\.system, which is no part of a"),
    "a call of eval": (called(b"cbuiltins\neval\n", "open('pwned', 'w')"), r"it names builtins\.eval"),
    "a call of exec by its old name": (called(b"c__builtin__\nexec\n", "x"), r"it names __builtin__\.exec"),
    "a name from the stack": (Raw(b"\x8c\x02os\x8c\x06system\x93"), r"it names os\.system"),
    "attributes of a known name": (
        Raw(b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93"),
        r"names collections\.OrderedDict\.__init__",
    ),
    "a name made of a number": (Raw(b"K\x01K\x02\x93"), r"it names 1\.2"),
    "another name of PyTorch": (called(b"ctorch.hub\nload\n", "x"), r"it names torch\.hub\.load"),
    "a type of numbers without a reader": (tensor(kind="ComplexFloatStorage"), r"names torch\.ComplexFloatStorage"),
    "an instance": (Raw(b"(X\x01\x00\x00\x00xios\nsystem\n"), r"instruction INST"),
    "an object": (Raw(b"(ccollections\nOrderedDict\no"), r"instruction OBJ"),
    "an extension": (Raw(b"\x82\x01"), r"instruction EXT1"),
    "a new object with names": (Raw(b"ccollections\nOrderedDict\n)}\x92"), r"instruction NEWOBJ_EX"),
    "a call of a value": (Raw(b"K\x01)R"), r"it calls a int, which makes no part"),
    "a call of a type": (called(b"ctorch\nFloatStorage\n", 10**12), r"it calls torch\.FloatStorage"),
    "a dictionary of a list": (
        called(b"ccollections\nOrderedDict\n", [("a", 1)]),
        r"dictionary that is made of a list",
    ),
    "a tensor of a text": (called(b"ctorch._utils\n_rebuild_tensor_v2\n", "x", 0, (1,), (1,)), r"without a storage"),
    "too few arguments": (called(b"ctorch._utils\n_rebuild_tensor_v2\n", "x"), r"with 1 values"),
    "an identifier of a module": (
        Raw(Pickled(None).write(("module", "os", "system", "x", 1)) + b"Q"),
        r"it points to a tuple of 5 \('module' …\), which is no storage",
    ),
    "an identifier that is a path": (Raw(b"P/etc/passwd\n"), r"it points to '/etc/passwd'"),
    "a storage that lies outside": (tensor(key="../../../etc/passwd"), r"it has no storage \.\./\.\./"),
    "a tensor of terabytes": (tensor(shape=(10**12,), strides=(0,)), r"shape \[1000000000000\] claims more than"),
    "a tensor of many axes": (tensor(shape=(1,) * 100, strides=(1,) * 100), r"a tensor of shape \(1, 1"),
    "a storage of terabytes": (tensor(length=10**12), r"storage 0 has 24 bytes; expected 1,000,000,000,000 numbers"),
    "a storage cut short": (tensor(length=7), r"storage 0 has 24 bytes; expected 7 numbers"),
    "a storage of another type": (tensor(kind="DoubleStorage"), r"expected 6 numbers of type float64"),
    "a storage of two types": ([tensor(), tensor(kind="IntStorage")], r"storage 0 is of two types or lengths"),
    "a tensor behind its storage": (tensor(shape=(3,), offset=4), r"lies outside its storage of 6"),
    "a tensor before its storage": (tensor(offset=-1), r"without a storage"),
    "a stride that is negative": (tensor(strides=(-1,)), r"a tensor of shape \(-1,\)"),
    "a length that is negative": (tensor(shape=(-6,)), r"a tensor of shape \(-6,\)"),
    "a length that is no number": (tensor(shape=("x",)), r"a tensor of shape \('x',\)"),
    "a shape and strides that differ": (tensor(shape=(2, 3)), r"a tensor without a shape"),
    "a list that holds itself": (Raw(CYCLE), r"a container that holds itself"),
    "a dictionary that holds itself": (Raw(b"}q\x00X\x01\x00\x00\x00xh\x00s"), r"a container that holds itself"),
    "nested lists": (Raw(b"]" * 100_000 + b"a" * 99_999), r"nested more than 40 deep"),
    "nested tuples": (Raw(b")" + b"\x85" * 100_000), r"nested more than 40 deep"),
    "nested tuples for a key": (Raw(b"}" + b")" + b"\x85" * 100_000 + b"Ns"), r"key of a dictionary is a tuple"),
    "a set of lists": (Raw(b"\x8f(]\x90"), r"key of a dictionary is a list"),
    "a text of an exabyte": (Raw(b"\x8d" + struct.pack("<Q", 2**60) + b"x"), r"its pickle is damaged"),
    "a number of a gigabyte": (Raw(b"\x8b" + struct.pack("<i", 2**30) + b"x"), r"its pickle is damaged"),
    "an array of bytes that is not there": (Raw(b"\x96" + struct.pack("<Q", 2**62)), r"its pickle is damaged"),
    "something recalled that was not kept": (Raw(b"j\xff\xff\xff\x7f"), r"recalls number 2147483647"),
    "a mark that was not made": (Raw(b"N\x85t"), r"goes back to a mark"),
    "a value that is not there": (Raw(b"R"), r"takes a value where there is none"),
    "an unknown instruction": (Raw(b"\xff"), r"its pickle is damaged"),
}


@pytest.mark.parametrize("kind", HOSTILE_PICKLES)
def test_a_hostile_pickle_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    value, message = HOSTILE_PICKLES[kind]
    path = write_zip(tmp_path / "file.pth", Pickled({"x": value}).content, SIX)
    refused(lambda: read_pytorch(path), message)
    # The same as the first of the old format's pickles.
    (tmp_path / "old.pth").write_bytes(Pickled({"x": value}).content)
    refused(lambda: read_pytorch(tmp_path / "old.pth"), r"is not a PyTorch file")
    assert {file.name for file in tmp_path.iterdir()} == {"file.pth", "old.pth"}


def refused(read: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_what_runs_when_python_reads_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.chdir(tmp_path)
    chain = Reduced(getattr, (Reduced(__import__, ("os",)), "system"))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for value in (Reduced(os.system, ("touch pwned",)), Reduced(eval, ("1/0",)), chain):
            path = write_zip(tmp_path / "file.pth", pickle.dumps({"x": value}, protocol=protocol), {})
            refused(lambda path=path: read_pytorch(path), r"it names \S+, which is no part of a tensor")
    assert not (tmp_path / "pwned").exists()


def test_attributes_of_what_is_built_are_passed_over(tmp_path: Path) -> None:
    """As those of a state dictionary; there is nothing that they could be set on."""
    content = pickled(DICTIONARY + Pickled(None).write({"_metadata": {"x": 1}}) + b"b")
    assert read_pytorch(write_zip(tmp_path / "file.pth", content, {})) == {}


def zip_of(change: Callable[[zipfile.ZipFile], Any], *, whole: bool = True) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "file.pth"
        if whole:
            write_zip(path, Pickled({"x": tensor()}).content, SIX)
        with zipfile.ZipFile(path, "a") as archive:
            change(archive)
        return path

    return write


def cut(keep: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = write_pth(folder / "file.pth", ARRAYS)
        path.write_bytes(path.read_bytes()[:keep])
        return path

    return write


def bytes_of(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def header_of(header: Any, data: bytes = b"") -> Callable[[Path], Path]:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lambda folder: write_header(folder / "file.safetensors", text, data)


def entry(start: Any = 0, stop: Any = 24, shape: Any = (6,), kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, stop]}


def ncnn_of(old: str, new: str, weights: bytes = WEIGHTS) -> Callable[[Path], Path]:
    assert old in PARAM
    return lambda folder: write_ncnn(folder, PARAM.replace(old, new), weights)


def tensorflowjs_of(**changes: Any) -> Callable[[Path], Path]:
    return lambda folder: write_tensorflowjs(folder, **changes)


BOMB = b"\0" * 10**6
HOSTILE_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an entry that escapes": (zip_of(lambda it: it.writestr("archive/../../x", b"")), r"lies outside of it"),
    "an entry with a root": (zip_of(lambda it: it.writestr("/etc/x", b"")), r"entry '/etc/x' lies outside of it"),
    "an entry of Windows": (zip_of(lambda it: it.writestr("C:\\x", b"")), r"lies outside of it"),
    "a compressed entry": (
        zip_of(lambda it: it.writestr("archive/data/1", BOMB, zipfile.ZIP_DEFLATED)),
        r"entry 'archive/data/1' is compressed",
    ),
    "two pickles": (zip_of(lambda it: it.writestr("other/data.pkl", b"")), r"it has several data\.pkl"),
    "no pickle": (zip_of(lambda it: it.writestr("x", b""), whole=False), r"a zip without a data\.pkl"),
    "the other order of bytes": (zip_of(lambda it: it.writestr("archive/byteorder", b"big")), r"their highest byte"),
    "a zip cut short": (cut(-40), r"is not a PyTorch file"),
    "the beginning of a zip": (cut(4), r"is not a PyTorch file"),
    "nothing": (bytes_of("file.pth", b""), r"its pickle is damaged"),
    "a picture": (bytes_of("file.pth", b"\x89PNG\r\n\x1a\n" + bytes(100)), r"it points to"),
    "a header of exabytes": (bytes_of("f.safetensors", b"\xff" * 8 + b"{}"), r"its header claims 18,446,744"),
    "a header cut short": (bytes_of("f.safetensors", b"\x01\x00"), r"its header claims"),
    "no JSON": (header_of(b"{'x': 1}"), r"its JSON is damaged"),
    "nested JSON": (header_of(b"[" * 100_000 + b"]" * 100_000), r"its JSON is damaged|is no dictionary"),
    "a list": (header_of([1]), r"its header is no dictionary"),
    "a name that a terminal obeys": (header_of({"\x1b[2J\n": 3}), r"says of \\x1b\[2J\\n neither"),
    "a name twice": (header_of(b'{"x": 1, "x": 2}'), r"it says twice what x is"),
    "ranges that overlap": (
        header_of({"x": entry(), "y": entry(12, 36)}, bytes(36)),
        r"y begins at 12, and what lies before it ends at 24",
    ),
    "one range for two": (header_of({"x": entry(), "y": entry()}, bytes(24)), r"y begins at 0"),
    "a gap": (header_of({"x": entry(4, 28)}, bytes(28)), r"x begins at 4"),
    "a rest": (header_of({"x": entry()}, bytes(25)), r"its arrays take 24 bytes, and 25 are there"),
    "a range that goes beyond": (header_of({"x": entry()}, bytes(20)), r"its arrays take 24 bytes, and 20"),
    "a range that goes back": (header_of({"x": entry(24, 0)}, bytes(24)), r"x takes 24 bytes, and lies from 24 to 0"),
    "a negative range": (header_of({"x": entry(-24, 0)}, bytes(24)), r"lies from -24 to 0"),
    "terabytes": (header_of({"x": entry(shape=(10**12,))}, bytes(24)), r"x takes 4,000,000,000,000 bytes"),
    "a shape of a fraction": (header_of({"x": entry(shape=(1.5,))}, bytes(24)), r"a tensor of shape \[1\.5\]"),
    "a negative length": (header_of({"x": entry(shape=(-2, -3))}, bytes(24)), r"a tensor of shape \[-2, -3\]"),
    "an unknown type": (header_of({"x": entry(kind="F128")}, bytes(24)), r"x is of type F128; expected one of F64"),
    "a type that is no text": (header_of({"x": entry(kind=[])}, bytes(24)), r"x is of type \[\]"),
    "an entry that says nothing": (header_of({"x": 3}), r"says of x neither type, shape nor place"),
    "another magic": (ncnn_of("7767517", "7767518"), r"it begins with '7767518'; expected 7767517"),
    "a binary for a text": (bytes_of("net.param", b"\xff\x00\xfe"), r"net\.bin is not there"),
    "layers that are not counted": (ncnn_of("3 3", "4 3"), r"it says that it has 4 layers, and has 3"),
    "a layer of no known kind": (ncnn_of("PReLU", "InnerProduct"), r"a layer of kind InnerProduct"),
    "a layer without a name": (ncnn_of("PReLU two 1 1 1 output 0=4", "PReLU"), r"its line 'PReLU' is no layer"),
    "a setting that is no number": (ncnn_of("5=1", "5=x"), r"is no layer"),
    "a setting that is not finite": (ncnn_of("5=1", "5=nan"), r"is no layer"),
    "an array of another length": (ncnn_of("5=1", "5=1 -23310=3,1"), r"is no layer"),
    "more inputs than are named": (ncnn_of("two 1 1", "two 1000000000 1"), r"is no layer"),
    "outputs of terabytes": (
        ncnn_of("0=4 1=1 5=1 6=8", "0=2000000000 1=1 5=1 6=2000000000"),
        r"more than those are used",
    ),
    "a negative number of outputs": (ncnn_of("0=4 1=1", "0=-4 1=1"), r"layer one has -4\.0 for key 0"),
    "weights that do not fit": (ncnn_of("6=8", "6=7"), r"layer one has 7 weights for 4 outputs of 1 x 1"),
    "weights cut short": (ncnn_of("two", "two", WEIGHTS[:-1]), r"its weights end at 51 bytes"),
    "weights with a rest": (ncnn_of("two", "two", WEIGHTS + bytes(4)), r"its weights take 52 bytes.* has 56"),
    "weights of another kind": (ncnn_of("two", "two", b"\x01" + WEIGHTS[1:]), r"weights of kind 0x1306b01"),
    "a shard that escapes": (tensorflowjs_of(paths=["../shard.bin"]), r"'\.\./shard\.bin' lies outside of its folder"),
    "a shard with a root": (tensorflowjs_of(paths=["/etc/passwd"]), r"'/etc/passwd' lies outside"),
    "a shard of the net": (tensorflowjs_of(paths=["http://x/y.bin"]), r"lies outside"),
    "a shard that is not there": (tensorflowjs_of(paths=["other.bin"]), r"other\.bin is not there; put the shards"),
    "a shard twice": (tensorflowjs_of(paths=["shard.bin"] * 2), r"names the shard 'shard\.bin' twice"),
    "a shard that is a number": (tensorflowjs_of(paths=[3]), r"says neither paths nor weights"),
    "an array of terabytes": (tensorflowjs_of(entry={"shape": [10**12]}), r"one/kernel lies beyond them"),
    "an array of texts": (tensorflowjs_of(entry={"dtype": "string"}), r"one/kernel is of type string"),
    "an array of two names": (tensorflowjs_of(entry={"name": "two/bias"}), r"it has two/bias twice"),
    "a shape that is no list": (tensorflowjs_of(entry={"shape": 3}), r"no name, shape or dtype"),
    "a quantization of its own": (tensorflowjs_of(entry={"quantization": {"dtype": "x"}}), r"of no known kind"),
    "shards with a rest": (tensorflowjs_of(entry={"shape": [2, 2]}), r"weights take 20 bytes, and its shards have 28"),
    "no weights": (tensorflowjs_of(weightsManifest=3), r"it has no weightsManifest"),
    "no layers": (tensorflowjs_of(modelTopology=3), r"its modelTopology lists no layers"),
    "layers that are none": (tensorflowjs_of(modelTopology={"config": {"layers": [3]}}), r"no class_name or config"),
}
READERS = {
    ".pth": read_pytorch,
    ".safetensors": read_safetensors,
    ".param": read_ncnn,
    ".json": read_tensorflowjs,
}


@pytest.mark.parametrize("kind", HOSTILE_FILES)
def test_a_hostile_file_is_refused(kind: str, tmp_path: Path) -> None:
    write, message = HOSTILE_FILES[kind]
    path = write(tmp_path)
    refused(lambda: READERS[path.suffix](path), message)


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_that_cannot_be_one_is_refused(suffix: str, tmp_path: Path) -> None:
    read = READERS[suffix]
    refused(lambda: read(tmp_path / f"none{suffix}"), r"is not there; name a file")
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    refused(lambda: read(folder), r"is a folder; name a file")
    large = tmp_path / f"large{suffix}"
    with large.open("wb") as file:
        file.truncate(2**40)  # which takes no room
    refused(lambda: read(large), r"has 1,099,511,627,776 bytes; expected at most")


def test_entries_that_share_their_bytes_take_no_more_memory_than_the_file(tmp_path: Path) -> None:
    """As in a zip whose directory names one run of bytes a thousand times."""
    content = Pickled([tensor(key=str(key), length=10_000, shape=(10_000,)) for key in range(8)])
    path = write_zip(tmp_path / "file.pth", content.content, {"0": bytes(40_000)})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info, start = archive.getinfo("archive/data/0"), archive.start_dir
    name = b"archive/data/0"
    place = data.rindex(name) - 46  # the entry of the directory
    one, ending = data[place : place + 46 + len(name)], bytearray(data[-22:])
    more = b"".join(one.replace(name, f"archive/data/{key}".encode()) for key in range(1, 8))
    ending[8:12] = struct.pack("<HH", 9, 9)
    ending[12:16] = struct.pack("<I", len(data) - 22 - start + len(more))
    path.write_bytes(data[:-22] + more + bytes(ending))
    assert info.file_size == 40_000
    refused(lambda: read_pytorch(path), r"is not a PyTorch file")
