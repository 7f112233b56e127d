"""Films through `ganjax translate`: frame by frame, at their times, with their sound."""

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_translate import made_bytes, refusal, save, translate

av = pytest.importorskip("av")
__all__ = ["translate"]


def film(
    path: str, *, num_frames: int = 5, size: tuple[int, int] = (16, 24), sound: bool = True, codec: str = ""
) -> None:
    """A second a frame and a half, lossless, with a tone."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        video = container.add_stream(codec or "libx264", rate=Fraction(2, 3), options={} if codec else {"qp": "0"})
        video.height, video.width = size
        video.pix_fmt = "yuv444p"
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frame_of(number, size), "rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for start in range(0, 4096, 1024):
                tone = np.sin(np.arange(start, start + 1024) / 10).astype(np.float32)[None]
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def frame_of(number: int, size: tuple[int, int]) -> np.ndarray:
    shades = np.add.outer(np.arange(size[0]) * 4, np.arange(size[1]) * 3)
    return np.stack([shades + 20 * number, shades, 255 - shades], axis=-1).clip(0, 255).astype(np.uint8)


def frames_of(path: str) -> tuple[list[np.ndarray], list[Fraction]]:
    with av.open(path) as container:
        found = [(frame.to_ndarray(format="rgb24"), frame.pts * frame.time_base) for frame in container.decode(video=0)]
    return [pixels for pixels, _ in found], [time for _, time in found]


def sound_of(path: str) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_frames_times_and_sound(translate: Callable[..., int], size: tuple[int, int], capsys) -> None:
    film("in/below/a.mp4", size=size)
    save("in/b.png", frame_of(0, size))
    assert translate("same", "--inputs", "in", "--out", "out", "--batch-size", "2") == 0
    starts, times = frames_of("in/below/a.mp4")
    made, made_times = frames_of("out/below/a.mp4")
    assert len(made) == 5
    assert made_times == times
    for image, start in zip(made, starts, strict=True):
        expected = made_bytes("same", start)
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 6  # the codec's, with a quarter of the colours' pixels
    assert sound_of("out/below/a.mp4") == sound_of("in/below/a.mp4")
    assert Path("out/b.png").exists()
    assert "made of 2 inputs" in capsys.readouterr().out


def test_one_film_to_one_file_of_another_kind_and_codec(translate: Callable[..., int], capsys) -> None:
    film("a.mp4", sound=False)
    assert translate("x2", "--inputs", "a.mp4", "--out", "b.mkv", "--codec", "mpeg4") == 0
    made, _ = frames_of("b.mkv")
    assert [image.shape for image in made] == [(32, 48, 3)] * 5
    with av.open("b.mkv") as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_what_is_no_film_is_refused_before_the_work(translate: Callable[..., int], capsys, monkeypatch) -> None:
    monkeypatch.setattr("ganjax.verbs.translate.restore_state", None)
    film("a.mp4", sound=False)
    Path("text.mp4").write_text("text")
    with av.open("mute.mkv", "w") as container:
        audio = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    for arguments, message in {
        (
            "--inputs",
            "a.mp4",
            "--out",
            "out",
            "--codec",
            "libx999",
        ): "the codec libx999 is not there: FFmpeg's libraries",
        (
            "--inputs",
            "a.mp4",
            "--out",
            "out",
            "--codec",
            "aac",
        ): "the codec aac encodes audio and not pictures; expected",
        ("--inputs", "text.mp4", "--out", "out"): "text.mp4 cannot be read as a film; take it out, or mend it (",
        ("--inputs", "mute.mkv", "--out", "out"): "mute.mkv has no frames; expected a film with pictures in it",
        ("--inputs", "a.mp4", "--out", "x.npz"): "--out is x.npz, and a.mp4 is a film, which does not go into arrays",
        ("--inputs", "a.mp4", "--out", "x.png"): "--out is x.png; expected a name that ends in .npz or .mp4",
    }.items():
        assert translate("x2", *arguments) == 2
        assert message in refusal(capsys)
    monkeypatch.setitem(sys.modules, "av", None)
    assert translate("x2", "--inputs", "a.mp4", "--out", "out") == 2
    assert "to read a.mp4 takes a package that is not there: pip install 'ganjax[video]'" in refusal(capsys)
    assert not Path("out").exists()


def test_a_film_that_ends_amiss_costs_the_others_nothing(translate: Callable[..., int], capsys, monkeypatch) -> None:
    save("in/a.png", frame_of(0, (8, 8)))
    film("in/a.mp4", sound=False)
    film("in/b.mkv")
    content = bytearray(Path("in/a.mp4").read_bytes())
    with av.open("in/a.mp4") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, size = packets[-1].pos, packets[-1].size
    content[start : start + size] = bytes(size)
    Path("in/a.mp4").write_bytes(content)
    assert translate("same", "--inputs", "in", "--out", "out") == 2
    line = refusal(capsys)
    assert line.startswith("ganjax: in/a.mp4 cannot be worked through to its end; mend it, or name another --codec (")
    assert line.endswith("it is left out, and the others are in out")
    assert {path.name for path in Path("out").iterdir()} == {"a.png", "b.mkv"}
