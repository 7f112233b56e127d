"""The command line as a user meets it: what a run leaves, what a second run does, and what a mistake gets."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from ganjax.cli import main
from ganjax.evaluation.protocol import library_versions
from ganjax.ground.versions import version_of

CONFIGS = Path(__file__).parent.parent / "configs"
MLP = str(CONFIGS / "mlp_digits.py")
TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "9"]


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def train(workdir: Path, *flags: str, config: str = MLP) -> int:
    return main(["train", config, "--workdir", str(workdir), *TINY, *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 40 steps that logs, draws and saves along the way."""
    workdir = tmp_path_factory.mktemp("runs") / "trained"
    flags = ["--run.total-images=640", "--run.log-every=160", "--run.sample-every=320", "--run.checkpoint-every=160"]
    assert train(workdir, *flags) == 0
    return workdir


def test_a_run_leaves_curves_pictures_and_checkpoints(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"]) for line in lines] == [(10, 160), (20, 320), (30, 480), (40, 640)]
    assert {"d/loss", "g/loss", "d/real", "d/fake", "d/grad_norm", "g/grad_norm"} <= set(lines[0])
    assert lines[-1]["speed/images_per_second"] > 0
    names = sorted(path.name for path in (trained / "samples").iterdir())
    assert names == ["0000000000.png", "0000000320.png", "0000000640.png"]
    first, last = (trained / "samples" / name for name in (names[0], names[-1]))
    assert size_of(first) == size_of(last) == (3 * 50 + 2, 3 * 50 + 2)
    assert first.read_bytes() != last.read_bytes()
    assert sorted(int(path.name) for path in (trained / "checkpoints").iterdir()) == [30, 40]
    assert json.loads((trained / "overrides.json").read_text())[:2] == ["--width", "8"]
    assert (trained / "config.py").read_text() == Path(MLP).read_text()


def test_tensorboard_can_read_the_curves(trained: Path) -> None:
    (file,) = (trained / "tensorboard").iterdir()
    data, events = file.read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    curve = {
        event.step: value.simple_value for event in events for value in event.summary.value if value.tag == "d/loss"
    }
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert curve == pytest.approx({line["images"]: line["d/loss"] for line in lines})


def test_a_finished_run_says_so_and_a_longer_one_goes_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(trained, "--run.total-images=640") == 0
    assert "finished" in capsys.readouterr().out
    assert train(trained, "--run.total-images=800", "--run.log-every=160") == 0
    assert "resuming at 640 images" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 20, 30, 40, 50]


def test_another_config_does_not_touch_the_workdir(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    assert train(trained, "--learning-rate=0.5") == 2
    message = capsys.readouterr().err
    assert "generator_optimizer.learning_rate 0.0002 -> 0.5" in message
    assert "--workdir" in message
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_samples_do_not_depend_on_how_many_are_asked_for(trained: Path, tmp_path: Path) -> None:
    def draw(name: str, *flags: str) -> np.ndarray:
        out = tmp_path / name
        assert main(["sample", "--workdir", str(trained), "--out", str(out), *flags]) == 0
        with np.load(out) as arrays:
            return arrays["images"]

    ten = draw("ten.npz", "--num", "10", "--seed", "5")
    assert ten.shape == (10, 8, 8, 1)
    assert ten.dtype == np.uint8
    np.testing.assert_array_equal(draw("many.npz", "--num", "70", "--seed", "5")[:10], ten)
    assert (draw("other.npz", "--num", "10", "--seed", "6") != ten).any()
    assert (draw("live.npz", "--num", "10", "--seed", "5", "--weights", "live") != ten).any()
    scaled = draw("scaled.npz", "--num", "10", "--seed", "5", "--truncation", "0.001").astype(int)
    assert np.ptp(scaled, axis=0).max() <= 2  # almost the same latents
    resampled = draw("r.npz", "--num", "10", "--seed", "5", "--truncation", "0.001", "--truncation-mode", "resample")
    assert np.ptp(resampled.astype(int), axis=0).max() <= 2


def test_samples_as_a_grid_and_as_a_folder(trained: Path, tmp_path: Path) -> None:
    assert main(["sample", "--workdir", str(trained), "--out", str(tmp_path / "grid.png"), "--num", "6"]) == 0
    assert size_of(tmp_path / "grid.png") == (3 * 50 + 2, 2 * 50 + 2)
    assert main(["sample", "--workdir", str(trained), "--out", str(tmp_path / "folder"), "--num", "3"]) == 0
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [f"00000{n}.png" for n in range(3)]


def test_conditional_samples_come_a_row_a_class(tmp_path: Path) -> None:
    quickstart = str(CONFIGS / "quickstart.py")
    flags = ["--features", "4", "--batch-size", "16", "--run.total-images", "32", "--run.num-samples", "20"]
    assert main(["train", quickstart, "--workdir", str(tmp_path / "run"), *flags]) == 0
    assert size_of(tmp_path / "run" / "samples" / "0000000000.png") == (2 * 50 + 2, 10 * 50 + 2)
    sample = ["sample", "--workdir", str(tmp_path / "run"), "--num", "20", "--out"]
    assert main([*sample, str(tmp_path / "all.npz")]) == 0
    assert main([*sample, str(tmp_path / "sevens.npz"), "--label", "7"]) == 0
    with np.load(tmp_path / "all.npz") as arrays, np.load(tmp_path / "sevens.npz") as sevens:
        assert arrays["labels"].tolist() == [index // 2 for index in range(20)]
        assert sevens["labels"].tolist() == [7] * 20
        assert main([*sample[:3], "--num", "15", "--out", str(tmp_path / "uneven.png")]) == 0
        assert size_of(tmp_path / "uneven.png") == (2 * 50 + 2, 10 * 50 + 2)
        # Sample i has the same latents whatever its label.
        np.testing.assert_array_equal(arrays["images"][14:16], sevens["images"][14:16])


DOOMED = f"""
import dataclasses, jax.numpy as jnp
from ganjax import Adam, load_config

def rate(images_seen):
    return jnp.where(images_seen < 64, 2e-4, jnp.nan)

def config(*, width: int = 8, batch_size: int = 16):
    config = load_config({MLP!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    return dataclasses.replace(config, gan=dataclasses.replace(config.gan, discriminator_optimizer=Adam(rate)))
"""


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "doomed.py").write_text(DOOMED)
    assert train(tmp_path / "run", "--run.checkpoint-every=32", config=str(tmp_path / "doomed.py")) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    found = re.search(r"(\S+) is (nan|inf|-inf) at step (\d+)", message)
    assert found, message
    assert int(found[3]) == 5
    assert sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()) == [2, 4]


