"""A metric that cannot be computed is a line beside the others' numbers, known before the work where it can be."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_evaluation import CONFIG, projection, reals, source

from ganjax.cli import main
from ganjax.data import ArraySource
from ganjax.evaluation.cautions import cautions
from ganjax.evaluation.features import Features
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.protocol import METRICS, parse_metrics
from ganjax.runs import subjects
from ganjax.runs.subjects import open_evaluator, stored


class Stub:
    """What a network has besides what it computes."""

    name, fingerprint, num_features, num_classes = "stub", "0", 8, 3
    resizes: tuple[str, ...] = ("none",)
    resize = "none"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection())


def refusals(metrics: str, fake: Any, real: Any, *, num: int = 300, network: str = "classifier") -> dict[str, str]:
    """Those that are known before an image is measured."""
    fakes = stored(fake, name="fake", seed=0, batch_size=64, reals=real)
    _, refused = open_evaluator(
        parse_metrics(metrics),
        network,
        fakes,
        reals=real,
        dataset=None,
        num=num,
        seed=0,
        batch_size=64,
        otherwise="or else",
    )
    return refused


def labelled(counts: list[int], names: tuple[str, ...] | None = None, *, name: str = "tiny", seed: int = 0) -> Any:
    """So many random images of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 8, 8, 1), np.uint8)
    return ArraySource(images, labels, name=name, class_names=names)


@pytest.mark.parametrize(
    ("metrics", "fake", "real", "num", "expected"),
    [
        ("fid,kid,prdc", source(5), source(), 300, {"prdc": "needs 6 or more images to measure, and there are 5"}),
        ("fid,kid,prdc", source(), source(), 5, {"prdc": "needs 6 or more images to measure, and there are 5"}),
        ("is,kid", source(), source(1), 300, {"kid": "needs 2 or more real images, and tiny has 1"}),
        ("is,fid", source(), None, 300, {"fid": "compares with real images; name them: --real"}),
        ("is,ppl", source(), None, 300, {"ppl": "moves through a generator's latents"}),
        ("is", source(1), None, 300, {"is": "needs 2 or more images to measure, and there are 1"}),
        ("fid,accuracy", source(labelled=False), source(), 300, {"accuracy": "needs labels of the images to measure"}),
        (
            "fid,class-fid",
            source(),
            source(labelled=False),
            300,
            {"class-fid": "needs labels of the images to measure, and the real images have none to match them with"},
        ),
        (
            "fid,class-fid",
            labelled([9, 1, 9]),
            source(),
            300,
            {"class-fid": "needs 2 or more images of each class, and some have fewer: 1 ("},
        ),
        (
            "class-fid,is",
            source(),
            labelled([9, 9, 1], ("cat", "dog", "emu")),
            300,
            {"class-fid": "needs 2 or more images of each class, and some have fewer: emu (1 real, "},
        ),
        # There are enough of each, but not among the nine reals that are drawn.
        ("class-fid,is", source(), labelled([2, 2, 99]), 9, {"class-fid": "some have fewer: 0 ("}),
    ],
)
def test_what_is_known_before_is_refused_before(
    metrics: str, fake: Any, real: Any, num: int, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "_pass", None)  # no image goes through a network for it
    refused = refusals(metrics, fake, real if real is None else reals(real), num=num)
    assert list(refused) == list(expected)
    for name, text in expected.items():
        assert text in refused[name]


class Sums(Stub):
    """Takes images of any size."""

    name, num_features = "sums", 1

    def __call__(self, images: Any) -> Features:
        features = images.astype(np.float32).mean(axis=(1, 2))
        return Features(features, jnp.ones((len(images), 3), jnp.float32) / 3)


def test_images_of_another_size_are_refused_where_they_are_compared() -> None:
    fakes = stored(source(shape=(8, 9, 1)), name="fake", seed=0, batch_size=64)
    evaluator = Evaluator(("fid", "is"), {"network": Sums()}, reals=reals(source()), num=300, seed=0, batch_size=64)
    refused = evaluator.prepare(fakes)
    assert list(refused) == ["fid"]
    assert "(8, 9, 1) (height, width, channels) and those of tiny (8, 8, 1): convert one" in refused["fid"]
    assert [result.metric for result in evaluator(fakes).results] == ["is"]


class Classless(Stub):
    """Has features alone."""

    name, num_features = "dino", 64

    def __call__(self, images: Any) -> Features:
        return Features(images.reshape(len(images), -1).astype(np.float32))


def test_a_network_without_classes_has_no_inception_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "open_published", lambda name, **options: Classless())
    refused = refusals("fid,is", source(), reals(source()), network="dinov2")
    assert refused == {"is": "needs the classes of a network, and dino has none; take inception or classifier"}


