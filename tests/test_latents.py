"""Latents as data: what is encoded, and goes on after a kill; GANs of latents, from the step to their pictures."""

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from PIL import Image
from processes import ROOT, free_port
from random_state import random_state
from spreading import WAYS, alone, assert_same
from tiny_evaluation import projection

from ganjax import GAN, DecoderOf, UserError, load_config, sample
from ganjax.algorithms.draws import draw_updates
from ganjax.algorithms.samples import picture_shape
from ganjax.cli import main
from ganjax.data import Folder, Latents
from ganjax.data.shards import open_shard
from ganjax.evaluation.distances import frechet_distance
from ganjax.evaluation.statistics import Moments
from ganjax.interchange import exported
from ganjax.models import mlp
from ganjax.runs.conditions import on_host
from ganjax.runs.inputs import check_fit
from ganjax.runs.judging import find_judge, judge_images
from ganjax.runs.latents import open_autoencoder, pictures_behind
from ganjax.runs.points import Maker
from ganjax.runs.sampling import Sampler, restore_state
from ganjax.runs.workdir import load_workdir
from ganjax.verbs._explore_model import projector_of

KEY = jax.random.key(0)
AUTOENCODER = '''
"""A tiny autoencoder."""

from pathlib import Path

import optax

from ganjax import Autoencoder, Config, Run
from ganjax.data import Folder
from ganjax.models import autoencoder
from ganjax.models.translation import PatchDiscriminator


def config(*, path: Path, size: int = 16, channels: int = 3) -> Config:
    """A tiny autoencoder."""
    shape = (size + size % 2, size + size % 2, channels)
    model = Autoencoder(
        generator=autoencoder.Generator(shape, widths=(4, 4), blocks=1, groups=2, attention=False),
        discriminator=PatchDiscriminator(shape, num_layers=1, features=4, norm="none"),
        generator_optimizer=optax.sgd(1e-2),
        discriminator_optimizer=optax.sgd(1e-2),
    )
    run = Run(batch_size=8, total_images=8, log_every=8, sample_every=8, checkpoint_every=8, num_samples=4)
    return Config(gan=model, data=Folder(path, size=size, channels=channels), run=run)
'''
GAN_OF_LATENTS = '''
"""A GAN of latents."""

from pathlib import Path

from ganjax import GAN, Adam, Config, DecoderOf, Run
from ganjax.data import Latents
from ganjax.interchange import exported
from ganjax.models import mlp


def config(*, autoencoder: Path, latents: Path, total_images: int = 32, decoded: bool = True) -> Config:
    """A GAN of latents."""
    networks = {"image_shape": (8, 8, 4), "num_classes": 2, "hidden": (4,)}
    gan = GAN(
        generator=mlp.Generator(**networks, latent_size=4),
        discriminator=mlp.Discriminator(**networks),
        generator_optimizer=Adam(1e-2),
        discriminator_optimizer=Adam(1e-2),
        decoder=DecoderOf(autoencoder) if decoded else None,
    )
    run = Run(batch_size=8, total_images=total_images, log_every=8, sample_every=16, checkpoint_every=8, num_samples=4)
    return Config(gan=gan, data=Latents(latents), run=run)
'''


class Trained(NamedTuple):
    """A tiny autoencoder, its photos, and its latents of them in three files."""

    workdir: Path
    photos: Path
    latents: Path
    gan: Path
    config: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    top = tmp_path_factory.mktemp("latents")
    rng = np.random.default_rng(0)
    for index in range(10):
        folder = top / "photos" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{index}.png")
    made = Trained(top / "trained", top / "photos", top / "latents", top / "gan.py", top / "autoencoder.py")
    made.gan.write_text(GAN_OF_LATENTS)
    made.config.write_text(AUTOENCODER)
    assert main(["train", str(made.config), "--workdir", str(made.workdir), "--path", str(made.photos)]) == 0
    assert encode(made, made.latents) == 0
    return made


def encode(trained: Trained, out: Path, *flags: str) -> int:
    return main(["data", "encode", "--workdir", str(trained.workdir), "--out", str(out), "--records", "8", *flags])


def given(trained: Trained) -> list[str]:
    return ["--autoencoder", str(trained.workdir), "--latents", str(trained.latents)]


def train(trained: Trained, workdir: Path, *flags: str) -> int:
    return main(["train", str(trained.gan), "--workdir", str(workdir), *given(trained), *flags])


