"""What units cost, and the smallest cut that reaches a target, on the cut model's own numbers."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.testing import assert_allclose

from compressctl.model.save import save_model
from compressctl.model.size import count
from compressctl.pruning import costs, targets
from compressctl.pruning.cutting import deviation, original_sizes, without
from compressctl.pruning.scores import score
from compressctl.pruning.selection import Even, Ranking
from compressctl.structure.groups import find_groups
from tests.pruning.units import network


@pytest.fixture
def cuttable():
    graph = network()
    groups = [group for group in find_groups(graph) if not group.fixed.all()]
    return graph, groups


def test_macs_of_a_unit_are_what_removing_one_saves(cuttable):
    graph, groups = cuttable
    saved = costs.macs_saved(graph, groups, count(graph, {}))
    # by hand: 36 positions; Conv_0: 2 * 9 a channel, read by Conv_2: 16 * 9; the sum: 32 * 9, 2 of W3, and 3 of W4
    assert saved == {"Conv_0": 36 * (2 * 9 + 16 * 9), "Conv_2": 36 * (32 * 9 + 2) + 3}
    for group in groups:
        cut = without(graph, groups, {group.name: np.array([0])})
        assert_allclose(count(graph, {}).macs - count(cut, {}).macs, saved[group.name])


def test_bytes_of_a_unit_are_what_removing_one_saves(cuttable):
    graph, groups = cuttable
    assert costs.bytes_saved(graph, groups) == {"Conv_0": 4 * (18 + 1 + 144), "Conv_2": 4 * (288 + 2 + 3)}


def test_the_time_of_all_nodes_is_shared_out(cuttable, tmp_path):
    graph, groups = cuttable
    file = tmp_path / "model.onnx"
    save_model(graph, file, overwrite=False)
    feeds = {"x": np.zeros((1, 2, 6, 6), np.float32)}
    saved = costs.time_saved(graph, groups, count(graph, {}), file, feeds, threads=1)
    assert all(milliseconds > 0 for milliseconds in saved.values())
    total = sum(saved[group.name] * group.size for group in groups)
    assert 0.001 < total < 50


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.9])
def test_the_smallest_cut_that_meets_a_limit_is_found(cuttable, limit):
    graph, groups = cuttable
    scores, measure = score(graph, groups, "l2"), targets.macs_left(graph, {})

    def build(removed):
        return without(graph, groups, removed)

    order = Ranking(groups, scores, 1)
    found = targets.smallest_cut(order, build, measure, limit)
    lefts = (measure(build(order.first(length))) for length in range(len(order) + 1))
    assert found.value == next(left for left in lefts if left <= limit)
    assert measure(build(found.removed)) == found.value
    even = targets.smallest_cut(Even(groups, scores, 1), build, measure, limit)
    assert limit - 0.06 < even.value <= limit
    assert abs(len(even.removed["Conv_0"]) - 2 * len(even.removed["Conv_2"])) <= 1


def test_a_limit_that_is_met_cuts_nothing_and_one_out_of_reach_cuts_all(cuttable):
    graph, groups = cuttable
    order = Ranking(groups, score(graph, groups, "l2"), 4)

    def build(removed):
        return without(graph, groups, removed)

    half = targets.macs_left(graph, {})
    assert targets.smallest_cut(order, build, lambda model: half(model) / 2, 0.6).removed == {}
    found = targets.smallest_cut(order, build, half, 0.001)
    assert {name: len(units) for name, units in found.removed.items()} == {"Conv_0": 28, "Conv_2": 12}
    assert found.value > 0.001


def test_few_levels_leave_few_candidates(cuttable):
    graph, groups = cuttable
    order = Ranking(groups, score(graph, groups, "l2"), 1)
    seen = []

    def measure(model: ir.Model) -> float:
        seen.append(count(model, {}).parameters)
        return 1 - len(seen) / 100

    targets.smallest_cut(order, lambda removed: without(graph, groups, removed), measure, 0.5, levels=4)
    assert len(seen) == 2  # nothing, all


def test_size_is_that_of_the_file(cuttable, tmp_path):
    graph, groups = cuttable
    cut = without(graph, groups, {"Conv_0": np.arange(16)})
    left = targets.size_left(graph, tmp_path)(cut)
    sizes = [len(onnx.load_from_string(ir.to_proto(m).SerializeToString()).SerializeToString()) for m in (cut, graph)]
    assert_allclose(left, sizes[0] / sizes[1], atol=0.01)


def test_a_cut_remembers_what_there_was(cuttable):
    graph, groups = cuttable
    once = without(graph, groups, {"Conv_0": np.arange(8)})
    again = [group for group in find_groups(once) if not group.fixed.all()]
    assert {group.name: group.size for group in again} == {"Conv_0": 24, "Conv_2": 16}
    twice = without(once, again, {"Conv_0": np.arange(8), "Conv_2": np.arange(4)})
    assert original_sizes(twice.clone(), again) == {"Conv_0": 32, "Conv_2": 16}
    assert original_sizes(graph, groups) == {"Conv_0": 32, "Conv_2": 16}


def test_a_wrong_cut_is_noticed(cuttable, monkeypatch):
    graph, groups = cuttable
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 2, 6, 6)).astype(np.float32)}
    removed = {"Conv_0": np.arange(8)}
    assert deviation(graph, groups, removed, feeds, threads=1) is None
    others = {"Conv_0": np.arange(8, 16)}
    monkeypatch.setattr("compressctl.pruning.cutting.masked", lambda *_: without(graph, groups, others))
    assert "differs" in (deviation(graph, groups, removed, feeds, threads=1) or "")