def start(workdir: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganjax", "train", MLP, "--workdir", str(workdir), *TINY, *flags]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, "--run.total-images=100_000_000", "--run.log-every=160")
    deadline = time.monotonic() + 120
    while not (tmp_path / "metrics.jsonl").exists() or not (tmp_path / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    stopped = re.search(r"stopped at ([\d,]+) images; run the same command to go on", errors)
    assert stopped, errors
    (step,) = (int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert step * 16 == int(stopped[1].replace(",", ""))
    assert "Traceback" not in errors


QUICKSTART = str(CONFIGS / "quickstart.py")
FOLDER = str(CONFIGS / "r3gan_folder.py")
FASHION = str(CONFIGS / "dcgan_fashion_mnist.py")
SMALL_FOLDER = ["--width", "8", "--size", "8", "--batch-size", "8", "--dtype", "float32"]


WORK = ["--workdir", "{tmp}/run"]
MINE = ["train", FOLDER, *WORK, *SMALL_FOLDER, "--path"]

# What was typed, with {tmp} for the folder that ``a_users_folder`` fills; and what the one line must name.
MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no verb of that name": (["trian"], ["trian", "train"]),
    "no config": (["train", *WORK], ["config"]),
    "no such config": (["train", "nope.py", *WORK], ["nope.py"]),
    "no config of that name": (["train", "quickstrat", *WORK], ["quickstrat", "quickstart, which comes with ganjax"]),
    "config without config()": (["train", "{tmp}/empty.py", *WORK], ["empty.py", "config"]),
    "config that does not load": (["train", "{tmp}/broken.py", *WORK], ["broken.py", "no_such_module_at_all"]),
    "config of the wrong type": (["train", "{tmp}/wrong.py", *WORK], ["wrong.py", "int", "Config"]),
    "no workdir": (["train", MLP], ["--workdir"]),
    "unknown flag": (["train", QUICKSTART, *WORK, "--gama", "3"], ["--gama", "--gamma"]),
    "unknown run flag": (["train", QUICKSTART, *WORK, "--run.sede", "3"], ["--run.sede", "--run.seed"]),
    "ill-typed flag": (["train", QUICKSTART, *WORK, "--gamma", "much"], ["--gamma", "much"]),
    "negative total": (["train", MLP, *WORK, "--run.total-images", "-5"], ["total_images", "-5"]),
    "no width": (["train", FOLDER, *WORK, "--width", "0"], ["width is 0", "expected a number at least 2, such as 256"]),
    "negative width": (["train", MLP, *WORK, "--width", "-16"], ["hidden[0] is -16", "at least 1"]),
    "fewer than no classes": (["train", FOLDER, *WORK, "--num-classes", "-1"], ["num_classes is -1", "at least 0"]),
    "negative gamma": (["train", FOLDER, *WORK, "--gamma", "-5"], ["gamma is -5.0", "at least 0"]),
    "no number": (["train", FOLDER, *WORK, "--augmentation", "nan"], ["--augmentation", "nan", "finite"]),
    "no seed": (["train", MLP, *WORK, "--run.seed", "4294967296"], ["run.seed", "4294967296", "4294967295"]),
    "batch the devices cannot share": (["train", MLP, *WORK, "--batch-size", "12"], ["12", "8"]),
    "empty folder": ([*MINE, "{tmp}/no_images"], ["no_images"]),
    "absent folder": ([*MINE, "{tmp}/absent"], ["absent"]),
    "not an image": ([*MINE, "{tmp}/not_an_image"], ["b.png"]),
    "too small": ([*MINE, "{tmp}/tiny"], ["0.png", "4", "8"]),
    "fewer images than a batch": ([*MINE, "{tmp}/few"], ["3", "16"]),
    "labels missing": (
        ["train", FASHION, *WORK, "--features", "4", "--batch-size", "8", "--path", "{tmp}/unlabelled.npz"],
        ["unlabelled.npz", "labels", "10"],
    ),
    "workdir of something else": (["train", MLP, "--workdir", "{tmp}/other"], ["other"]),
    "workdir that is a file": (["train", MLP, "--workdir", "{tmp}/file"], ["file"]),
    "workdir that cannot be": (["train", MLP, "--workdir", "{tmp}/file/run"], ["file"]),
    "sample without a run": (["sample", "--workdir", "{tmp}/absent", "--out", "s.png"], ["absent"]),
    "sample to a strange place": (["sample", "--workdir", "{tmp}/run", "--out", "s.gif"], ["s.gif", ".png"]),
}


@pytest.fixture
def a_users_folder(tmp_path: Path) -> Path:
    (tmp_path / "empty.py").write_text('"""Nothing."""')
    (tmp_path / "broken.py").write_text("import no_such_module_at_all")
    (tmp_path / "wrong.py").write_text("def config() -> int:\n    return 3")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "no_images").mkdir()
    for folder, size, count in (("not_an_image", 8, 1), ("tiny", 4, 1), ("few", 8, 3)):
        (tmp_path / folder).mkdir()
        for index in range(count):
            Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(tmp_path / folder / f"{index}.png")
    (tmp_path / "not_an_image" / "b.png").write_text("not an image at all")
    np.savez(tmp_path / "unlabelled.npz", images=np.zeros((40, 32, 32, 1), np.uint8))
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_loses_nothing(
    name: str, a_users_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, named = MISTAKES[name]
    assert main([argument.replace("{tmp}", str(a_users_folder)) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in named:
        assert word in line
    assert (a_users_folder / "other" / "thesis.txt").read_text() == "precious"


BESIDE = f"""
import sizes
from ganjax import Config, load_config

def config(*, batch_size: int = 16) -> Config:
    return load_config({MLP!r}, [f"--width={{sizes.WIDTH}}", f"--batch-size={{batch_size}}", "--run.num-samples=4"])
"""


def test_a_run_keeps_what_its_config_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sizes.py").write_text("WIDTH = 8  # ö")
    (tmp_path / "mine" / "wide.py").write_text(BESIDE)
    run = ["train", str(tmp_path / "mine" / "wide.py"), "--workdir", str(tmp_path / "run")]
    assert main([*run, "--run.total-images=16"]) == 0
    assert (tmp_path / "run" / "sizes.py").read_text() == "WIDTH = 8  # ö"
    assert (tmp_path / "run" / "config.py").read_text() == BESIDE
    (tmp_path / "mine" / "sizes.py").write_text("WIDTH = 4")
    assert main(["sample", "--workdir", str(tmp_path / "run"), "--num", "4", "--out", str(tmp_path / "s.png")]) == 0
    capsys.readouterr()
    assert main([*run, "--run.total-images=32"]) == 2
    assert "gan.generator.hidden (8, 8) -> (4, 4)" in capsys.readouterr().err
    (tmp_path / "mine" / "sizes.py").write_text("WIDTH = 8")
    assert main([*run, "--run.total-images=32"]) == 0
    assert "resuming at 16 images" in capsys.readouterr().out


def test_a_workdir_without_a_checkpoint_is_refused_for_samples_and_free_for_another_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--run.total-images=1600", "--batch-size=1800") == 2  # more than there are digits
    assert main(["sample", "--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "s.png")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert train(tmp_path / "run", "--run.total-images=16") == 0


def test_help_names_every_verb_and_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert {"train", "sample"} <= set(capsys.readouterr().out.split())
    assert main(["train", "--help"]) == 0
    assert "ganjax train configs/quickstart.py --workdir" in capsys.readouterr().out
    for arguments in (["train", QUICKSTART, "--help"], ["sample", "--help"]):
        with pytest.raises(SystemExit) as exit_request:
            main(arguments)
        assert exit_request.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--gamma", "--run.seed", "--data.mirror", "--workdir", "--truncation"):
        assert flag in text


def test_the_command_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "ganjax", "train"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ganjax: no config named")


def test_a_run_from_sources_that_are_not_installed_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = importlib.metadata.version

    def installed(package: str) -> str:
        if package == "ganjax":
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", installed)
    caches = (version_of, library_versions)
    for cache in caches:
        cache.cache_clear()
    try:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("ganjax (not installed), ")
        assert train(tmp_path / "run", "--run.total-images=64") == 0
        assert main(["sample", "--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "samples.png")]) == 0
        starts = json.loads((tmp_path / "run" / "starts.json").read_text())
        assert "(not installed)" in json.dumps(starts)
    finally:
        for cache in caches:
            cache.cache_clear()
