"""Hostile files through `ganjax import`: each is refused in one line, nothing of it runs, nothing is written.

What the readers say of each kind is in test_interchange.py; here are the ways in, and kinds that only pickles of whole
networks can have. Memory is measured in a process of its own.
"""

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import (
    Instance,
    Nested,
    Pickled,
    Raw,
    module,
    saved_storage,
    write_header,
    write_nvidia,
    write_pth,
    write_zip,
)
from test_interchange import HOSTILE_FILES, HOSTILE_PICKLES, Reduced

from ganjax import UserError
from ganjax.cli import main
from ganjax.interchange.families import read_weights

ONES = np.ones((2, 2), np.float32)


def refusal(family: str, file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that says why, of a command that changed nothing."""
    before = sorted(file.parent.rglob("*"))
    assert main(["import", family, str(file), "--workdir", str(file.parent / "run")]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    return checked(line, file, before)


def refusal_of_reader(family: str, file: Path) -> str:
    """The same without the command around it, which takes more time than the reader."""
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        read_weights(family, file)
    return checked(str(caught.value), file, before)


def checked(line: str, file: Path, before: list[Path]) -> str:
    assert line.isprintable()
    assert len(line) < 900
    assert sorted(file.parent.rglob("*")) == before
    return line


@pytest.mark.parametrize("kind", HOSTILE_PICKLES)
def test_pickles(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, in PyTorch's zip, in a network, and in the file of a storage that lies in the pickle of a network."""
    monkeypatch.chdir(tmp_path)
    value, _ = HOSTILE_PICKLES[kind]
    content = Pickled({"x": value}).content
    storage = Raw(b"ctorch.storage\n_load_from_bytes\n" + Pickled(None).write((content,)) + b"R")
    inside = Pickled(None).rebuild(storage, 0, (2,), (1,))
    ways = (
        ("r3gan", bytes_in(tmp_path / "a.pkl", content)),
        ("dcgan", write_zip(tmp_path / "b.pth", content, {"0": bytes(24)})),
        ("dcgan", bytes_in(tmp_path / "c.pth", content)),
        ("r3gan", write_nvidia(tmp_path / "d.pkl", {"G_ema": module({"a": ONES}, other=value)})),
        ("r3gan", write_nvidia(tmp_path / "e.pkl", {"G_ema": module({"a": inside})})),
    )
    for family, file in ways[1 : 1 if len(content) > 50_000 else None]:  # those take their time
        refusal_of_reader(family, file)
    refusal(*ways[0], capsys)


def bytes_in(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", [kind for kind, (_, message) in HOSTILE_FILES.items() if "TensorFlow" not in message])
def test_files(kind: str, tmp_path: Path) -> None:
    make, _ = HOSTILE_FILES[kind]
    refusal_of_reader("realesrgan", make(tmp_path))


def test_what_python_would_run_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (getattr, (Reduced(__import__, ("os",)), "system")),
        (os.system, ("touch pwned",)),
        (eval, ("open('pwned', 'w')",)),
        (exec, ("open('pwned', 'w')",)),
        (compile, ("1", "x", "eval")),
        (subprocess.Popen, (["touch", "pwned"],)),
        (open, ("pwned", "w")),
        (pickle.loads, (b"cos\nsystem\n(S'touch pwned'\ntR.",)),
        (np.load, ("pwned",)),
        (print, ("pwned",)),
    ]
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        for call, arguments in calls:
            value = Reduced(call, arguments) if call is not getattr else Reduced(print, (Reduced(call, arguments),))
            content = pickle.dumps({"G_ema": value}, protocol=protocol)
            for name in ("a.pkl", "a.pth"):
                line = refusal_of_reader("r3gan", bytes_in(tmp_path / name, content))
                assert "which is no part of a tensor" in line
    assert not (tmp_path / "pwned").exists()


def persistent(state: Any = None, **changes: Any) -> Raw:
    """A call that makes an instance of a class whose source comes along."""
    meta = {"type": "class", "version": 6, "module_src": "open('pwned', 'w')", "class_name": "G", "state": state}
    return Raw(
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + Nested(None).write((meta | changes,)) + b"R"
    )


def loaded(*arguments: Any) -> Raw:
    storage = Raw(b"ctorch.storage\n_load_from_bytes\n" + Pickled(None).write(arguments) + b"R")
    return Pickled(None).rebuild(storage, 0, (2,), (1,))


def laughs(levels: int = 35) -> Raw:
    """A list of two lists, which are one, of two lists, and so on: small to write, and large for whoever walks it."""
    return Raw(b"]q\x64" + b"".join(b"0(h%ch%clq%c" % (at, at, at + 1) for at in range(100, 100 + levels)))


NETWORKS: dict[str, tuple[Any, str]] = {
    "an instance of an object that is none": (persistent(3), "an instance without a class or attributes"),
    "an instance of another type": (persistent({}, type="function"), "an instance without a class or attributes"),
    "an instance whose class has no name": (persistent({}, class_name=5), "an instance without a class or attributes"),
    "a network without modules": (Instance({"_modules": 3}), "whose _modules have no names"),
    "parameters without names": (Instance({"_parameters": {3: ONES}}), "whose _parameters have no names"),
    "attributes that are no dictionary": (Instance([], "training.networks.Generator"), "has no attributes"),
    "settings that are none": (module({"a": ONES}, _init_kwargs=[1]), "in no known way what it was made with"),
    "a name of megabytes": (module({"a" * 1000: ONES}), "names of more than 250 letters"),
    "a storage of a text": (module({"a": loaded("x")}), "a storage that is not of bytes"),
    "a storage of nothing": (module({"a": loaded(b"")}), "its pickle is damaged"),
    "a storage in a storage": (
        module({"a": loaded(Pickled(loaded(b"")).content)}),
        "names torch.storage._load_from_bytes",
    ),
    "a storage cut short": (module({"a": loaded(saved_storage(ONES)[:-1])}), "storage 7 is cut short"),
    "a storage of a network": (
        module({"a": loaded(Pickled(Raw(b"ctraining.networks\nGenerator\n)\x81")).content)}),
        "it names training.networks.Generator",
    ),
    "a parameter that is no tensor": (
        module({"a": Raw(b"ctorch._utils\n_rebuild_parameter\n(K\x01\x88K\x01tR")}),
        "a parameter that is no tensor",
    ),
    "a class that is not known": (Instance({}, "training.networks.Trojan"), "it names training.networks.Trojan"),
    "a name in a known module": (Instance({}, "torch.hub.load"), "it names torch.hub.load"),
    "attributes of attributes": (Instance({}, "training.networks.Generator.__init__"), "Generator.__init__"),
    "bytes of another encoding": (Raw(b"c_codecs\nencode\n(X\x01\x00\x00\x00xX\x03\x00\x00\x00rottR"), "not of latin1"),
    "a module in itself": (
        Raw(b"ctraining.networks\nGenerator\n)\x81q\x05}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x05ssb"),
        "a container that holds itself",
    ),
    "a module in two others": (
        Raw(
            b"ctraining.networks\nGenerator\n)\x81}X\x08\x00\x00\x00_modules}(X\x01\x00\x00\x00a"
            b"ctraining.networks\nGenerator\n)\x81}bq\x05X\x01\x00\x00\x00bh\x05usb"
        ),
        "lies in two others",
    ),
    "networks in each other": (
        Raw(b"ctraining.networks\nGenerator\n)\x81" * 20_000 + b"}b" + b"b" * 19_999),
        "nested more than 40 deep",
    ),
    "a part that claims exabytes": (Raw(b"\x95" + struct.pack("<Q", 2**60) + b"N"), "a part of it claims 1,152,921"),
    "a huge key": (Raw(b"}\x8a\x20" + b"\x7f" * 32 + b"Ns"), "a key of a dictionary is a huge int"),
    "a set of what has no hash": (Raw(b"\x8f(]\x90"), "a key of a dictionary is a list"),
    "lists of lists, twice each": (module({"a": ONES}, x=laughs()), "more than 100,000 attributes"),
    "settings of these": (module({"a": ONES}, _init_kwargs={"x": laughs()}), "more than 100,000 attributes"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value, message = NETWORKS[kind]
    assert message in refusal("r3gan", write_nvidia(tmp_path / "network.pkl", {"G_ema": value}), capsys)


# --- of little, much ---


def sparse(path: Path, beginning: bytes, size: int = 2**32) -> None:
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size)


def write_large(folder: Path) -> None:
    """Files that would take gigabytes, or hours, if what they claim were believed."""
    sparse(folder / "zeros.pkl", b"")
    sparse(folder / "zeros.pth", b"")
    sparse(folder / "zip.pth", b"PK\x03\x04")
    sparse(folder / "zeros.safetensors", b"")
    sparse(folder / "claim.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 2**40))
    sparse(folder / "claim.pth", b"\x80\x02\x8d" + struct.pack("<Q", 2**33))
    sparse(folder / "claim.safetensors", struct.pack("<Q", 2**31) + b"{")
    write_header(folder / "lists.safetensors", b'{"a":[' + b"[]," * 2_000_000 + b"[]]}")
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(2**27))
    (folder / "lists.pkl").write_bytes(b"\x80\x02" + b"]" * 2_000_000)
    (folder / "laughs.pkl").write_bytes(Nested({"G_ema": module({"a": ONES}, x=laughs())}).content)
    write_pth(folder / "laughs.pth", {"x": laughs()})
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
    encoded = b"c_codecs\nencode\n(" + text + b"q\x01X\x06\x00\x00\x00latin1tR0"
    again = b"c_codecs\nencode\n(h\x01X\x06\x00\x00\x00latin1tR"
    (folder / "texts.pkl").write_bytes(b"\x80\x02" + encoded + b"(" + again * 10_000 + b"l.")
    # A tensor by many names, each of which begins with a long one.
    one = b"q\x02".join([Pickled(None).rebuild(Pickled(None).storage("0", 1), 0, (1,), (1,)), b""])
    names = b"".join(b"K" + bytes([at % 250]) + b"h\x02" for at in range(100_000))
    write_zip(folder / "names.pth", b"\x80\x02}" + text + one + b"0}(" + names + b"us.", {"0": bytes(4)})
    content = saved_storage(ONES)
    call = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(content)) + content + b"tR"
    (folder / "storages.pkl").write_bytes(b"\x80\x02(" + call * 5_000 + b"l.")


WATCH = """
import pathlib, resource, sys, time
from ganjax.ground.errors import UserError
from ganjax.interchange.families import read_weights

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    start = time.monotonic()
    try:
        read_weights("r3gan", path)
    except UserError as error:
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(path.name, grown, round(time.monotonic() - start, 1), error, sep="|")
"""


def test_memory_is_bounded(tmp_path: Path) -> None:
    write_large(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, *_ in lines] == sorted(path.name for path in tmp_path.iterdir()), done.stdout
    assert max(int(grown) for _, grown, *_ in lines) < 300, done.stdout
