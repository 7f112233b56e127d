"""Planning for TPUs: what is read from a compiled program, what a mistake gets, and one plan where the compiler is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganjax.cli import main
from ganjax.compiling.hlo import costs
from ganjax.platform.chips import CHIPS, TOPOLOGIES, chip_of, chip_of_topology, num_chips, peak_flops

CONFIGS = Path(__file__).parent.parent / "configs"
QUICKSTART, MLP = str(CONFIGS / "quickstart.py"), str(CONFIGS / "mlp_digits.py")
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install 'ganjax[tpu]'"
)

# Made by hand: a fusion of 100 cycles, a loop of 5 rounds with one of 30, others of unknown length and of 3 rounds with
# one of 7, a branch of 40 or 60 cycles, two collectives, a copy without an estimate, and scalars.
PROGRAM = """HloModule jit_step, is_scheduled=true

FileNames
1 "/home/me/.venv/lib/ganjax/algorithms/gan.py"
2 "/home/me/.venv/lib/ganjax/models/r3gan.py"
3 "/home/me/.venv/lib/ganjax/models/layers.py"

FunctionNames
1 "step"

FileLocations
1 {file_name_id=1 function_name_id=1 line=10 end_line=10 column=1 end_column=2}
2 {file_name_id=2 function_name_id=1 line=20 end_line=20 column=1 end_column=2}
3 {file_name_id=3 function_name_id=1 line=30 end_line=30 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}

%fused (p: f32[4]) -> f32[4] {
  ROOT %inner = f32[4]{0} add(%p, %p), backend_config={"estimated_cycles":"999"}
}

%body (p: (s32[])) -> (s32[]) {
  %f.1 = f32[1024]{0} fusion(%p), calls=%fused, metadata={stack_frame_id=3}, backend_config={"estimated_cycles":"30"}
}

%other (p: (s32[])) -> (s32[]) {
  %f.2 = f32[1024]{0} fusion(%p), calls=%fused, metadata={stack_frame_id=1}, backend_config={"estimated_cycles":"7"}
}

%cond (p: (s32[])) -> pred[] {
  %start = s32[] get-tuple-element(%p), index=0
  %end = s32[] get-tuple-element(%p), index=1
  ROOT %lt.1 = pred[]{:T(512)} compare(%start, %end), direction=LT
}

%to_three (p: (s32[])) -> pred[] {
  %three = s32[]{:T(128)} constant(3)
  %index = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt.2 = pred[]{:T(512)} compare(%index, %three), direction=LT, metadata={stack_frame_id=1}
}

%cheap (p: f32[4]) -> f32[4] {
  ROOT %f.3 = f32[1024]{0} fusion(%p), calls=%fused, backend_config={"window_config":{"estimated_cycles":"40"}}
}

