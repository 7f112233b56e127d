"""What made a picture goes with it, into files of every kind, and `ganjax verify` reads it."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_run
from etils import epath
from PIL import Image, ImageSequence

from ganjax.cli import main
from ganjax.ground.errors import UserError
from ganjax.runs.origins import checkpoint_hash
from ganjax.using.credentials import Signer, read_credentials
from ganjax.using.films import CONTAINERS
from ganjax.using.marks import Marks, Origin, film_metadata, marked_film, write_marked
from ganjax.using.pictures import Frame, Picture
from ganjax.using.verifying import read_marks
from ganjax.using.watermark import Watermark
from ganjax.using.xmp import TRAINED, find_packet, parse_packet

ORIGIN = Origin(version="9.9", run='a <&"b', step=3, seed=1, number="0-3", label="\N{CAT}\x00", guard="none")
SAID = {"tool": "ganjax", "version": "9.9", "run": 'a <&"b', "step": "3", "seed": "1", "number": "0-3"}
SAID |= {"label": "\N{CAT}?", "guard": "none"}
STILL = (".png", ".jpg", ".webp", ".tif", ".jp2")
RANDOM = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8)


def written(made: Any, suffix: str, marks: Marks) -> bytes:
    file = io.BytesIO()
    write_marked(file, made, suffix=suffix, marks=marks)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [*STILL, ".gif", ".apng", "animated.webp"])
def test_files_say_what_made_them_and_are_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    animated = suffix not in STILL
    frames = tuple(Frame(pixels, None, 100.0) for pixels in RANDOM) if animated else (Frame(RANDOM[0]),)
    end = suffix if suffix.startswith(".") else ".webp"
    content = written(Picture(frames, 0 if animated else None), end, Marks(ORIGIN))
    assert content == written(Picture(frames, 0 if animated else None), end, Marks(ORIGIN))
    path = tmp_path / f"x{end}"
    path.write_bytes(content)
    found = read_marks(epath.Path(path), Watermark())
    assert (found.origin, found.made_by_model, found.problem) == (SAID, True, None)
    with Image.open(path) as image:  # others read it as before
        assert len([*ImageSequence.Iterator(image)]) == (3 if animated else 1)
        if end == ".png":
            assert np.array_equal(np.asarray(image), RANDOM[0])


def test_an_independent_reader_finds_the_standard_fields(tmp_path: Path) -> None:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.skip("there is no exiftool")
    for suffix in (".png", ".jpg", ".webp", ".gif", ".jp2"):
        picture = Picture((Frame(RANDOM[0], None, 9.0), Frame(RANDOM[1], None, 9.0))[: 2 if suffix == ".gif" else 1])
        (tmp_path / f"x{suffix}").write_bytes(written(picture, suffix, Marks(ORIGIN)))
    command = [exiftool, "-j", "-XMP:all", "-validate", *sorted(map(str, tmp_path.iterdir()))]
    records = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert len(records) == 5
    for record in records:
        assert (record["DigitalSourceType"], record["CreatorTool"], record["Run"]) == (TRAINED, "ganjax 9.9", 'a <&"b')
        assert record["Validate"].startswith("OK")


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_films_say_what_made_them(suffix: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path, marks = tmp_path / f"film{suffix}", Marks(ORIGIN, Watermark())
    with (
        path.open("wb") as file,
        marked_film(file, suffix=suffix, marks=marks) as plain,
        av.open(plain, "w", format=CONTAINERS[suffix]) as film,
    ):
        film.metadata.update(film_metadata(suffix, marks))
        stream = film.add_stream("mpeg4" if suffix != ".webm" else "libvpx-vp9", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in range(0, 40, 5):
            pixels = marks.pixels(np.full((64, 64, 3), 100 + level, np.uint8))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        film.mux(stream.encode(None))
    found = read_marks(epath.Path(path), Watermark())
    assert (found.origin, found.made_by_model, found.num_pictures) == (SAID, True, 8)
    assert found.watermark is not None
    assert found.watermark.found


def test_arrays_say_what_made_them(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(written({"images": RANDOM, "names": np.array(["a"])}, ".npz", Marks(ORIGIN)))
    found = read_marks(epath.Path(path), Watermark())
    assert (found.origin, found.made_by_model) == (SAID | {"label": "\N{CAT}\x00"}, True)
    with np.load(path) as arrays:
        assert np.array_equal(arrays["images"], RANDOM)
        assert json.loads(str(arrays["origin"]))["digital_source_type"] == TRAINED


def test_damage_and_hostile_packets_say_nothing() -> None:
    packet = ORIGIN.packet
    assert find_packet(b"<x:xmpmeta" * 200_000) is None
    assert parse_packet(packet.replace(b"<x:xmpmeta", b'<x:xmpmeta><!DOCTYPE a [<!ENTITY b "c">]>', 1)) is None
    assert parse_packet(packet[:-80]) is None
    elements = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description xmlns:g="http://ns.ganjax/marks/1.0/"><g:run>other form</g:run></rdf:Description></rdf:RDF>
    </x:xmpmeta>"""
    assert parse_packet(elements) == {"ganjax:run": "other form"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("c2pa")
    from certificates import write_chain

    return write_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def signer(chain: tuple[Path, Path]) -> Signer:
    return Signer.from_files(*map(epath.Path, chain))


@pytest.mark.parametrize(("suffix", "pixels"), [(".png", b"IDAT"), (".jpg", b"\xff\xda"), (".webp", b"VP8 ")])
def test_a_signature_covers_the_picture(suffix: str, pixels: bytes, signer: Signer) -> None:
    content = bytearray(written(RANDOM[0], suffix, Marks(ORIGIN, signer=signer)))
    found = read_credentials(io.BytesIO(content), suffix=suffix)
    assert found is not None
    assert (found.intact, found.trusted, found.signer, found.problem) == (True, False, "A studio", None)
    assert found.origin["run"] == 'a <&"b'
    content[content.rindex(pixels) + 99] ^= 1
    changed = read_credentials(io.BytesIO(content), suffix=suffix)
    assert changed is not None
    assert not changed.intact
    assert read_credentials(io.BytesIO(written(RANDOM[0], suffix, Marks(ORIGIN))), suffix=suffix) is None


def test_a_certificate_that_will_not_do_is_named(signer: Signer, tmp_path: Path) -> None:
    for name, content in (("chain", signer.certificate), ("key", signer.key), ("text", b"hello")):
        (tmp_path / name).write_bytes(content)
    place = epath.Path(tmp_path)
    for chain, key, words in (
        ("nowhere", "key", "--c2pa-certificate .*nowhere cannot be read: No such file"),
        ("text", "key", "--c2pa-certificate .*text is no PEM of BEGIN CERTIFICATE; expected"),
        ("chain", "text", "--c2pa-key .*text is no PEM of PRIVATE KEY; expected"),
    ):
        with pytest.raises(UserError, match=words):
            Signer.from_files(place / chain, place / key)
    with pytest.raises(UserError, match=r"a \.npz file cannot be signed; expected one of \.png"):
        written({"images": RANDOM}, ".npz", Marks(ORIGIN, signer=signer))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, whose config asks for a watermark."""
    workdir = tmp_path_factory.mktemp("marks") / "mine"
    shutil.copytree(tiny_run.trained(), workdir)
    text = (workdir / "config.py").read_text()
    (workdir / "config.py").write_text(text.replace("run = Run(", "run = Run(watermark='ours', "))
    return workdir


def test_samples_say_which_checkpoint_made_them(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for out in ("grid.png", "arrays.npz", "folder"):
        flags = ["--num", "12", "--seed", "5", "--truncation", "0.7", "--out", str(tmp_path / out)]
        assert main(["sample", "--workdir", str(trained), *flags]) == 0
    said = "pixels are mostly too small to bear a watermark that is not seen and is found; a grid of them (.png) bears"
    assert caplog.text.count(said) == 2
    capsys.readouterr()
    names = ["grid.png", "arrays.npz", "folder"]
    assert main(["verify", "--json", "--workdir", str(trained), *(str(tmp_path / name) for name in names)]) == 0
    report = json.loads(capsys.readouterr().out)
    grid, arrays, *singles = report["files"]
    hashed = checkpoint_hash(epath.Path(trained), 40)
    for record in (grid, arrays, *singles):
        origin = record["origin"]
        assert (origin["run"], origin["step"], origin["seed"]) == ("mine", "40", "5")
        assert (origin["checkpoint"], origin["settings"]) == (hashed, "truncation 0.7 (scale)")
        assert record["workdir"] == f"made by this checkpoint of {trained}"
    assert grid["origin"]["number"] == arrays["origin"]["number"] == "0-11"
    assert [single["origin"]["number"] for single in singles] == [f"{number}" for number in range(12)]
    assert grid["watermark"]["found"]  # the run asks for one, and verify knows by --workdir with which key
    # The grids of training, of weights that no checkpoint holds, say so much as can be said.
    (drawn,) = (trained / "samples").iterdir()
    assert main(["verify", str(drawn)]) == 0
    assert capsys.readouterr().out == f"{drawn}: made by ganjax {Origin().version}, step 0, seed 0, sample 0-63\n"


def test_samples_are_signed_with_the_users_certificate(
    chain: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir, flags = tiny_run.trained(), ["--c2pa-certificate", str(chain[0]), "--c2pa-key", str(chain[1])]
    for out in ("grid.png", "folder"):
        assert main(["sample", "--workdir", str(workdir), "--num", "2", "--out", str(tmp_path / out), *flags]) == 0
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "grid.png"), str(tmp_path / "folder")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "made by ganjax" in line
        assert "; signed by A studio, unchanged since (by an authority unknown to C2PA)" in line
    picture = tmp_path / "grid.png"
    content = bytearray(picture.read_bytes())
    content[content.rindex(b"IDAT") + 30] ^= 1
    picture.write_bytes(content)
    # Also where the pixels cannot be read any more.
    assert main(["verify", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "made by ganjax" in said
    assert "; signed by A studio, and CHANGED since or damaged (" in said
    assert "; it cannot be read (broken data stream" in said


def test_verify_tells_what_has_no_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "made.png").write_bytes(written(RANDOM[0], ".png", Marks(ORIGIN)))
    assert main(["verify", str(tmp_path / "in")]) == 0
    Image.fromarray(RANDOM[0]).save(tmp_path / "in" / "plain.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    (tmp_path / "in" / "bomb.png").write_bytes(written(np.zeros((9000, 9000, 1), np.uint8), ".png", Marks(ORIGIN)))
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "in")]) == 1
    out, err = capsys.readouterr()
    lines = dict(line.split(": ", 1) for line in out.splitlines() if line.startswith(str(tmp_path)))
    assert lines[str(tmp_path / "in" / "plain.png")] == "no watermark found; no mark of ganjax"
    assert lines[str(tmp_path / "in" / "broken.png")].startswith("it cannot be read (")
    assert lines[str(tmp_path / "in" / "bomb.png")].endswith(
        "it has 81,000,000 pixels, and no watermark is looked for in more than 67,108,864"
    )
    assert out.splitlines()[-1] == "1 other file(s) are left out: no pictures, films or .npz by their names"
    assert "ganjax: 2 of 4 file(s) without a mark of ganjax: " in err
    assert main(["verify", str(tmp_path / "none.png")]) == 2
    assert "none.png is not there; expected a picture, a film, an .npz, or a folder" in capsys.readouterr().err
    assert main(["verify"]) == 2
    assert "ganjax: no file is named; expected pictures, films" in capsys.readouterr().err


def test_half_of_a_signature_is_refused_before_the_work(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "--workdir", str(trained), "--out", str(tmp_path / "x.npz")]
    assert main([*command, "--c2pa-certificate", "chain.pem"]) == 2
    assert "--c2pa-certificate is given and --c2pa-key is not; give both" in capsys.readouterr().err
    assert main([*command, "--c2pa-certificate", "chain.pem", "--c2pa-key", "key.pem"]) == 2
    assert "a .npz file cannot be signed; expected one of .png" in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()
