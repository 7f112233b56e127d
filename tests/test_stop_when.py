"""When a run ends by itself, what its curves say, and who else is shown its log."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from etils import epath
from processes import MLP

from ganjax.cli import main
from ganjax.ground.errors import UserError
from ganjax.runs.report import MetricsLog
from ganjax.runs.stopping_rule import Condition, parse_rule
from ganjax.runs.trackers import Tracker
from ganjax.runs.verdict import verdict

EVALUATED = ("fid", "precision")
RULES = {
    "fid has not improved for 2M images": Condition("", "evaluate/fid", "stalled", images=2e6),
    "FID not improved in 1.5m": Condition("", "evaluate/fid", "stalled", images=1.5e6),
    "precision hasn't improved for 500 kimg": Condition("", "evaluate/precision", "stalled", True, 5e5),
    "d/loss has not fallen for 2,000,000 images": Condition("", "d/loss", "stalled", images=2e6),
    "g/fake has not risen for 1e6": Condition("", "g/fake", "stalled", True, 1e6),
    "fid<5": Condition("", "evaluate/fid", "below", bound=5),
    "fid reaches 10": Condition("", "evaluate/fid", "below", bound=10),
    "precision reaches .6": Condition("", "evaluate/precision", "above", bound=0.6),
    "d/loss is at least -1.5 for 3 thousand images": Condition("", "d/loss", "above", images=3e3, bound=-1.5),
}


@pytest.mark.parametrize("text", RULES)
def test_a_rule_is_understood(text: str) -> None:
    (found,) = parse_rule(f"  {text} ", EVALUATED)
    expected = RULES[text]
    assert (found.name, found.kind, found.images, found.bound) == (
        *(expected.name, expected.kind),
        *(expected.images, expected.bound),
    )
    assert found.higher == expected.higher
    assert [condition.name for condition in parse_rule(f"{text} or d/loss > 3", EVALUATED)][1] == "d/loss"


MISTAKES = {
    "fid has stalled": "run.stop_when is 'fid has stalled'; expected such as 'fid has not improved for 2M images'",
    "fid is below ten": "expected such as",
    "fid has not improved for -3 images": "expected such as",
    "": "run.stop_when is ''; expected such as",
    "fid < 3 or whatever": "and 'whatever' in it is not understood; expected such as",
    "fdi reaches 3": "there is no number fdi; perhaps you meant fid, or a name in the log, such as d/loss",
    "kid has not improved for 3": "and the run evaluates fid, precision; give --run.evaluate-every, such as 500_000",
    "g/fake has not improved for 5k": "whether a higher g/fake is better nobody knows; say what it does not do",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_rule_that_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse_rule(text, EVALUATED)
    assert MISTAKES[text] in str(refusal.value)


def log(name: str, values: list[float]) -> list[dict[str, float]]:
    return [{"step": number, "images": 100 * number, name: value} for number, value in enumerate(values, 1)]


def test_a_condition_is_met_when_it_is_so() -> None:
    (stalled,) = parse_rule("fid has not improved for 200 images", EVALUATED)
    values = [9.0, 5.0, 6.0, 4.0, 4.5, 4.0, 7.0]
    met = [stalled.met(log("evaluate/fid", values[:num])) for num in range(len(values))]
    assert met == [None] * 6 + ["the best was 4 at 400 images, and it is 4 now"]
    (below,) = parse_rule("precision is below 0.3 for 200 images", EVALUATED)
    values = [0.2, 0.4, 0.2, 0.1, 0.3, 0.9]
    assert [below.met(log("evaluate/precision", values[: num + 1])) is not None for num in range(6)] == [
        *(False, False, False, False, True, False)
    ]
    assert below.met([{"step": 1, "images": 9, "d/loss": 1.0}]) is None


TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.total-images", "160"]
OFTEN = ["--run.log-every", "16", "--run.checkpoint-every", "48", "--run.stop-when", "d/loss > 0 for 96 images"]


def train(workdir: Path, *flags: str) -> int:
    return main(["train", MLP, "--workdir", str(workdir), *TINY, *OFTEN, *flags])


def lines(workdir: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in records]


def test_a_run_ends_well_and_at_the_same_image_after_a_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(tmp_path / "whole", "--run.track", "trackio") == 0  # which is not there
    said = capsys.readouterr().err
    assert "ended at 128 images: d/loss > 0 for 96 images: it is " in said
    assert caplog.text.count("run.track is trackio, and ") == 1
    assert sorted(int(path.name) for path in (tmp_path / "whole" / "checkpoints").iterdir()) == [6, 8]
    *_, line, note = lines(tmp_path / "whole")
    assert (line["images"], note["images"]) == (128, 128)
    assert note["stop/reason"].startswith("d/loss > 0 for 96 images: it is ")
    assert train(tmp_path / "twice", "--run.total-images", "48") == 0
    assert train(tmp_path / "twice") == 0
    assert lines(tmp_path / "twice") == lines(tmp_path / "whole")
    capsys.readouterr()
    assert train(tmp_path / "twice") == 0
    assert "twice ended at 128 images, for d/loss > 0 for 96 images: it is " in capsys.readouterr().out


def test_a_number_that_the_log_does_not_have_is_named_after_one_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--run.stop-when", "d/los < 1") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the log has no d/los; perhaps you meant d/loss; expected one of d/fake, " in error


def gan_log(*, gap: float, fid: list[float]) -> list[dict[str, float]]:
    """A run of 20 lines whose gap grows to so many times of it by its end."""
    made: list[dict[str, float]] = []
    for number in range(1, 21):
        grown = 1.0 if number < 12 else gap
        made.append({"step": number, "images": 100 * number, "d/real": grown, "d/fake": 0.0})
    return made + [
        {"step": 5 * place, "images": 500 * place, "evaluate/fid": value} for place, value in enumerate(fid, 1)
    ]


def test_what_the_curves_say() -> None:
    assert verdict(gan_log(gap=1, fid=[])[:9]).kind == "short"
    assert verdict([]).text == "too early to say: the log has 0 lines of numbers"
    assert verdict(gan_log(gap=1, fid=[40, 30, 20, 10])) == (
        "improving",
        "still improving: fid is 10 at 2,000 images, and was 20 at best before 1,600",
    )
    stalled = verdict(gan_log(gap=1, fid=[40, 10, 11, 12]))
    assert stalled == ("stalled", "fid was best at 1,000 images (10), and is 12 at 2,000")
    learned = verdict(gan_log(gap=3, fid=[40, 10, 11, 12]))
    assert learned.kind == "overfitting"
    assert "has grown from 1 to 3, and fid was best at 1,000 images" in learned.text
    assert verdict(gan_log(gap=3, fid=[40, 30, 20, 10])).kind == "improving"
    assert verdict(gan_log(gap=3, fid=[])).kind == "overfitting"
    assert verdict(gan_log(gap=1, fid=[])).kind == "steady"
    note = {"step": 19, "images": 1900, "collapse/spread": "samples are all alike"}
    assert verdict(gan_log(gap=1, fid=[40, 30, 20, 10]), [note]) == (
        "collapse",
        "perhaps it has collapsed: at 1,900 images samples are all alike",
    )
    assert verdict(gan_log(gap=1, fid=[40, 30, 20, 10]), [{**note, "images": 100}]).kind == "improving"


def shown(workdir: Path, service: str) -> None:
    """Two starts of a run's log."""
    for first in (0, 100):
        tracker = Tracker(service, epath.Path(workdir), {"run.seed": "3", "run.watermark": "secret"})
        with MetricsLog(epath.Path(workdir), resume_images=first, tracker=tracker) as opened:
            opened.write(step=first + 1, images=first + 100, scalars={"d/loss": 0.5 + first})
            opened.note(step=first + 1, images=first + 100, name="rollback/reason", text="d/loss is nan")