def test_weights_that_are_not_there_cost_only_the_metrics_of_that_network() -> None:
    refused = refusals("fid,accuracy,kid", source(), reals(source()), network="inception")
    assert list(refused) == ["fid", "kid"]
    assert refused["fid"].endswith("and put it there; or else")


def measured(metrics: str, network: Any, fake: Any = None) -> tuple[dict[str, float], dict[str, str]]:
    data = source()
    np.maximum(data.load()["images"], 1, out=data.load()["images"])  # for ``Bad``
    real = reals(data)
    evaluator = Evaluator(
        parse_metrics(metrics),
        {"network": network, "classifier": projection()},
        reals=real,
        num=300,
        seed=0,
        batch_size=64,
    )
    fakes = stored(fake or source(250, seed=1), name="fake", seed=0, batch_size=64, reals=real)
    results, refused = evaluator(fakes)
    return {result.metric: result.value for result in results}, refused


class Bad(Stub):
    """Knows nothing of an image whose first pixel is black."""

    name = "bad"

    def __call__(self, images: Any) -> Features:
        features, probabilities = projection()(images)
        return Features(jnp.where(images[:, 0, 0] == 0, jnp.nan, features), probabilities)


def test_features_that_are_not_finite_are_told_and_cost_no_other_network(caplog: pytest.LogCaptureFixture) -> None:
    fake = source(250, seed=1)
    np.maximum(fake.load()["images"], 1, out=fake.load()["images"])
    fake.load()["images"][[3, 77, 200], 0, 0] = 0
    values, refused = measured("fid,kid,is,accuracy", Bad(), fake)
    assert list(values) == ["accuracy"]
    assert set(refused) == {"fid", "kid", "is"}
    assert set(refused.values()) == {"the features of 3 images to measure are NaN or infinite"}


