"""What a number must be, wherever one is given: the words of the refusal, and that nothing slips through."""

import math

import numpy as np
import pytest

from ganjax import CosineRamp, UserError
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.schedules import check_schedule


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-1, {"at_least": 0}, "--num is -1; expected a number at least 0, such as 3"),
        (0.0, {"above": 0}, "--num is 0.0; expected a number above 0, such as 3"),
        (1.5, {"at_least": 0, "at_most": 1}, "--num is 1.5; expected a number from 0 to 1, such as 3"),
        (1.0, {"at_least": 0, "below": 1}, "--num is 1.0; expected a number at least 0 and below 1, such as 3"),
        (math.nan, {}, "--num is nan; expected a finite number, such as 3"),
        (np.float64("nan"), {"at_most": 1}, "--num is nan; expected a number at most 1, such as 3"),
        (math.inf, {"above": 0}, "--num is inf; expected a number above 0, such as 3"),
        (-math.inf, {"at_most": 1}, "--num is -inf; expected a number at most 1, such as 3"),
        (10**400, {"at_most": 9}, f"--num is {10**400}; expected a number at most 9, such as 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(value, bounds, message):
    with pytest.raises(UserError) as refusal:
        check_number("--num", value, **bounds, example=3)
    assert str(refusal.value) == message


def test_what_can_be_meant_passes():
    check_number("--num", None, at_least=3, example=3)
    check_number("--num", 0, at_least=0, at_most=0, example=0)
    check_number("--num", 10**400, example=3)
    check_number("--num", 1e-30, above=0, example=3)
    check_seed("--seed", 0)
    check_seed("--seed", 2**32 - 1)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_seeds_have_a_range(seed):
    with pytest.raises(UserError, match=rf"--seed is {seed}; expected a number from 0 to 4294967295, such as 1"):
        check_seed("--seed", seed)


def test_both_ends_of_a_ramp_are_looked_at():
    check_schedule("weight", lambda images_seen: images_seen, at_least=0, example=1)
    check_schedule("weight", CosineRamp(1.0, 0.1, 100), at_least=0, example=1)
    with pytest.raises(UserError, match=r"weight is -1; expected a number at least 0"):
        check_schedule("weight", -1, at_least=0, example=1)
    with pytest.raises(UserError, match=r"weight, at the start of its ramp, is -1; expected a number at least 0"):
        check_schedule("weight", CosineRamp(-1, 1, 100), at_least=0, example=1)
    with pytest.raises(UserError, match=r"weight, at the end of its ramp, is -0\.1; expected a number at least 0"):
        check_schedule("weight", CosineRamp(1, -0.1, 100), at_least=0, example=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, 1, 100), "start of a cosine ramp is nan"),
        ((1, math.inf, 100), "end of a cosine ramp is inf"),
        ((1, 0, 0), "num_images of a cosine ramp is 0; expected a number above 0"),
        ((1, 0, -5), "num_images of a cosine ramp is -5"),
        ((1, 0, math.inf), "num_images of a cosine ramp is inf"),
    ],
)
def test_a_ramp_is_made_of_numbers(arguments, message):
    with pytest.raises(UserError, match=message):
        CosineRamp(*arguments)
