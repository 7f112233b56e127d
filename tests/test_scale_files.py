"""The files beside docs/scale.md, as far as they can be checked without a cluster."""

import re
import subprocess
from pathlib import Path

import yaml

from ganjax.runs.config import load_config

DOCS = Path(__file__).parents[1] / "docs"
QUICKSTART = DOCS.parent / "configs" / "quickstart.py"


def test_the_slurm_script_is_a_script_and_requeues_on_the_right_codes() -> None:
    script = DOCS / "slurm.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    # With stand-ins for Slurm's commands, one for each way in which a run may end.
    program = "srun() { return $CODE; }; scontrol() { echo requeued; }; export -f srun scontrol; bash $1 c.py w || true"
    for code, requeued in ((0, False), (1, True), (2, False), (134, True), (143, True)):
        done = subprocess.run(
            ["bash", "-c", program, "-", str(script)],
            env={"CODE": str(code), "PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("requeued" in done.stdout) == requeued, code


def test_the_jobset_is_yaml_and_agrees_with_itself() -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all((DOCS / "kubernetes-jobset.yaml").read_text())}
    job = parts["JobSet"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"]
    assert job["completionMode"] == "Indexed"  # which JAX needs
    pod = job["template"]["spec"]
    assert pod["serviceAccountName"] == parts["ServiceAccount"]["metadata"]["name"]
    assert parts["RoleBinding"]["roleRef"]["name"] == parts["Role"]["metadata"]["name"]
    (container,) = pod["containers"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    assert (DOCS.parent / container["command"][-1]).exists()
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


def test_every_flag_of_the_guide_is_one() -> None:
    flags = set(re.findall(r"--(run\.[a-z-]+)", (DOCS / "scale.md").read_text()))
    run = load_config(QUICKSTART).run
    assert len(flags) >= 6
    for flag in flags:
        assert hasattr(run, flag.removeprefix("run.").replace("-", "_")), flag