%dear (p: f32[4]) -> f32[4] {
  ROOT %f.4 = f32[1024]{0} fusion(%p), calls=%fused, backend_config={"window_config":{"estimated_cycles":"60"}}
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[1024]{0:T(1024)} parameter(0)
  %f.5 = (bf16[3]{0:T(8)S(1)}, f32[2]{0}) fusion(%a), metadata={stack_frame_id=2}, x={"estimated_cycles":"100"}
  %w.1 = () while(%a), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %w.2 = (s32[]) while(%a), condition=%cond, body=%other
  %w.3 = (s32[]) while(%a), condition=%to_three, body=%other
  %c.1 = f32[1024]{0} conditional(%a, %a, %a), branch_computations={%cheap, %dear}
  %r.1 = (f32[256,4]{1,0:T(8,128)S(1)}, bf16[10]{0}) all-reduce(%a, %a), to_apply=%add
  %g.1 = f32[512]{0} all-gather-start(%a), dimensions={0}
  %g.2 = f32[512]{0} all-gather-done(%g.1)
  %copy.1 = f32[1024]{0} copy(%a)
  %scalar = s32[] add(%b, %b)
  ROOT %t = (f32[1024]{0}) tuple(%a)
}
"""


def test_what_is_read_from_a_program() -> None:
    found = costs(PROGRAM)
    assert found.cycles == 100 + 5 * 30 + (1 + 3) * 7 + 60
    assert found.ops == 1 + 5 + (1 + 3) + 1
    assert found.loops_of_unknown_length == 1
    assert found.collective_bytes == {"all-reduce": 256 * 4 * 4 + 10 * 2, "all-gather": 512 * 4}
    assert found.ops_without_estimate == 3  # two collectives and a copy
    assert found.by_source == {
        "ganjax/models/r3gan.py:20": (5 * 30 + 100, 6),
        "(fusion)": (60, 1),
        "ganjax/algorithms/gan.py:10": (4 * 7, 4),
    }
    assert next(iter(found.by_source)) == "ganjax/models/r3gan.py:20"


def test_known_chips_and_slices() -> None:
    assert len({chip.name for chip in CHIPS}) == len(CHIPS)
    kinds = [kind for chip in CHIPS for kind in chip.kinds]
    assert len(set(kinds)) == len(kinds)
    names = {kind: chip.name for kind in kinds if (chip := chip_of(kind))}
    assert names["TPU v5 lite"] == "TPU v5e"
    assert names["TPU v5"] == names["TPU v5p"] == "TPU v5p"
    assert names["NVIDIA H200"] == "H200"
    assert chip_of("NVIDIA H200 NVL") is None  # another peak
    assert chip_of("cpu") is None
    assert peak_flops("TPU v4", "bfloat16") == 275e12
    assert peak_flops("TPU v4", "float32") is None
    assert num_chips("v5e:4x8") == 32
    assert num_chips("v5p:2x2x4") == 16
    for topology in TOPOLOGIES:
        chip = chip_of_topology(topology)
        units = {"TPU v4": 8 * 128**2, "TPU v5e": 4 * 128**2, "TPU v5p": 8 * 128**2, "TPU v6e": 4 * 256**2}
        assert chip.clock_hertz is not None
        assert 2 * units[chip.name] * chip.clock_hertz == pytest.approx(chip.bfloat16_flops, rel=0.005)


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no config": (["--topology", "v5e:4x4"], ["config", "--topology"]),
    "no topology": ([MLP], ["--topology"]),
    "unknown topology": ([MLP, "--topology", "v5e:3x3"], ["v5e:3x3", "v5e:4x4", "v4:2x2x1", "v6e:16x16"]),
    "a batch that 16 chips cannot share": (
        [MLP, "--topology", "v5e:4x4", "--batch-size", "100"],
        ["100", "16 chips", "96 or 112"],
    ),
    "a negative count": ([MLP, "--topology", "v5e:2x2", "--top", "-1"], ["--top", "-1"]),
    "fewer than no images": (
        [MLP, "--topology", "v5e:2x2", "--resident-images", "-1"],
        ["--resident-images is -1; expected a number at least 0"],
    ),
    "a batch that is too small": ([MLP, "--topology", "v5e:4x4", "--batch-size", "8"], ["8", "16 chips", "such as 16"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = MISTAKES[name]
    assert main(["plan", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for word in words:
        assert word in line


def test_without_the_compiler_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name))
    assert main(["plan", MLP, "--topology", "v5e:2x2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'ganjax[tpu]'" in line


def plan(*arguments: str) -> dict[str, Any]:
    # In a process of its own: the compiler's is another platform, and it is not to be left behind in this one.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "ganjax", "plan", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@needs_compiler
def test_a_plan_and_its_numbers() -> None:
    report = plan(
        QUICKSTART,
        "--topology",
        "v5e:2x2",
        "--features",
        "4",
        "--batch-size",
        "64",
        "--top",
        "5",
        "--resident-images",
        "1797",
    )
    assert report["chips"] == 4
    assert report["fits"] is True
    assert 0 < report["memory_bytes_per_chip"] < report["memory_bytes_available"]
    assert report["collective_bytes_per_step"] >= 4 * sum(report["parameters"].values())  # the gradients' mean
    seconds = report["estimated_seconds_per_step"]
    assert report["estimated_images_per_second"] == pytest.approx(64 / seconds)
    assert report["estimated_mfu"] == pytest.approx(report["model_flops_per_step"] / (4 * 197e12 * seconds))
    assert report["ops_without_estimate"] < report["ops_with_estimate"]
    assert len(report["top"]) == 5
    assert any("ganjax/models/dcgan.py" in entry["source"] for entry in report["top"])
    assert {"flops_per_step_per_chip", "compile_seconds", "largest_batch_size"} <= set(report)


@needs_compiler
def test_a_program_that_does_not_fit() -> None:
    flags = ["--width", "4096", "--batch-size", "16000000", "--topology", "v5e:1x1"]
    report = plan(MLP, *flags)
    assert report["fits"] is False
    assert report["memory_bytes_per_chip"] > report["memory_bytes_available"]
    assert 0 < report["largest_batch_size"] < 16_000_000
    assert report["estimated_seconds_per_step"] is None
