"""What candidates are expected to take, and how training is cut to the time that is left."""

import pytest

from compressctl.passes import finetune, qat, quantize, simplify
from compressctl.search.clock import Costs, kind, seconds_of, steps

SIMPLIFY, INT8 = simplify.Config(), quantize.Config(scheme="int8")
TUNE = finetune.Config(epochs=10, train_batch=50, held_out=0.1)  # 10 x 900 / 50 steps of 1,000 samples


def costs(**known):
    return Costs({kind(SIMPLIFY): 1.0, kind(INT8): 2.0, **known}, samples=1000, inference=0.001)


def test_what_ran_takes_what_it_took():
    assert costs().estimate([SIMPLIFY, INT8]) == 3.0


def test_a_trial_takes_more_than_its_passes():
    assert Costs({kind(SIMPLIFY): 1.0}, 0, 0.0, overhead=4.0).estimate([SIMPLIFY]) == 5.0


def test_a_step_of_training_is_remembered_whatever_the_epochs():
    assert steps(TUNE, 1000) == 180
    remembered = seconds_of(TUNE, 90.0, 1000)
    assert remembered == 0.5
    longer = TUNE.model_copy(update={"epochs": 20})
    assert costs(**{kind(TUNE): remembered}).estimate([longer]) == pytest.approx(180.0)


def test_training_that_never_ran_is_guessed_from_inference():
    assert costs().estimate([TUNE]) == pytest.approx(180 * 50 * 0.001 * 30)


def test_training_is_cut_to_what_is_left():
    known = costs(**{kind(TUNE): 0.5, kind(qat.Config()): 0.5})
    assert known.bounded([SIMPLIFY, TUNE], 1000) == [SIMPLIFY, TUNE]
    _, cut = known.bounded([SIMPLIFY, TUNE], 46.0)
    assert cut.steps == 90 and known.estimate([SIMPLIFY, cut]) == pytest.approx(46.0)
    two = known.bounded([SIMPLIFY, TUNE, qat.Config(train_batch=50, epochs=10)], 91.0)
    assert [config.steps for config in two[1:]] == [90, 90]


def test_what_cannot_be_cut_or_is_left_too_little_does_not_fit():
    known = costs(**{kind(TUNE): 0.5})
    assert known.bounded([SIMPLIFY, INT8], 2.9) is None
    assert known.bounded([SIMPLIFY, TUNE], 5.0) is None


def test_a_pass_that_never_ran_is_expected_to_take_as_long_as_the_slowest():
    gptq, adaround = (quantize.Config(scheme="w4a8", rounding=name) for name in ("gptq", "adaround"))
    assert costs().estimate([gptq]) == 2.0 and costs().estimate([adaround]) == 20.0
