"""Doubtful shapes are timed in their surroundings, once; the plan goes by that."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from compressctl.data.notation import open_source
from compressctl.measure.session import Session
from compressctl.model.load import interface
from compressctl.model.save import serialize
from compressctl.passes import quantize, quantize_weights
from compressctl.passes.base import Context
from compressctl.passes.quantize.auto import Trial, keep_pace
from compressctl.passes.static import observe_static
from compressctl.quantization.int8.apply import apply_plan
from compressctl.quantization.int8.placement import place
from compressctl.quantization.int8.plan import QuantizationPlan, named
from compressctl.quantization.int8.quantizers import Settings
from compressctl.quantization.int8.surroundings import LAYER, surroundings
from compressctl.quantization.int8.timing import doubtful, time_layers
from tests import graphs

RNG = np.random.default_rng(3)

# A channel multiplier takes onnxruntime's integers 5 times as long as floats, or longer, on every processor seen.
BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, w) ar = Relu(a) "
    "b = Conv<group=32,pads=[3,3,3,3]>(ar, m) br = Relu(b) "
    "c = Conv(br, p) d = Conv<group=32,pads=[1,1,1,1]>(c, d3) y = Conv(d, q)"
)
SHAPES = {"w": (32, 32, 3, 3), "m": (64, 1, 7, 7), "p": (32, 64, 1, 1), "d3": (32, 1, 3, 3), "q": (32, 32, 1, 1)}
NAMES = ["Conv_0", "Conv_2", "Conv_4", "Conv_5", "Conv_6"]
MULTIPLIER = "Conv_2"
SETTINGS = Settings(bias_correction=False)
X = RNG.normal(size=(4, 32, 16, 16)).astype(np.float32)


@pytest.fixture
def multiplier():
    arrays = {name: (RNG.normal(size=s) * (2 / np.prod(s[1:])) ** 0.5).astype("f") for name, s in SHAPES.items()}
    return graphs.model(BODY, arrays, "float[N,32,16,16] x", "float[N,32,16,16] y")


@pytest.fixture
def context(multiplier, tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    source = open_source(str(tmp_path / "x.npz"), interface(multiplier)[0])
    return Context(baseline=multiplier, workdir=tmp_path, calibration=source, threads=1)


def test_only_shapes_that_depend_on_the_processor_are_doubtful(multiplier):
    assert doubtful(multiplier, QuantizationPlan(static=tuple(NAMES))) == [MULTIPLIER]
    assert doubtful(multiplier, QuantizationPlan(static=("Conv_0",))) == ["Conv_0"]  # between floats


def test_surroundings_have_the_form_that_the_plan_gives_them(multiplier):
    node = named(multiplier.graph, [MULTIPLIER])[0]
    others = set(named(multiplier.graph, NAMES)) - {node}
    for chosen, expected in ((others, ("before", "after")), (set(), ())):
        around = surroundings(node, (1, 32, 16, 16), place(multiplier.graph, chosen), dict(multiplier.opset_imports))
        assert around.integers == expected
        assert [n.op_type for n in around.model.graph] == ["Conv", "Conv", "Relu", "Conv"]
        quantized = around.model.clone()
        apply_plan(quantized, QuantizationPlan(static=(*around.integers, LAYER)), around.observations, SETTINGS)
        x = RNG.normal(size=(1, 16, 16, 16)).astype(np.float32)
        assert Session(quantized, threads=1).run({"x": x}).popitem()[1].shape[0] == 1


def test_timings_are_kept_and_come_from_there(multiplier, tmp_path, monkeypatch, resources):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def timed():
        plan = QuantizationPlan(static=tuple(NAMES))
        return time_layers(multiplier, plan, [MULTIPLIER], {"x": X[:1]}, resources, reduced_range=False)[MULTIPLIER]

    first = timed()
    assert first.slower and first.ratio > 2
    (kept,) = (tmp_path / "cache").rglob("*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "integer_s": 1e-9}))
    assert not timed().slower
    kept.write_text("{")
    assert timed().slower
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert timed().slower
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # of a user without a home
    assert timed().slower


def test_auto_computes_the_slow_shape_in_float_and_int8_does_not(multiplier, context):
    outcome = quantize.Config().run(multiplier.clone(), context)
    assert outcome.facts["quantized"]["static"] < len(NAMES)
    assert any(note.node == MULTIPLIER and "timed on this machine" in note.text for note in outcome.notes)
    assert MULTIPLIER in [row["layer"] for row in outcome.facts["timed"]]
    repeated = multiplier.clone()
    for pinned in yaml.safe_load("\n".join(outcome.facts["recipe_lines"])):
        module = {"quantize": quantize, "quantize_weights": quantize_weights}[pinned["type"]]
        found = module.Config(**pinned).run(repeated, context)
        repeated = found.model
        assert "timed" not in found.facts
    assert serialize(repeated, context.workdir) == serialize(outcome.model, context.workdir)
    forced = quantize.Config(scheme="int8").run(multiplier.clone(), context)
    assert forced.facts["quantized"]["static"] == len(NAMES)


def test_a_slow_result_is_tried_without_what_makes_it_slow(multiplier, context):
    plan = QuantizationPlan(static=tuple(NAMES))
    plan, with_ranges = observe_static(multiplier, plan, quantize.Config(), context.calibration, context, means=False)

    def build(part):
        clone = multiplier.clone()
        apply_plan(clone, part, with_ranges, SETTINGS)
        return clone

    decision = keep_pace(Trial(multiplier, build, False, context), plan)
    assert MULTIPLIER not in decision.plan.layers
    assert {*decision.plan.layers, *decision.plan.weights} == set(NAMES)
    assert decision.facts["pace"]["after"] < decision.facts["pace"]["before"]


def test_floats_go_back_to_the_form_before_preparing_where_that_was_faster(context):
    arrays = {"p": RNG.normal(size=(32, 32, 1, 1)).astype("f"), "zero": np.zeros(1, "f")}
    x, y = "float[N,32,16,16] x", "float[N,32,16,16] y"
    given = graphs.model("y = Conv(x, p)", arrays, x, y)
    waste = " ".join(f"w{i} = Tan(x) u{i} = Mul(w{i}, zero)" for i in range(8))
    slow = graphs.model(f"a = Conv(x, p) {waste} y = Sum(a, {', '.join(f'u{i}' for i in range(8))})", arrays, x, y)
    outcome = quantize.Config().run(slow, replace(context, baseline=given, unprepared=given))
    assert outcome.facts["pace"]["before"] > 1
    assert "Tan" not in [node.op_type for node in outcome.model.graph]
    assert outcome.facts["quantized"] == {"static": 0, "dynamic": 0, "weights": 1}


def test_layers_in_bodies_leave_the_result_to_be_timed_all_the_same(context):
    arrays = {name: RNG.normal(size=(64, 64)).astype("f") / 8 for name in "wv"}
    text = """y = If (flag) <
        then_branch = yes () => (float[N,64] t) { [first] a = MatMul(x, w) b = Relu(a) [second] t = MatMul(b, v) },
        else_branch = no () => (float[N,64] e) { e = Relu(x) }>"""
    model = graphs.model(text, arrays, "float[N,64] x, bool flag", "float[N,64] y")
    outcome = quantize.Config().run(model, replace(context, baseline=model, calibration=None))
    assert not [note.text for note in outcome.notes if "not timed" in note.text]
    assert "pace" in outcome.facts


def test_the_batch_size_of_the_report_is_timed(multiplier, context, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    quantize.Config().run(multiplier.clone(), replace(context, batch_size=3))
    kept = [json.loads(file.read_text())["what"] for file in (tmp_path / "cache").rglob("*.json")]
    whole = [what[1] for what in kept if isinstance(what[1], dict)]
    assert whole and all(shapes == {"x": [3, 32, 16, 16]} for shapes in whole)
