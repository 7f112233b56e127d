"""A metric that cannot be computed is a line beside the others' numbers, known before the work where it can be."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from linear_gan import make_gan
from tiny_evaluation import Stub, Sums, labelled, measured, projection, reals, source

from ganjax.cli import main
from ganjax.evaluation.features import Features
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.preconditions import unmet
from ganjax.evaluation.protocol import parse_metrics
from ganjax.models import mlp
from ganjax.runs import subjects
from ganjax.runs.sampling import Sampler
from ganjax.runs.subjects import generated, open_evaluator, stored


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


@pytest.mark.parametrize(
    ("metrics", "fake", "real", "num", "expected"),
    [
        ("fid,kid,prdc", source(5), source(), 300, {"prdc": "needs 6 or more images to measure, and there are 5"}),
        ("fid,kid,prdc", source(), source(), 5, {"prdc": "needs 6 or more images to measure, and there are 5"}),
        ("is,kid", source(), source(1), 300, {"kid": "needs 2 or more real images, and tiny has 1"}),
        ("is,fid", source(), None, 300, {"fid": "compares with real images; name them: --real"}),
        ("is,ppl", source(), None, 300, {"ppl": "moves through a generator's latents alone, and images on disk"}),
        ("is,eqt", source(), None, 300, {"eqt": "moves the picture within a generator, and images on disk have none"}),
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


def test_a_path_is_of_latents_alone() -> None:
    generator = mlp.Generator(image_shape=(8, 8, 1), num_attributes=2)
    gan = dataclasses.replace(make_gan(), generator=generator, discriminator=mlp.Discriminator(image_shape=(8, 8, 1)))
    fakes = generated(Sampler(gan), None, reals=reals(source()), batch_size=64, name="run", num=9)
    text = "moves through a generator's latents alone, and this one draws for attributes or inputs as well"
    assert unmet("ppl", fakes, None, num=9) == text
    plain = generated(Sampler(make_gan()), None, reals=None, batch_size=64, name="run", num=9)
    assert unmet("ppl", plain, None, num=9) is None
    text = "moves the picture within a generator, and this one cannot be told how; stylegan3's can"
    assert unmet("eqt", plain, None, num=9) == text
    assert plain.unlabelled == "the generator was trained without"
