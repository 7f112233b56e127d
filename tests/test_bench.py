"""What ``ganjax bench`` reports, and that a second start finds its program in the cache."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from ganjax.cli import main
from ganjax.platform.cache import cache_folder
from ganjax.verbs.bench import NoiseSource

CONFIGS = Path(__file__).parent.parent / "configs"
MLP, FASHION = str(CONFIGS / "mlp_digits.py"), str(CONFIGS / "dcgan_fashion_mnist.py")
SHORT = ["--rounds", "3", "--seconds", "0.02", "--json"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["bench", *arguments, *SHORT]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def test_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    report = bench(capsys, MLP, "--width", "8", "--batch-size", "16")
    keys = {"config", "device", "num_devices", "dtype", "batch_size", "steps_per_second", "images_per_second"}
    keys |= {"model_flops_per_step", "mfu", "peak_memory_bytes", "compile_seconds", "input_images_per_second"}
    assert keys <= set(report)
    assert (report["batch_size"], report["dtype"], report["num_devices"]) == (16, "float32", 8)
    assert report["images_per_second"] == pytest.approx(16 * report["steps_per_second"])
    for name in ("steps_per_second", "images_per_second", "input_images_per_second", "loop_images_per_second"):
        low, high = report[f"{name}_spread"]
        assert 0 < low <= report[name] <= high
    assert report["mfu"] is None  # of a CPU no peak is known
    assert report["peak_memory_bytes"] > 0
    assert report["loop_skipped"] is None
    # Dense layers alone: so many products a parameter that is no bias, and a sample.
    assert report["model_flops_per_step"] % (2 * 16) == 0


def test_a_split_state_is_measured_split(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--width", "256", "--batch-size", "16", "--loop", "False"]
    whole = bench(capsys, MLP, *flags)["peak_memory_bytes"]
    split = bench(capsys, MLP, *flags, "--run.shard-state")["peak_memory_bytes"]
    assert split < 0.7 * whole


def test_without_the_dataset_it_measures_the_step_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = ["--features", "4", "--batch-size", "8"]
    report = bench(capsys, FASHION, "--path", str(tmp_path / "absent.npz"), *small)
    assert report["steps_per_second"] > 0
    assert report["input_images_per_second"] is None
    assert report["loop_images_per_second"] is None
    assert "absent.npz" in report["loop_skipped"]
    report = bench(capsys, FASHION, "--data.data-dir", str(tmp_path), *small)
    assert report["steps_per_second"] > 0
    assert "not on this machine" in report["loop_skipped"]
    assert main(["bench", MLP, "--width", "8", "--batch-size", "16", *SHORT[:-1], "--loop", "False"]) == 0
    table = capsys.readouterr().out
    assert "steps/s" in table
    assert "MFU" in table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["config"]),
        ([MLP, "--rounds", "0"], ["--rounds", "0"]),
        ([MLP, "--seconds", "-1"], ["--seconds", "-1"]),
        ([MLP, "--seconds", "inf"], ["--seconds", "inf", "finite"]),
        ([MLP, "--width", "-16"], ["hidden[0] is -16", "at least 1"]),
        ([MLP, "--batch-size", "12"], ["12", "8"]),
    ],
)
def test_mistakes(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in words:
        assert word in line


def test_random_images_come_as_the_real_ones_would() -> None:
    source = NoiseSource(20, (8, 8, 3), 4)
    arrays = source.load()
    assert arrays["images"].shape == (20, 8, 8, 3)
    assert arrays["labels"].max() == 3
    assert source[3]["images"].shape == (8, 8, 3)
    np.testing.assert_array_equal(source[3]["images"], source[3]["images"])
    assert not math.isclose(float(arrays["images"].std()), 0)
    part = source.load(range(5, 9))  # as a device that holds some of the records asks
    assert part["images"].shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(part["labels"], arrays["labels"][5:9])


def test_a_second_start_is_warm_and_the_switch_turns_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

    def command(name: str) -> list[str]:
        flags = ["--width", "8", "--batch-size", "16", "--run.total-images", "32", "--run.num-samples", "4"]
        return ["train", MLP, "--workdir", str(tmp_path / name), *flags]

    def start(name: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ganjax", *command(name)], capture_output=True, text=True, check=True
        )
        assert "Error" not in done.stderr
        return done.stdout

    usual = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        assert main([*command("off"), "--run.compilation-cache", "False"]) == 0
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", usual)
    assert "warm" not in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
    assert "warm" not in start("cold")
    assert any((tmp_path / "cache" / "compiled").iterdir())
    assert "warm: from the cache" in start("warm")
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("cold", "warm")]
    assert lines[0] == lines[1]


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("GANJAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/ganjax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ganjax"


def test_random_records_have_every_field() -> None:
    noise = NoiseSource(6, (4, 4, 3), 3, num_attributes=2, input_shape=(2, 2, 1))
    loaded = noise.load(range(2, 6))
    for key, field in noise.fields.items():
        assert (loaded[key].shape, loaded[key].dtype) == ((4, *field.shape), field.dtype)
        assert noise[3][key].shape == field.shape
    assert set(noise.load(range(6))["labels"].tolist()) <= {0, 1, 2}
