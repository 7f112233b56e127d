"""`ganjax translate`: what is made of pictures of any kind, where it goes, and what is refused before the work."""

import functools
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax import GAN, Adam, Condition, Config, Run, init, losses, sample
from ganjax.augment.inputs import Masked
from ganjax.cli import main
from ganjax.data import Digits
from ganjax.models import mlp, network
from ganjax.models.translation import UNet
from ganjax.using.verifying import read_marks
from ganjax.using.watermark import Watermark


class Enlarger(network.Generator):
    """Two convolutions around a repetition of pixels, of any size; its outputs leave [-1, 1] here and there."""

    any_size: ClassVar[bool] = True
    latent_size: int = 0

    def generate(self, latents, condition, mode):
        assert condition.inputs is not None
        assert self.input_shape is not None
        factor = self.image_shape[0] // self.input_shape[0]
        maps = nn.leaky_relu(nn.Conv(4, (3, 3))(condition.inputs))
        maps = maps.repeat(factor, axis=1).repeat(factor, axis=2)
        if self.condition_size:
            vector = self.vector(condition)[:, None, None]
            maps = jnp.concatenate([maps, jnp.broadcast_to(vector, (*maps.shape[:3], vector.shape[-1]))], axis=-1)
        if self.latent_size:
            maps = maps + nn.Dense(4)(latents)[:, None, None]
        return 1.2 * nn.Conv(self.image_shape[2], (3, 3))(maps)


class OfAll(Enlarger):
    """Each pixel of it depends on all, as with instance norm."""

    def generate(self, latents, condition, mode):
        maps = super().generate(latents, condition, mode)
        return maps - maps.mean(axis=(1, 2), keepdims=True)


class OfOneSize(Enlarger):
    """The same, for one size."""

    any_size: ClassVar[bool] = False


def config_of(generator: Any, inputs: Callable | None = None) -> Config:
    adam = Adam(1e-3)
    gan = GAN(
        generator=generator,
        discriminator=mlp.Discriminator(
            image_shape=generator.image_shape,
            hidden=(4,),
            num_classes=generator.num_classes,
            num_attributes=generator.num_attributes,
        ),
        loss=losses.non_saturating,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        inputs=inputs,
    )
    return Config(
        gan=gan, data=Digits(), run=Run(batch_size=8, total_images=8, log_every=8, sample_every=8, checkpoint_every=8)
    )


RGB, GREY, X2 = (16, 16, 3), (16, 16, 1), (32, 32, 3)
MODELS: dict[str, Callable[[], Config]] = {
    "x2": lambda: config_of(Enlarger(X2, input_shape=RGB)),
    "same": lambda: config_of(Enlarger(RGB, input_shape=RGB)),
    "colouring": lambda: config_of(UNet(X2, input_shape=(32, 32, 1), features=4, levels=2)),
    "to grey": lambda: config_of(Enlarger(GREY, input_shape=RGB)),
    "of all": lambda: config_of(OfAll(RGB, input_shape=RGB)),
    "one size": lambda: config_of(OfOneSize(X2, input_shape=RGB)),
    "filling": lambda: config_of(Enlarger(RGB, input_shape=(16, 16, 4)), Masked()),
    "classes": lambda: config_of(Enlarger(RGB, input_shape=RGB, num_classes=3)),
    "attributes": lambda: config_of(Enlarger(RGB, input_shape=RGB, num_attributes=2)),
    "latents": lambda: config_of(Enlarger(RGB, input_shape=RGB, latent_size=3)),
    "from latents": lambda: config_of(mlp.Generator(image_shape=RGB, hidden=(4,))),
}


@functools.cache
def model_of(name: str) -> tuple[Config, Any]:
    """A model that has just been initialised."""
    config = MODELS[name]()
    return config, jax.jit(init, static_argnums=0)(config.gan, jax.random.key(0))


@pytest.fixture
def translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`ganjax translate` with such a model, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    chosen = []

    def run(name: str, *arguments: str) -> int:
        chosen[:] = [name]
        return main(["translate", "--workdir", "run", *arguments])

    monkeypatch.setattr("ganjax.verbs.translate.load_workdir", lambda workdir: model_of(chosen[0])[0])
    monkeypatch.setattr("ganjax.verbs.translate.restore_state", lambda config, workdir, step: model_of(chosen[0])[1])
    return run


apply = jax.jit(sample, static_argnums=0)


