"""What a number does not tell is told beside it, and nothing is said of it that is not there."""

import dataclasses
from pathlib import Path

import pytest
from tiny_evaluation import Sums, measured, projection, reals, source

from ganjax.evaluation.cautions import cautions
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.protocol import METRICS
from ganjax.runs.subjects import stored


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection())


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
    assert values["fid"] < 1e-6