# Kills itself, where it is told to: at its third file, or its third step.
KILLED = """
import os, signal, sys
import ganjax.runs.shards as shards
from ganjax.cli import main
from ganjax.runs.computing import OwnPrograms

def killed_at_third(function):
    calls = []
    def call(*given):
        calls.append(given)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given)
    return call

shards.shard_bytes = killed_at_third(shards.shard_bytes)
OwnPrograms.run = killed_at_third(OwnPrograms.run)
sys.exit(main(sys.argv[1:]))
"""


def started(*arguments: str, killed: bool = False, devices: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": f"{devices}"}
    program = ["-c", KILLED] if killed else ["-m", "ganjax"]
    command = [sys.executable, *program, *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def opened_images(trained: Trained) -> Any:
    return Folder(trained.photos, size=16, channels=3).open()


def test_what_is_encoded(trained: Trained) -> None:
    """Mean and deviation of each image and, after all of these, of each mirror image; labels go along."""
    source, images, theirs = Latents(trained.latents).open(), opened_images(trained), open_autoencoder(trained.workdir)
    assert (len(source), source.image_shape, source.class_names) == (20, (8, 8, 4), ("a", "b"))
    assert source.index.autoencoder == theirs.sha256
    assert len(Latents(trained.latents, flips=False).open()) == 10
    pixels = np.stack([images[index]["images"] for index in range(10)])
    both = jnp.asarray(np.concatenate([pixels, pixels[:, :, ::-1]]) / np.float32(127.5) - 1)
    run = jax.jit(functools.partial(theirs.network.apply, method="to_latents"))
    expected: Any = run(theirs.variables, both)
    records = [source[index] for index in range(20)]
    for name, array in zip(("images", "deviations"), expected, strict=True):
        found = np.stack([record[name] for record in records])
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-3)
    assert [int(record["labels"]) for record in records] == 2 * [int(images[index]["labels"]) for index in range(10)]


def test_encoding_goes_on_where_it_was_stopped(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latents"
    shutil.copytree(trained.latents, out)
    files = sorted(out.glob("*.npz"))
    whole = [file.read_bytes() for file in files]
    (out / "index.json").unlink()
    files[1].unlink()
    (out / ".latents-00001-of-00003.npz.1.unfinished").write_bytes(whole[1][:100])
    with pytest.raises(UserError, match="is not finished"):
        Latents(out).open()
    files[2].write_bytes(whole[2][:-200])  # by a copy that was stopped
    time = files[0].stat().st_mtime_ns
    assert encode(trained, out) == 0
    assert [file.read_bytes() for file in files] == whole
    assert files[0].stat().st_mtime_ns == time
    assert (out / "index.json").read_text() == (trained.latents / "index.json").read_text()
    assert encode(trained, out, "--dtype", "bfloat16") == 2
    assert "was begun with other dtype (float16 -> bfloat16)" in capsys.readouterr().err
    files[1].unlink()
    with pytest.raises(UserError, match=r"lacks latents-00001-of-00003.npz.* \(1 of 3\)"):
        Latents(out).open()


def test_a_process_is_killed_and_two_others_go_on(trained: Trained, tmp_path: Path) -> None:
    """With files of two latents: of ten the first process has made two, and the others come to the same bytes."""
    out, address = tmp_path / "latents", f"127.0.0.1:{free_port()}"
    command = ["data", "encode", "--workdir", str(trained.workdir), "--records", "2", "--out"]
    with started(*command, str(out), killed=True) as killed:
        assert killed.wait(300) == -signal.SIGKILL
    assert len(list(out.glob("*.npz"))) == 2
    assert not (out / "index.json").exists()
    two = [started(*command, str(out), "--distributed", f"{address},2,{index}") for index in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], errors
    assert main([*command, str(tmp_path / "alone")]) == 0
    files = [sorted(folder.iterdir()) for folder in (out, tmp_path / "alone")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert len(files[0]) == 12
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_other_types_and_other_images(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """bfloat16 without flips, of another config's dataset; and places that are not free."""
    out = tmp_path / "half"
    flags = ["--config", str(trained.config), "--dtype", "bfloat16", "--flips", "False", "--"]
    assert encode(trained, out, *flags, "--path", str(trained.photos), "--size", "16") == 0
    source, other = Latents(out).open(), Latents(trained.latents).open()
    assert len(source) == 10
    assert source[3]["images"].dtype == jnp.bfloat16
    np.testing.assert_allclose(source[3]["images"].astype(np.float32), other[3]["images"], rtol=1e-2, atol=1e-2)
    assert open_shard(out / "latents-00001-of-00002.npz", remedy="")["labels"].dtype == np.int32
    assert encode(trained, trained.photos) == 2
    assert "holds something else already" in capsys.readouterr().err
    small = ["--", "--path", str(trained.photos), "--size", "15"]
    assert encode(trained, tmp_path / "small", "--config", str(trained.config), *small) == 2
    assert "15 x 15 pixels, and the autoencoder takes multiples of 2" in capsys.readouterr().err
    grey = ["--", "--path", str(trained.photos), "--size", "16", "--channels", "1"]
    assert encode(trained, tmp_path / "grey", "--config", str(trained.config), *grey) == 2
    assert "images of 1 channels, and the autoencoder takes 3" in capsys.readouterr().err
    assert main(["data", "encode", "--workdir", str(tmp_path / "none"), "--out", str(tmp_path / "any")]) == 2
    assert "is not there; train it first" in capsys.readouterr().err


def latent_batch() -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    drawn = {name: jnp.asarray(rng.random((16, 8, 8, 4)), jnp.float16) for name in ("images", "deviations")}
    return drawn | {"labels": jnp.asarray(rng.integers(0, 2, 16), jnp.int32)}


def test_each_sample_is_drawn_about_its_mean_from_its_own_key() -> None:
    batch = latent_batch()
    first, second = draw_updates(batch, KEY, num_updates=1, num_batches=2, axis_name=None)
    mean, deviation = (np.asarray(batch[name], np.float64) for name in ("images", "deviations"))
    for number, draw in enumerate((first, second)):
        noise = (np.asarray(draw.reals) - mean[number::2]) / deviation[number::2]
        assert draw.reals.dtype == jnp.float32
        assert abs(noise.mean()) < 0.06
        assert noise.std() == pytest.approx(1, abs=0.05)
    half = {name: leaf[:8] for name, leaf in batch.items()}
    again, _ = draw_updates(half, KEY, num_updates=1, num_batches=2, axis_name=None)
    np.testing.assert_array_equal(again.reals, first.reals[:4])


def test_a_step_on_latents_is_the_same_on_eight_devices() -> None:
    networks: dict[str, Any] = {"image_shape": (8, 8, 4), "num_classes": 2, "hidden": (4,)}
    gan = GAN(
        generator=mlp.Generator(**networks, latent_size=4),
        discriminator=mlp.Discriminator(**networks),
        generator_optimizer=optax.sgd(1e-2),
        discriminator_optimizer=optax.sgd(1e-2),
    )
    start, batches = random_state(gan), [latent_batch()] * 2
    assert_same(WAYS["mesh"](gan, start, batches), alone(gan, start, batches))
    wrong = batches[0] | {"deviations": batches[0]["deviations"][:, :4]}
    with pytest.raises(UserError, match="deviations of shape"):
        alone(gan, start, [wrong])
    with pytest.raises(UserError, match="images are float16; expected uint8"):
        alone(gan, start, [{name: leaf for name, leaf in wrong.items() if name != "deviations"}])


@pytest.fixture(scope="module")
def gan_run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("gan") / "run"
    assert train(trained, workdir) == 0
    return workdir


def test_training_goes_on_bit_for_bit(trained: Trained, gan_run: Path, tmp_path: Path) -> None:
    """After a kill."""
    command = ["train", str(trained.gan), "--workdir", str(tmp_path / "run")]
    with started(*command, *given(trained), killed=True, devices=8) as killed:
        assert killed.wait(300) == -signal.SIGKILL
    assert not (tmp_path / "run" / "checkpoints" / "4").exists()
    assert train(trained, tmp_path / "run") == 0
    config = load_config(trained.gan, given(trained))
    states = [restore_state(config, epath.Path(workdir)) for workdir in (gan_run, tmp_path / "run")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    *_, last = sorted((gan_run / "samples").iterdir())
    with Image.open(last) as grid:
        assert grid.mode == "RGB"  # and not of four channels
        assert min(grid.size) >= 2 * 16


def test_samples_are_decoded(trained: Trained, gan_run: Path, tmp_path: Path) -> None:
    """By ``sample``, and in the program that is exported."""
    out = tmp_path / "samples.npz"
    assert main(["sample", "--workdir", str(gan_run), "--num", "4", "--out", str(out)]) == 0
    config = load_config(trained.gan, given(trained))
    state, theirs = restore_state(config, epath.Path(gan_run)), open_autoencoder(trained.workdir)
    assert picture_shape(config.gan) == (16, 16, 3)
    latents = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    labels = jnp.asarray([0, 1, 1], jnp.int32)

    @jax.jit
    def make(variables: Any, state: Any) -> Any:
        found = config.gan.generator.apply({"params": state.ema_params}, latents, labels, train=False)
        expected = theirs.network.apply(variables, found, method="from_latents")
        return expected, sample(config.gan, state, latents, labels)

    expected, sampled = make(theirs.variables, state)
    np.testing.assert_allclose(sampled, expected, atol=1e-5)
    with np.load(out) as samples:
        assert samples["images"].shape == (4, 16, 16, 3)
        assert samples["images"].std() > 0
    assert main(["export", "--workdir", str(gan_run), "--out", str(tmp_path / "shipped")]) == 0
    shipped = json.loads((tmp_path / "shipped" / "config.json").read_text())
    assert shipped["image_shape"] == [16, 16, 3]
    images = exported.load(tmp_path / "shipped")(latents=np.asarray(latents), labels=np.asarray(labels))
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_evaluation_compares_with_the_pictures_behind_the_latents(trained: Trained, gan_run: Path) -> None:
    config = load_config(trained.gan, given(trained))
    behind = pictures_behind(config)
    assert isinstance(behind, Folder)
    assert behind.open().image_shape == (16, 16, 3)


def test_reconstructions_are_measured(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside their images, and as a set beside these; codes are not counted where there are none."""
    network = projection(16 * 16 * 3)
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: network)
    command = ["evaluate", "--workdir", str(trained.workdir), "--metrics", "rfid,psnr,ssim,codes", "--num", "10"]
    assert main([*command, "--network", "classifier", "--out", str(tmp_path / "out.json")]) == 0
    assert "codes: counts the codes of an autoencoder" in "".join(capsys.readouterr())
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    found = {result["metric"]: result["value"] for result in results}
    theirs, images = open_autoencoder(trained.workdir), opened_images(trained)
    pixels = np.stack([images[index]["images"] for index in range(10)])

    @jax.jit
    def make(variables: Any, images: jax.Array) -> Any:
        made: Any = theirs.network.apply(variables, images, method="encode")
        return theirs.network.apply(variables, made.mean, method="decode")

    made = np.asarray(make(theirs.variables, jnp.asarray(pixels / np.float32(127.5) - 1)))
    made = np.clip(np.round((made + 1) * 127.5), 0, 255).astype(np.uint8)
    moments = [Moments.of(np.asarray(network(jnp.asarray(it)).features)) for it in (pixels, made)]
    assert found["rfid"] == pytest.approx(frechet_distance(*moments), rel=1e-3)
    errors = np.square(pixels.astype(np.float64) - made).mean((1, 2, 3))
    assert found["psnr"] == pytest.approx(np.mean(10 * np.log10(255**2 / errors)), rel=1e-3)


def test_pictures_are_scored_by_their_latents(trained: Trained, gan_run: Path, tmp_path: Path) -> None:
    """By the means of these: what the discriminator says of pictures, through the autoencoder's encoder."""
    out = tmp_path / "scores.csv"
    command = ["score", "--workdir", str(gan_run), "--inputs", str(trained.photos), "--out", str(out), "--num", "10"]
    assert main(command) == 0
    config, theirs = load_config(trained.gan, given(trained)), open_autoencoder(trained.workdir)
    player, images = restore_state(config, epath.Path(gan_run)).players["discriminator"], opened_images(trained)

    @jax.jit
    def judge(variables: Any, pictures: jax.Array, labels: jax.Array) -> Any:
        mean, _ = theirs.network.apply(variables, pictures, method="to_latents")
        return config.gan.discriminator.apply({"params": player.params}, mean, labels, train=False)  # pyright: ignore

    records = [images[index] for index in range(10)]
    pictures = jnp.asarray(np.stack([record["images"] for record in records]) / np.float32(127.5) - 1)
    logits = judge(theirs.variables, pictures, jnp.asarray([record["labels"] for record in records], jnp.int32))
    expected = {f"{'ab'[index % 2]}/{index}.png" for index in range(10)}
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == expected
    np.testing.assert_allclose(sorted(float(row["logit"]) for row in rows), np.sort(logits), rtol=1e-4, atol=1e-5)


def test_samples_are_chosen_and_refined_by_the_latents_of_their_pictures(gan_run: Path, tmp_path: Path) -> None:
    """The best are those that ``score`` puts first, and what moves latents moves them through both networks."""
    command = ["sample", "--workdir", str(gan_run), "--num", "8", "--label", "0", "--out", str(tmp_path / "out.npz")]
    found = {}
    for name, flags in {
        "all": [],
        "best": ["--keep-best", "1"],
        "drs": ["--refine", "drs", "--refine-steps", "3"],
        "mh": ["--refine", "mh", "--refine-steps", "3"],
        "ddls": ["--refine", "ddls", "--refine-steps", "2", "--refine-step-size", "5"],
    }.items():
        assert main([*command, *flags]) == 0
        with np.load(tmp_path / "out.npz") as archive:
            found[name] = archive["images"]
    config, place = load_workdir(epath.Path(gan_run)), epath.Path(gan_run)
    judge, state, zeros = find_judge(config.gan), restore_state(config, place), np.zeros(8, np.int32)
    logits = judge_images(judge, state, found["all"], on_host(zeros), images_seen=32)
    np.testing.assert_array_equal(found["best"], found["all"][[logits.argmax()]])
    for name in ("drs", "mh", "ddls"):
        assert found[name].shape == found["all"].shape
    assert (found["ddls"] != found["all"]).any()
    maker = Maker(Sampler(config.gan), state)
    projector = projector_of(config, state, maker, 2)  # as the page of ``ganjax explore`` has one
    assert projector is not None
    assert projector.eye.likeness.network is None  # pixels alone


def test_pictures_are_projected_through_the_decoder(
    trained: Trained, gan_run: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "found.npz"
    command = ["project", "--workdir", str(gan_run), "--inputs", str(trained.photos / "a" / "0.png"), "--steps", "2"]
    assert main([*command, "--out", str(out)]) == 0
    with np.load(out) as found:
        assert found["images"].shape == found["targets"].shape == (1, 16, 16, 3)
        assert found["latents"].shape == (1, 4)
    assert main([*command, "--out", str(out), "--network", "discriminator"]) == 2
    assert "that of this model looks at latents, not at pictures; take classifier" in capsys.readouterr().err


def test_what_does_not_go_together_is_refused(trained: Trained, gan_run: Path, tmp_path: Path, capsys: Any) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained.latents, other)
    index = json.loads((other / "index.json").read_text())
    (other / "index.json").write_text(json.dumps(index | {"autoencoder": "0" * 64}))
    assert train(trained._replace(latents=other), tmp_path / "a") == 2
    assert "holds latents of another autoencoder (sha256 0000000000000000…)" in capsys.readouterr().err
    (other / "index.json").write_text("{}")
    assert train(trained._replace(latents=other), tmp_path / "a") == 2
    assert "index.json is damaged" in capsys.readouterr().err
    assert train(trained, tmp_path / "a", "--decoded", "False") == 2
    assert "holds latents, and the models take pictures" in capsys.readouterr().err
    with pytest.raises(UserError, match="holds pictures, and the models take an autoencoder's latents"):
        check_fit(load_config(trained.gan, given(trained)).gan, opened_images(trained))
    assert train(trained._replace(workdir=gan_run), tmp_path / "a") == 2
    assert "is a run of GAN, not of an Autoencoder" in capsys.readouterr().err
    assert train(trained._replace(workdir=tmp_path / "none"), tmp_path / "a") == 2
    assert "is not there; train it first" in capsys.readouterr().err
    with pytest.raises(UserError, match="makes latents of 3 channels, and the autoencoder"):
        DecoderOf(trained.workdir).picture_shape((8, 8, 3))


def test_training_encodes_what_is_not_there(trained: Trained, tmp_path: Path) -> None:
    assert train(trained._replace(latents=tmp_path / "new"), tmp_path / "run", "--total-images", "8") == 0
    assert len(Latents(tmp_path / "new").open()) == 20
