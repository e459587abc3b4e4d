"""Which units go: rounding, floors, fixed units, ties, and one order over layers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from compressctl.pruning.selection import Even, Ranking, by_layer, kept_count
from tests.pruning.units import group


@pytest.mark.parametrize(
    "size, wanted, round_to, kept",
    [
        (64, 32, 16, 32),
        (64, 33, 16, 48),  # rounded up
        (64, 60, 16, 60),  # 64 would keep all, so multiples of 4
        (64, 63, 16, 64),
        (64, 1, 16, 16),  # one multiple stays
        (16, 8, 16, 8),  # less than two multiples of 16
        (31, 15.5, 16, 16),
        (6, 3, 16, 3),
        (64, 33, 1, 33),
        (64, 33, 2, 34),
    ],
)
def test_what_stays_is_a_multiple(size, wanted, round_to, kept):
    assert kept_count(group("g", size), wanted, round_to) == kept


@pytest.mark.parametrize("positions, kept", [(1, 16), (2, 16), (4, 12), (16, 9), (32, 9)])
def test_channels_that_go_together_count_as_such(positions, kept):
    assert kept_count(group("g", 32, positions=positions), 8.5, 16) == kept


def test_heads_go_one_by_one():
    assert kept_count(group("g", 12, kind="head"), 8.1, 16) == 9
    assert kept_count(group("g", 12, kind="head"), 0, 16) == 1


@given(
    st.integers(1, 80),
    st.floats(0.01, 0.99),
    st.integers(1, 20),
    st.sets(st.integers(0, 79), max_size=9),
    st.integers(),
)
def test_no_more_goes_than_asked_and_never_a_fixed_unit(size, ratio, round_to, fixed, seed):
    scores = np.random.default_rng(abs(seed)).random(size)
    one = group("g", size, fixed=tuple(unit for unit in fixed if unit < size))
    gone = by_layer([one], {"g": scores}, ratio, round_to).get("g", np.zeros(0, np.int64))
    assert len(gone) <= size * ratio + 1e-6
    assert len(gone) < size
    assert not one.fixed[gone].any()
    stays = np.setdiff1d(np.flatnonzero(~one.fixed), gone)
    if len(gone) and len(stays):
        assert scores[gone].max() <= scores[stays].min()


def test_the_lowest_scores_go_and_ties_by_index():
    gone = by_layer([group("g", 8)], {"g": np.array([1, 0, 1, 0, 1, 5, 5, 5.0])}, 0.5, 4)
    assert_array_equal(gone["g"], [0, 1, 2, 3])


def test_shares_may_differ_by_group_and_be_of_what_there_was():
    groups = [group("a", 8), group("b", 8), group("c", 8)]
    scores = {each.name: np.arange(8.0) for each in groups}
    gone = by_layer(groups, scores, {"a": 0.5, "b": 0.25}, 1)
    assert {name: len(units) for name, units in gone.items()} == {"a": 4, "b": 2}
    gone = by_layer(groups, scores, 0.5, 1, {"a": 16, "b": 12, "c": 8})
    assert {name: len(units) for name, units in gone.items()} == {"b": 2, "c": 4}


def test_even_cuts_grow_by_thousandths():
    order = Even([group("g", 40)], {"g": np.arange(40.0)}, 1)
    assert order.first(0) == {}
    assert len(order.first(500)["g"]) == 20
    assert len(order.first(len(order))["g"]) == 39


def test_a_ranking_weighs_share_of_score_and_number_of_matrices_by_cost():
    groups = [group("a", 2, matrices=2), group("b", 2, matrices=4)]
    scores = {"a": np.array([1.0, 3.0]), "b": np.array([10.0, 30.0])}
    # what they matter: a: .5 and 1.5, b: 1 and 3
    assert _order(Ranking(groups, scores, 1)) == ["a", "b"]
    assert _order(Ranking(groups, scores, 1, {"a": 1.0, "b": 3.0})) == ["b", "a"]  # b: 1/3 and 1
    assert len(Ranking(groups, scores, 1, {"a": 1.0, "b": 0.0})) == 2  # nothing saved


def _order(ranking):
    """The groups in the order in which they lose their first unit."""
    order: list[str] = []
    for count in range(1, len(ranking) + 1):
        order += [name for name in ranking.first(count) if name not in order]
    return order


def test_fixed_units_are_not_in_a_ranking():
    assert len(Ranking([group("a", 4, fixed=(1, 2))], {"a": np.ones(4)}, 1)) == 2