@pytest.mark.filterwarnings("ignore")
def test_wandb_is_shown_the_log_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    shown(tmp_path, "wandb")
    identity = json.loads((tmp_path / "trackers.json").read_text())["wandb"]
    kept = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert {path.name for path in kept} == {f"run-{identity}.wandb"}
    content = b"".join(path.read_bytes() for path in kept)
    assert b"d/loss" in content
    assert b"secret" not in content


@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    shown(tmp_path, "mlflow")
    identity = json.loads((tmp_path / "trackers.json").read_text())["mlflow"]
    client = mlflow.MlflowClient()
    history = client.get_metric_history(identity, "d/loss")
    assert [(point.step, point.value) for point in history] == [(100, 0.5), (200, 100.5)]
    run = client.get_run(identity)
    assert (run.info.status, run.data.params) == ("FINISHED", {"run.seed": "3"})
    assert run.data.tags["rollback/reason"] == "at 200 images: d/loss is nan"


def test_a_service_that_fails_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host\nand more")

    stand_in: Any = types.ModuleType("trackio")
    place = types.SimpleNamespace(log=fail, finish=lambda: told.append("finished"))
    stand_in.init = lambda **given: told.append(given["name"]) or place
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    shown(tmp_path, "trackio")
    assert told[0] == told[1]
    assert told[0].startswith(tmp_path.name)
    assert len(told) == 2  # two starts, and nothing after the failure
    assert [record.message for record in caplog.records] == [
        "run.track is trackio, and no route to host; training goes on without it"
    ] * 2
    assert (tmp_path / "metrics.jsonl").read_text().count("d/loss") == 4
    monkeypatch.setitem(sys.modules, "trackio", None)
    caplog.clear()
    shown(tmp_path, "trackio")
    assert "its package is not there: pip install 'ganjax[trackio]'" in caplog.records[0].message
