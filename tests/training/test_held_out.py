"""Which weights are kept, by the scores of few held-out samples."""

import math

import pytest

from compressctl.measure.metrics import parse_metric
from compressctl.training.held_out import HeldOut, Judgement


class Labelled:
    label_shape = ()


class Unlabelled:
    label_shape = None


def judge(metric=None, samples=Labelled):
    parsed = parse_metric(metric) if metric else None
    return HeldOut(samples(), None, None, parsed, 1, None, "cpu")


@pytest.mark.parametrize(
    "new, kept, before, better",
    [
        ((0.90, 1.0, 0.02), (0.80, 0.5), [0.80], True),  # beyond chance, whatever the loss
        ((0.90, 0.4, 0.02), (0.91, 0.5), [0.80, 0.91], True),  # a tie, and a smaller loss
        ((0.90, 0.6, 0.02), (0.91, 0.5), [0.80, 0.91], False),
        ((0.88, 0.4, 0.02), (0.91, 0.5), [0.80, 0.91], False),  # worse beyond chance
        ((0.90, 0.4, 0.02), (0.905, 0.5), [0.80, 0.93, 0.905], False),  # ties are with the best, so they cannot drift
        ((0.90, 0.4, 0.02), (0.91, 0.5), [0.905, 0.91], False),  # worse than what came in
        ((math.nan, 0.4, math.nan), (0.5, 0.5), [0.5], False),
        ((0.9, math.nan, 0.0), (0.9, 0.5), [0.9], False),
    ],
)
def test_scores_within_a_standard_error_are_equal(new, kept, before, better):
    assert judge("top1").better(Judgement(*new), kept, before) is better


def test_of_metrics_that_should_be_small_and_of_losses_the_smaller_is_better():
    assert judge("mse").better(Judgement(0.2, 1.0, 0.01), (0.3, 0.5), [0.3])
    assert not judge("mse").better(Judgement(0.4, 0.1, 0.01), (0.3, 0.5), [0.3])
    for judged in (judge(), judge("top1", Unlabelled)):
        assert judged.better(Judgement(0.2, 0.2, 0.0), (0.3, 0.3), [0.5, 0.3])
        assert not judged.better(Judgement(0.4, 0.4, 0.0), (0.3, 0.3), [0.5, 0.3])