def made_of(model: str, inputs: np.ndarray, **condition: Any) -> np.ndarray:
    """What a model makes of an image in [-1, 1], in [-1, 1]."""
    config, state = model_of(model)
    latents = jnp.zeros((1, config.gan.generator.latent_size))
    given = Condition(inputs=jnp.asarray(inputs[None], jnp.float32), **condition)
    return np.clip(np.asarray(apply(config.gan, state, latents, given))[0], -1, 1)


def made_bytes(model: str, pixels: np.ndarray, **condition: Any) -> np.ndarray:
    return np.rint((made_of(model, pixels / 127.5 - 1, **condition) + 1) * 127.5).astype(np.uint8)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Not white, so that lossy formats keep it nearly."""
    rng = np.random.default_rng(height * 1000 + width)
    small = rng.integers(0, 256, (-(-height // 4), -(-width // 4), channels)).astype(np.uint8)
    return small.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


def save(path: str, pixels: np.ndarray, **settings: Any) -> np.ndarray:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).save(path, **settings)
    return pixels


def opened(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def close(actual: np.ndarray, expected: np.ndarray, *, within: int = 1) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= within


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said since this was asked last."""
    said = [record.getMessage() for record in caplog.records if record.name == "ganjax"]
    caplog.clear()
    return said


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("ganjax: ")
    return line


# --- what is made ---


def test_each_picture_of_a_folder_becomes_one_of_its_name(translate, capsys, caplog) -> None:
    pixels = {
        "a.png": save("in/a.png", noise(16, 20)),
        "below/b.png": save("in/below/b.png", noise(16, 20)),
        "below/deep/c.bmp": save("in/below/deep/c.bmp", noise(9, 31)),
        "d.tif": save("in/d.tif", noise(16, 16)),
        "e.webp": save("in/e.webp", noise(24, 16), lossless=True),
    }
    jpeg = save("in/f.JPG", noise(40, 40), quality=95, subsampling=0)
    Path("in/readme.txt").write_text("of pictures")
    assert translate("x2", "--inputs", "in", "--out", "out", "--scale", "2") == 0
    assert capsys.readouterr().out == "made of 6 inputs by the generator at 0 images: out\n"
    assert lines(caplog) == [
        "in: 1 file(s) are no pictures and are left out, first readme.txt",
        "1 are of kinds that have no place for what made them (BMP, TGA, PPM): first below/deep/c.bmp",
    ]
    assert {str(path.relative_to("out")) for path in Path("out").rglob("*.*")} == {*pixels, "f.JPG"}
    for name, image in pixels.items():
        made, expected = opened(f"out/{name}"), made_bytes("x2", image)
        if name == "e.webp":  # which keeps a quarter of the colours' pixels
            assert made.shape == expected.shape
            assert np.abs(made.astype(int) - expected).mean() < 20
        else:
            close(made, expected, within=0)
    with Image.open("out/f.JPG") as image:
        assert (image.format, image.size) == ("JPEG", (80, 80))
    assert jpeg.shape == (40, 40, 3)


def test_an_archive_and_one_picture(translate, caplog) -> None:
    pixels = save("a.png", noise(16, 18))
    with zipfile.ZipFile("in.zip", "w") as archive:
        archive.write("a.png", "top/a.png")
    assert translate("x2", "--inputs", "in.zip", "--out", "out") == 0
    close(opened("out/top/a.png"), made_bytes("x2", pixels), within=0)
    assert translate("x2", "--inputs", "a.png", "--out", "folder") == 0
    close(opened("folder/a.png"), made_bytes("x2", pixels), within=0)
    assert translate("x2", "--inputs", "a.png", "--out", "new/large.bmp") == 0
    close(opened("new/large.bmp"), made_bytes("x2", pixels), within=0)
    assert not lines(caplog)


