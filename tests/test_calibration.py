"""What logits mean: where the right answer is known, and how far off it is."""

import numpy as np
import pytest

from ganjax import UserError
from ganjax.evaluation.calibration import calibrate, reliability_of
from ganjax.evaluation.reliability import reliability_picture

# Logits of reals are N(1, 1) and of samples N(-1, 1), so that the log of the ratio of their densities is 2 x.
DRAWS = np.random.default_rng(0)
IS_REAL = np.tile([True, False], 4000)
LOGITS = DRAWS.normal(np.where(IS_REAL, 1.0, -1.0))
LABELS = np.arange(8000) // 2 % 4


def test_of_normal_logits_the_known_ratio_is_found_wherever_their_zero_is() -> None:
    found = calibrate(LOGITS, IS_REAL)
    moved = calibrate(0.1 * LOGITS + 70, IS_REAL)
    assert abs(found.slope - 2) < 0.1
    assert abs(found.intercepts[0]) < 0.1
    np.testing.assert_allclose(moved.log_ratio(0.1 * LOGITS + 70), found.log_ratio(LOGITS), atol=1e-3)
    np.testing.assert_allclose(found.probability(LOGITS), 1 / (1 + np.exp(-found.log_ratio(LOGITS))), rtol=1e-9)


def test_more_reals_than_samples_do_not_make_pictures_more_real() -> None:
    kept = IS_REAL | (np.arange(8000) % 8 == 1)
    found = calibrate(LOGITS[kept], IS_REAL[kept])
    assert abs(found.intercepts[0]) < 0.15


def test_each_class_has_a_zero_of_its_own() -> None:
    offsets = np.array([0.0, 30.0, -5.0, 2.0])
    apart = LOGITS + offsets[LABELS]
    blind, found = (calibrate(apart, IS_REAL, labels, num_classes=4) for labels in (None, LABELS))
    np.testing.assert_allclose(np.array(found.intercepts), -found.slope * offsets, atol=0.3)
    assert abs(found.slope - 2) < 0.1
    errors = [np.mean((it.probability(apart, LABELS) >= 0.5) != IS_REAL) for it in (found, blind)]
    assert errors[0] < 0.18 < 0.35 < errors[1]


def test_a_class_with_few_pictures_is_like_the_others() -> None:
    labels = np.where(np.arange(8000) < 2, 4, LABELS)
    found = calibrate(LOGITS, IS_REAL, labels, num_classes=6)  # and class 5 has none
    assert np.abs(found.intercepts).max() < 1.5


def test_an_isotonic_function_follows_what_no_logistic_one_does() -> None:
    bent = np.sign(LOGITS) * np.abs(LOGITS) ** 3
    half = np.arange(8000) < 4000
    errors = {}
    for kind in ("logistic", "isotonic"):
        found = calibrate(bent[half], IS_REAL[half], kind=kind)
        errors[kind] = reliability_of(found.probability(bent[~half]), IS_REAL[~half])
        assert (np.diff(found.probability(np.sort(bent))) >= 0).all()
    assert errors["isotonic"].error < 0.03 < errors["logistic"].error


def test_the_error_is_the_mean_distance_of_bins_from_the_diagonal() -> None:
    probabilities = np.array([0.12, 0.18, 0.92, 0.94, 0.99, 1.0])
    is_real = np.array([False, True, True, True, True, False])
    found = reliability_of(probabilities, is_real)
    assert found.counts.tolist() == [2, 4]
    np.testing.assert_allclose(found.confidence, [0.15, 0.9625])
    np.testing.assert_allclose(found.frequency, [0.5, 0.75])
    np.testing.assert_allclose(found.error, (2 * 0.35 + 4 * 0.2125) / 6)
    assert found.accuracy == 4 / 6


def test_a_judge_without_fault_errs_by_chance_alone() -> None:
    probabilities = DRAWS.random(4000)
    found = reliability_of(probabilities, DRAWS.random(4000) < probabilities)
    assert abs(found.error - found.chance) < 0.012
    assert 0.005 < found.chance < 0.03
    assert reliability_picture(found, title="mine").size == (484, 582)


def test_sets_that_a_logit_separates_have_a_finite_ratio() -> None:
    found = calibrate(np.array([3.0, -3.0, 4.0, -4.0]), np.array([True, False, True, False]))
    assert np.isfinite(found.log_ratio(np.array([1e6]))).all()
    assert found.probability(np.array([3.0]))[0] > 0.9


@pytest.mark.parametrize(
    ("logits", "message"),
    [([1.0, 2.0], "there are 1 reals and 1 generated"), ([np.nan, 1, 2, 3], "logits are not finite; name an earlier")],
)
def test_what_cannot_be_learnt_from_is_told(logits: list[float], message: str) -> None:
    is_real = np.arange(len(logits)) % 2 == 0
    with pytest.raises(UserError, match=message):
        calibrate(np.array(logits), is_real)