@pytest.mark.parametrize(
    ("error", "text"),
    [(np.linalg.LinAlgError("SVD did not converge"), "SVD did not converge"), (None, "came out as nan")],
)
def test_what_turns_up_at_one_metric_leaves_the_others(
    error: Exception | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distance(*_: object) -> float:
        if error:
            raise error
        return float("nan")

    monkeypatch.setattr("ganjax.evaluation.estimates.frechet_distance", distance)
    values, refused = measured("fid,kid", projection())
    assert list(values) == ["kid"]
    assert list(refused) == ["fid"]
    assert text in refused["fid"]


def test_the_verb_prints_what_it_can_and_a_line_for_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "five.npz", images=images[:5])
    np.savez(tmp_path / "one.npz", images=images[:1])
    np.savez(tmp_path / "real.npz", images=images)
    common = ["--real", str(tmp_path / "real.npz"), "--network", "classifier"]
    arguments = ["evaluate", "--fake", str(tmp_path / "five.npz"), *common, "--metrics", "fid,kid,prdc"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["fid", "kid"]
    assert lines[2] == "prdc: needs 6 or more images to measure, and there are 5"
    assert main([*arguments, "--json", "--out", str(tmp_path / "out.json")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [result["metric"] for result in printed["results"]] == ["fid", "kid"]
    assert printed["refused"] == {"prdc": "needs 6 or more images to measure, and there are 5"}
    assert json.loads((tmp_path / "out.json").read_text()) == printed
    # Nothing at all: a mistake.
    arguments[2] = str(tmp_path / "one.npz")
    assert main([*arguments, "--json"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "ganjax: fid, kid: needs 2 or more images to measure, and there are 1; "
        "prdc: needs 6 or more images to measure, and there are 1\n"
    )


# While a run trains.

TRAINED = """
import dataclasses
from ganjax import load_config
from ganjax.data import Npz
from ganjax.models import mlp

def config(*, width: int = 8, batch_size: int = 8):
    made = load_config({config!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    shape = dict(image_shape=(8, 8, 1), num_classes=3, hidden=(width,))
    gan = dataclasses.replace(made.gan, generator=mlp.Generator(**shape), discriminator=mlp.Discriminator(**shape))
    return dataclasses.replace(made, gan=gan, data=Npz({data!r}))
"""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Any]:
    """Starts a run of three classes, evaluated every 32 images."""

    def start(counts: list[int], *flags: str) -> int:
        arrays = labelled(counts).load()
        np.savez(tmp_path / "data.npz", images=arrays["images"], labels=arrays["labels"])
        (tmp_path / "mine.py").write_text(TRAINED.format(config=str(CONFIG), data=str(tmp_path / "data.npz")))
        common = ["--run.evaluate-every=32", "--run.evaluate-network=classifier", "--run.total-images=96"]
        common += ["--run.log-every=32", "--run.num-samples=4"]
        return main(["train", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run"), *common, *flags])

    return start


@pytest.mark.parametrize(
    ("counts", "flags", "message"),
    [
        ([20, 20, 1], ["--run.evaluate-metrics=fid,class-fid"], "class-fid: needs 2 or more images of each class"),
        ([20, 20, 20], ["--run.evaluate-metrics=prdc,fid", "--run.evaluate-num=4"], "prdc: needs 6 or more images"),
        ([20, 20, 20], ["--run.evaluate-metrics=class-fid", "--run.evaluate-num=4"], "some have fewer: "),
        (
            [20, 20, 20],
            ["--run.evaluate-network=inception"],
            "or take the features of the labelled dataset itself: --run",
        ),
    ],
)
def test_a_run_that_cannot_be_evaluated_does_not_begin(
    training: Any, tmp_path: Path, capsys: pytest.CaptureFixture, counts: list[int], flags: list[str], message: str
) -> None:
    assert training(counts, *flags) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ganjax: run.evaluate_metrics is ")
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_refusal_in_the_middle_of_a_run_is_a_line_and_a_note(
    training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def distance(*_: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise np.linalg.LinAlgError("SVD did not converge")
        return float(len(calls))

    monkeypatch.setattr("ganjax.evaluation.estimates.frechet_distance", distance)
    flags = ["--run.evaluate-metrics=fid,kid", "--run.best-metric=fid", "--run.evaluate-num=20"]
    assert training([20, 20, 20], *flags) == 0
    assert "at 64 images: fid: SVD did not converge" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "evaluate/kid" in line] == [4, 8, 12]
    assert [line["step"] for line in lines if "evaluate/fid" in line] == [4, 12]
    assert [line for line in lines if "refused/fid" in line] == [
        {"step": 8, "images": 64, "refused/fid": "SVD did not converge"}
    ]
    kept = json.loads((tmp_path / "run" / "evaluation" / "0000000064.json").read_text())
    assert kept["refused"] == {"fid": "SVD did not converge"}
    # The run goes on with what it has noted.
    assert training([20, 20, 20], *flags, "--run.total-images=128") == 0


# What a number does not tell.


def test_cautions() -> None:
    class Guesses(Sums):
        name, num_features, accuracy = "guesses", 8, 0.25

    real = reals(source())
    fakes = stored(source(), name="fake", seed=0, batch_size=64, reals=real)
    few = cautions("fid", projection(), num_fake=300, num_real=8, fakes=fakes, reals=real)
    assert few == [
        "fid of 8 reals with 8 features: the covariance is singular and fid is biased upwards; use more, or kid, which "
        "has no bias"
    ]
    assert cautions("kid", projection(), num_fake=300, num_real=9, fakes=fakes, reals=real) == [
        "kid of 9 reals: so few say little; use more"
    ]
    (line,) = cautions("accuracy", Guesses(), num_fake=300, num_real=None, fakes=fakes, reals=real)
    assert "guesses is wrong on most images that were held out of its training (25.00% right)" in line
    missing = dataclasses.replace(fakes, label_counts=(3, 0, 5))
    (line,) = cautions("accuracy", projection(), num_fake=300, num_real=None, fakes=missing, reals=real)
    assert line == "accuracy is of the other classes: no image to measure has the label(s) 1"
    for name in METRICS:
        assert not cautions(name, projection(), num_fake=300, num_real=300, fakes=fakes, reals=real)


def test_identical_images_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    fake = source(100, seed=1)
    measured("prdc", projection(), fake)
    assert "the same as" not in caplog.text
    fake.load()["images"][:90] = fake.load()["images"][0]
    measured("prdc", projection(), fake)
    assert "90 of 100 generated images are the same as 5 others or more: their spheres are empty" in caplog.text
    fake.load()["images"][:] = fake.load()["images"][0]
    values, _ = measured("prdc", projection(), fake)
    assert values["recall"] == 0.0
    assert "100 of 100 generated images" in caplog.text


def test_no_deviation_where_there_is_nothing_to_deviate() -> None:
    real = reals(source(60))
    evaluator = Evaluator(("kid", "is"), {"network": projection()}, reals=real, num=60, seed=0, batch_size=64)
    for num, settings in ((60, (1, 1)), (50, (100, 1))):
        fakes = stored(source(num, seed=1), name="fake", seed=0, batch_size=64, reals=real)
        kid, score = evaluator(fakes).results
        assert (kid.stamp.settings["num_subsets"], score.stamp.settings["num_splits"]) == settings
        assert (kid.deviation is None) == (settings[0] == 1)
        assert score.deviation is None
        assert score.value > 1.0


def test_the_distance_of_a_set_and_itself_is_not_negative() -> None:
    for seed in range(5):
        values, _ = measured("fid", projection(), source(seed=seed))
        assert values["fid"] >= 0.0
    values, _ = measured("fid", projection(), source())
    assert values["fid"] < 1e-9


# Which class is which.


@pytest.fixture
def pictures(tmp_path: Path) -> Any:
    """Writes images of three animals into folders, under names that may differ."""

    def write(folder: str, names: dict[str, str]) -> str:
        for number, (animal, name) in enumerate(names.items()):
            shade = {"cat": 40, "dog": 128, "emu": 220}[animal]
            rng = np.random.default_rng(number if folder == "real" else 100 + shade)
            (tmp_path / folder / name).mkdir(parents=True)
            for index in range(12):
                image = np.clip(rng.normal(shade, 9, (8, 8)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(tmp_path / folder / name / f"{index}.png")
        return str(tmp_path / folder)

    return write


class Shades(Stub):
    """Tells the three animals apart by their grey, and so is right on all of them."""

    name, num_features, accuracy = "shades", 2, 1.0

    def __call__(self, images: Any) -> Features:
        grey = images.astype(np.float32).mean(axis=(1, 2, 3))
        logits = -abs(grey[:, None] - np.array([[40, 128, 220]], np.float32))
        spread = images.astype(np.float32).std(axis=(1, 2, 3))
        return Features(jnp.stack([grey, spread], axis=1), jax.nn.softmax(logits))


def evaluate_labels(capsys: pytest.CaptureFixture, fake: str, real: str) -> tuple[dict[str, Any], dict[str, str], str]:
    arguments = ["--fake", fake, "--real", real, "--network", "classifier", "--metrics", "fid,accuracy,class-fid"]
    assert main(["evaluate", *arguments, "--json"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    return {result["metric"]: result for result in found["results"]}, found.get("refused", {}), output.err


def test_labels_are_matched_by_name(
    pictures: Any, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: Shades())
    own = {name: name for name in ("cat", "dog", "emu")}
    real = pictures("real", own)
    results, refused, _ = evaluate_labels(capsys, pictures("all", own), real)
    assert results["accuracy"]["value"] == 1.0
    assert list(results["accuracy"]["details"]) == ["cat", "dog", "emu"]
    assert list(results["class-fid"]["details"]) == ["cat", "dog", "emu"]
    assert not refused

    caplog.clear()
    results, refused, _ = evaluate_labels(capsys, pictures("without", {"dog": "dog", "emu": "emu"}), real)
    assert results["accuracy"]["value"] == 1.0
    assert list(results["accuracy"]["details"]) == ["dog", "emu"]
    assert "accuracy is of the other classes: no image to measure has the label(s) cat" in caplog.text
    assert refused == {
        "class-fid": "needs 2 or more images of each class, and some have fewer: cat (12 real, 0 to measure)"
    }

    renamed = pictures("renamed", {"cat": "cat", "dog": "dogs", "emu": "emu"})
    results, refused, _ = evaluate_labels(capsys, renamed, real)
    assert list(results) == ["fid"]
    assert refused["accuracy"] == refused["class-fid"]
    assert "has the class(es) dogs, and the reals have cat, dog, emu; perhaps dog is meant" in refused["accuracy"]


def test_labels_without_names_go_by_number_and_within_range(
    pictures: Any, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: Shades())
    real = pictures("real", {name: name for name in ("cat", "dog", "emu")})
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 9)
    shades = np.array([40, 128, 220])[labels][:, None, None, None]
    images = np.clip(rng.normal(shades, 9, (27, 8, 8, 1)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "fake.npz", images=images, labels=labels)
    results, refused, _ = evaluate_labels(capsys, str(tmp_path / "fake.npz"), real)
    assert results["accuracy"]["value"] == 1.0
    assert not refused
    assert "fake.npz are numbers without names: 0 is cat, 1 is dog, 2 is emu" in caplog.text
    np.savez(tmp_path / "fake.npz", images=images, labels=labels + 1)
    results, refused, _ = evaluate_labels(capsys, str(tmp_path / "fake.npz"), real)
    assert list(results) == ["fid"]
    assert "fake.npz go up to 3, and the reals have cat, dog, emu" in refused["accuracy"]
    # The other way round, names have nothing among numbers to be found by.
    results, refused, _ = evaluate_labels(capsys, real, str(tmp_path / "fake.npz"))
    assert (
        "has the class(es) cat, dog, emu, and the reals have 0, 1, 2, 3; name the classes alike" in refused["accuracy"]
    )