def test_arrays_are_floats_from_0_to_1(translate, capsys) -> None:
    pixels = [save(f"in/{name}.png", noise(12, 16) // (i + 1)) for i, name in enumerate("cab")]
    assert translate("x2", "--inputs", "in", "--out", "x.npz") == 0
    with np.load("x.npz") as arrays:
        assert arrays["names"].tolist() == ["a.png", "b.png", "c.png"]
        images = arrays["images"]
    assert (images.dtype, images.shape) == (np.float32, (3, 24, 32, 3))
    for image, start in zip(images, (pixels[1], pixels[2], pixels[0]), strict=True):
        np.testing.assert_allclose(image, (made_of("x2", start / 127.5 - 1) + 1) / 2, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weights", ["ema", "live"])
def test_grey_and_colour_are_converted_to_what_the_model_takes(translate, weights: str) -> None:
    grey, colour = save("in/grey.png", noise(12, 12, 1)), save("in/colour.png", noise(12, 12))
    assert translate("colouring", "--inputs", "in", "--out", "out", "--weights", weights) == 0
    close(opened("out/grey.png"), made_bytes("colouring", grey))
    luma = np.asarray(Image.fromarray(colour).convert("L"))[:, :, None]
    close(opened("out/colour.png"), made_bytes("colouring", luma))
    assert translate("same", "--inputs", "in", "--out", "same") == 0
    close(opened("same/grey.png"), made_bytes("same", grey.repeat(3, axis=2)))
    assert translate("to grey", "--inputs", "in", "--out", "to_grey") == 0
    close(opened("to_grey/colour.png"), made_bytes("to grey", colour)[:, :, 0])


def test_transparency_is_kept_and_enlarged(translate, caplog) -> None:
    alpha = np.zeros((16, 12, 1), np.uint8)
    alpha[4:12, 3:9] = 255
    pixels = noise(16, 12)
    save("in/a.png", np.concatenate([pixels, alpha], axis=2))
    Image.fromarray(pixels).quantize(8).save("in/p.png", transparency=0)
    assert translate("x2", "--inputs", "in", "--out", "out") == 0
    made = opened("out/a.png")
    close(made[:, :, :3], made_bytes("x2", pixels), within=0)
    expected = np.asarray(Image.fromarray(alpha[:, :, 0]).resize((24, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(made[:, :, 3], expected)
    assert opened("out/p.png").shape == (32, 24, 4)
    assert translate("same", "--inputs", "in", "--out", "same") == 0
    np.testing.assert_array_equal(opened("same/a.png")[:, :, 3], alpha[:, :, 0])
    assert translate("same", "--inputs", "in", "--out", "x.npz") == 0
    assert "transparency is not kept in arrays: 2 have some, first a.png" in "".join(lines(caplog))


def test_pictures_are_turned_upright_once(translate) -> None:
    pixels = noise(12, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save("turned.png", exif=exif)
    assert translate("x2", "--inputs", "turned.png", "--out", "out.png") == 0
    close(opened("out.png"), made_bytes("x2", np.rot90(pixels, 3)), within=0)
    with Image.open("out.png") as image:
        assert image.getexif().get(0x0112, 1) == 1


def test_sixteen_bits_become_eight(translate, caplog) -> None:
    grey = noise(12, 12, 1)[:, :, 0]
    Path("in").mkdir()
    Image.fromarray(grey.astype(np.uint16) * 257).save("in/deep.png")
    save("in/plain.png", noise(12, 12))
    assert translate("x2", "--inputs", "in", "--out", "out") == 0
    close(opened("out/deep.png"), made_bytes("x2", grey[:, :, None].repeat(3, axis=2)), within=0)
    assert lines(caplog) == ["1 have more than 8 bits a channel, and are read and written with 8: first deep.png"]


def test_animations_stay_animations(translate, caplog) -> None:
    Path("in").mkdir()
    frames = [noise(12, 16) // (i + 1) for i in range(3)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save("in/a.png", save_all=True, append_images=images[1:], duration=[50, 100, 150], loop=2)
    images[0].save("in/b.gif", save_all=True, append_images=images[1:], duration=80, loop=0)
    images[0].save("in/still.gif")
    assert translate("x2", "--inputs", "in", "--out", "out") == 0
    (line,) = lines(caplog)
    assert "1 are written as .png, for theirs keeps less or cannot be written: first still.gif" in line
    with Image.open("out/a.png") as made:
        assert (getattr(made, "n_frames", 1), made.info["loop"]) == (3, 2)
        for number, (frame, duration) in enumerate(zip(frames, (50, 100, 150), strict=True)):
            made.seek(number)
            assert made.info["duration"] == duration
            close(np.asarray(made.convert("RGB")), made_bytes("x2", frame), within=0)
    with Image.open("out/b.gif") as made:
        assert (getattr(made, "n_frames", 1), made.info["duration"], made.size) == (3, 80, (32, 24))
    with Image.open("out/still.png") as made:
        assert made.size == (32, 24)
    assert translate("x2", "--inputs", "in/a.png", "--out", "x.npz") == 0
    assert "of animations the first frame alone is kept in arrays" in lines(caplog)[0]
    with np.load("x.npz") as arrays:
        assert arrays["images"].shape == (1, 24, 32, 3)


def test_sides_that_the_network_does_not_take_are_continued_and_this_is_said_once(translate, caplog) -> None:
    pixels = [save(f"in/{i}.png", noise(*size, 1)) for i, size in enumerate([(8, 12), (3, 5), (13, 12), (3, 5)])]
    assert translate("colouring", "--inputs", "in", "--out", "out", "--batch-size", "2") == 0
    (line,) = lines(caplog)
    assert "3 of 4 are continued as their reflection, and what is made is cropped back: the model starts from" in line
    assert "multiples of 4, from 4 on, and 1.png is 5x3 pixels (width x height)" in line
    close(opened("out/0.png"), made_bytes("colouring", pixels[0]))
    for i in (1, 2, 3):
        height, width, _ = pixels[i].shape
        padded = np.pad(pixels[i], ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
        close(opened(f"out/{i}.png"), made_bytes("colouring", padded)[:height, :width])


@pytest.mark.parametrize("model", ["x2", "colouring"])
def test_parts_are_the_whole(translate, caplog, model: str) -> None:
    save("in/a.png", noise(70, 90))
    assert translate(model, "--inputs", "in", "--out", "whole.npz", "--tile", "0") == 0
    assert translate(model, "--inputs", "in", "--out", "parts.npz", "--tile", "40", "--batch-size", "3") == 0
    assert translate(model, "--inputs", "in", "--out", "parts", "--tile", "40") == 0
    with np.load("whole.npz") as whole, np.load("parts.npz") as parts:
        np.testing.assert_allclose(parts["images"], whole["images"], rtol=0, atol=1e-5)
        close(opened("parts/a.png"), np.rint(whole["images"][0] * 255))
    assert not any("differ by" in line for line in lines(caplog))


def test_a_network_that_looks_at_all_is_not_cut_unless_asked(translate, caplog, monkeypatch) -> None:
    monkeypatch.setattr("ganjax.using.translating._SIDE", 32)
    pixels = save("in/a.png", noise(40, 48))
    assert translate("of all", "--inputs", "in", "--out", "whole") == 0
    (line,) = lines(caplog)
    assert "larger ones are worked through as a whole; --tile N cuts them all the same" in line
    close(opened("whole/a.png"), made_bytes("of all", pixels))
    assert translate("of all", "--inputs", "in", "--out", "parts", "--tile", "32") == 0
    (line,) = lines(caplog)
    assert "parts of 32 x 32 pixels differ by up to" in line
    assert opened("parts/a.png").shape == (40, 48, 3)


def test_a_network_of_one_size(translate, capsys, caplog) -> None:
    small, large = noise(10, 16), noise(16, 40)
    save("small.png", small)
    save("large.png", large)
    assert translate("one size", "--inputs", "small.png", "--out", "a.png") == 0
    assert "the model starts from sides of 16x16 pixels (width x height), and small.png is 16x10" in lines(caplog)[0]
    padded = np.pad(small, ((0, 6), (0, 0), (0, 0)), mode="reflect")
    close(opened("a.png"), made_bytes("one size", padded)[:20])
    assert translate("one size", "--inputs", "large.png", "--out", "b.png") == 2
    assert "large.png is 40x16 pixels (width x height); this model starts from 16x16 pixels (width x height) alone" in (
        line := refusal(capsys)
    )
    assert line.endswith("make it smaller, or give --tile 16 to work through it in parts")
    assert translate("one size", "--inputs", "large.png", "--out", "b.png", "--tile", "16") == 0
    close(opened("b.png"), made_bytes("x2", large))  # of the same weights


def test_what_is_transparent_is_filled_by_a_model_that_fills(translate) -> None:
    pixels, alpha = noise(16, 20), np.full((16, 20, 1), 255, np.uint8)
    alpha[5:9, 5:12] = 0
    save("a.png", np.concatenate([pixels, alpha], axis=2))
    assert translate("filling", "--inputs", "a.png", "--out", "b.png") == 0
    mask = (alpha == 0).astype(np.float32)
    inputs = np.concatenate([(pixels / 127.5 - 1) * (1 - mask), mask], axis=2)
    expected = np.rint((made_of("filling", inputs) + 1) * 127.5)
    close(opened("b.png"), expected)  # and nothing is transparent


def test_labels_attributes_and_latents(translate, capsys) -> None:
    pixels = save("a.png", noise(8, 8))
    assert translate("classes", "--inputs", "a.png", "--out", "b.png", "--label", "1") == 0
    close(opened("b.png"), made_bytes("classes", pixels, labels=jnp.array([1])))
    assert translate("attributes", "--inputs", "a.png", "--out", "c.png", "--attributes", "0.5", "-1") == 0
    close(opened("c.png"), made_bytes("attributes", pixels, attributes=jnp.array([[0.5, -1.0]])))
    for seed, name in ((0, "d.png"), (0, "e.png"), (1, "f.png")):
        assert translate("latents", "--inputs", "a.png", "--out", name, "--seed", str(seed)) == 0
    assert Path("d.png").read_bytes() == Path("e.png").read_bytes() != Path("f.png").read_bytes()
    said = read_marks(epath.Path("f.png"), Watermark()).origin
    assert (said["seed"], said["number"], said["settings"]) == ("1", "0", "made of given pictures by generator")
    capsys.readouterr()
    assert translate("classes", "--inputs", "a.png", "--out", "g.png") == 2
    assert "--label is not given; expected one of the 3 classes of this model" in refusal(capsys)


def test_what_cannot_be_read_to_its_end_costs_the_others_nothing(translate, capsys) -> None:
    pixels = save("in/a.png", noise(16, 16))
    content = (Path("in/b.png"), save("in/b.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)))[0]
    content.write_bytes(content.read_bytes()[:4000])
    assert translate("x2", "--inputs", "in", "--out", "out") == 2
    line = refusal(capsys)
    assert line.startswith("ganjax: in/b.png cannot be read as an image")
    assert line.endswith("remove or mend it; it is left out, and the others are in out")
    close(opened("out/a.png"), made_bytes("x2", pixels), within=0)
    assert os.listdir("out") == ["a.png"]
    assert translate("x2", "--inputs", "in/b.png", "--out", "b.png") == 2
    assert "in/b.png cannot be read as an image" in refusal(capsys)
    assert not Path("b.png").exists()


# --- what is refused ---

FLAGS: dict[str, tuple[str, list[str], str]] = {
    "latents": ("from latents", [], "--workdir run has a generator that starts from latents, and from no image; draw"),
    "scale": (
        "x2",
        ["--scale", "4"],
        "--scale is 4; this model has 2 alone, and makes 32 x 32 pixels of 16 x 16: leave",
    ),
    "tile": ("colouring", ["--tile", "2"], "--tile is 2; this model starts from 4 x 4 pixels or more: expected 4 or"),
    "negative tile": ("x2", ["--tile", "-1"], "--tile is -1; expected a number at least 0"),
    "batch": ("x2", ["--batch-size", "0"], "--batch-size is 0; expected a number from 1"),
    "seed": ("x2", ["--seed", "-1"], "--seed is -1; expected a number from 0"),
    "label": ("x2", ["--label", "cat"], "--label is cat; expected none, for this model is unconditional"),
    "attributes": ("x2", ["--attributes", "1"], "--attributes is 1.0; expected none, for this model takes no"),
    "no attributes": ("attributes", [], "--attributes is not given; expected 2 numbers"),
    "codec": ("x2", ["--codec", "libx264"], "--codec libx264 has no effect: there are no films in in; leave it out"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_that_cannot_be_meant(translate, capsys, name: str) -> None:
    model, flags, message = FLAGS[name]
    save("in/a.png", noise(8, 8))
    assert translate(model, "--inputs", "in", "--out", "out", *flags) == 2
    assert message in refusal(capsys)
    assert not Path("out").exists()


PLACES: dict[str, tuple[str, str, str]] = {
    "absent": (
        "nowhere",
        "out",
        "--inputs nowhere does not exist; expected a folder or a .zip of pictures, a picture or",
    ),
    "nothing": ("", "out", "--inputs is empty; expected a path"),
    "no pictures": ("texts", "out", "--inputs texts holds no pictures, only 1 other file(s); expected"),
    "empty": ("empty", "out", "empty holds no files"),
    "arrays": ("x.npz", "out", "--inputs x.npz holds arrays; expected a folder"),
    "not a picture": ("bad", "out", "bad/a.png cannot be read as an image: remove or mend it"),
    "inside": ("in", "in/out", "--out in/out lies in --inputs in, of which what is made would be part the next time"),
    "itself": ("in", "in", "--out in lies in --inputs in"),
    "through a link": ("in", "link/out", "--out link/out lies in --inputs in"),
    "the input": ("in/a.png", "in/a.png", "--out is in/a.png, which is the input itself; name another place"),
    "other kind": ("in", "out.png", "--out is out.png; expected a name that ends in .npz, or a folder"),
    "unknown kind": ("in/a.png", "out.xyz", "--out is out.xyz; expected a name that ends in .npz or .png or .jpg"),
    "full": ("in", "full", "--out full holds 1 file(s) already (x.png), with which the new ones would be mixed"),
    "two of one name": ("twice", "out", "twice/a.gif and twice/a.png would both be written as a.png; rename one, or"),
    "two sizes": (
        "in",
        "x2.npz",
        "--out: arrays are of images of one size, and in/a.png is 8x8 pixels and in/b.png 9x8",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_that_will_not_do(translate, capsys, monkeypatch, name: str) -> None:
    inputs, out, message = PLACES[name]
    save("in/a.png", noise(8, 8))
    save("in/b.png", noise(8, 9))
    save("full/x.png", noise(8, 8))
    save("twice/a.png", noise(8, 8))
    save("twice/a.gif", noise(8, 8))
    for folder in ("texts", "empty", "bad"):
        Path(folder).mkdir()
    Path("texts/a.txt").write_text("text")
    Path("bad/a.png").write_text("text")
    Path("link").symlink_to("in")
    np.savez("x.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    before = sorted(str(path) for path in Path().rglob("*"))
    monkeypatch.setattr("ganjax.verbs.translate.restore_state", None)
    assert translate("x2", "--inputs", inputs, "--out", out) == 2
    assert message in refusal(capsys)
    assert sorted(str(path) for path in Path().rglob("*")) == before


def huge_png(path: str, side: int) -> None:
    """The beginning of a picture with so many pixels: as much as is looked at before the work."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))


def test_a_picture_that_no_memory_holds_is_refused_at_once(translate, capsys, monkeypatch) -> None:
    huge_png("huge.png", 60_000)
    monkeypatch.setattr("ganjax.verbs._translate_inputs.memory_of_host", lambda: 64 * 2**30)
    limit = Image.MAX_IMAGE_PIXELS
    assert translate("x2", "--inputs", "huge.png", "--out", "out") == 2
    line = refusal(capsys)
    assert "huge.png is 60000x60000 pixels (width x height): it and what is made of it take 110.6 GiB of memory" in line
    assert line.endswith("of which there are 64.0; cut it into several pictures first")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_what_takes_more_memory_than_there_is_as_a_whole_is_refused(translate, capsys, monkeypatch) -> None:
    monkeypatch.setattr("ganjax.runs.translating.memory_of_host", lambda: 200_000)
    save("a.png", noise(64, 64))
    assert translate("x2", "--inputs", "a.png", "--out", "b.png", "--tile", "0") == 2
    assert "64 x 64 pixels at once take 0.0 GiB of memory, of which there are 0.0; give --tile, such as 512" in refusal(
        capsys
    )
    assert not Path("b.png").exists()


def test_a_run_that_was_trained(tmp_path: Path, capsys) -> None:
    """Colouring, from the config to coloured pictures and to their likeness to the originals."""
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    config = Path(__file__).parent.parent / "configs" / "pix2pix_cifar10.py"
    flags = ["--path", str(tmp_path / "images.npz"), "--features", "2", "--total-images", "16"]
    flags += ["--run.evaluate-every", "16", "--run.evaluate-metrics", "psnr", "--run.evaluate-num", "8"]
    assert main(["train", str(config), "--workdir", str(tmp_path / "run"), *flags]) == 0
    for number, image in enumerate(images[:3]):
        save(str(tmp_path / "grey" / f"{number}.png"), np.asarray(Image.fromarray(image).convert("L"))[:, :, None])
        save(str(tmp_path / "real" / f"{number}.png"), image)
    run = ["--workdir", str(tmp_path / "run")]
    assert main(["translate", *run, "--inputs", str(tmp_path / "grey"), "--out", str(tmp_path / "out")]) == 0
    assert "made of 3 inputs by the generator at 16 images" in capsys.readouterr().out
    assert opened(str(tmp_path / "out" / "2.png")).shape == (32, 32, 3)
    pairs = ["--fake", str(tmp_path / "out"), "--real", str(tmp_path / "real")]
    assert main(["evaluate", *pairs, "--metrics", "psnr,ssim"]) == 0
    assert main(["evaluate", *run, "--metrics", "psnr,ssim-y", "--num", "10", "--border", "2"]) == 0
    printed = capsys.readouterr().out
    assert "10 images of" in printed
    assert "kept in" in printed
