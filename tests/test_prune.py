"""Pass prune on graphs, against the model with the same units switched off, and on the sample models."""

import numpy as np
import onnx_ir as ir
import pytest

from compressctl.data.notation import open_source
from compressctl.errors import ModelError, PassError, UsageError
from compressctl.measure.metrics import parse_metric
from compressctl.measure.session import Session
from compressctl.model.load import interface, load_model
from compressctl.model.size import count
from compressctl.passes import prune, quantize
from compressctl.passes.prune.run import cuttable
from compressctl.structure.groups import find_groups
from compressctl.structure.masked import masked
from tests.graphs import model
from tests.passes import apply
from tests.pruning.units import array, network
from tests.samples import SAMPLES
from tests.training.passes import right

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 2, 6, 6)).astype(np.float32)


def cut(graph, folder, **options):
    for key in options.keys() & {"calibration", "evaluation"}:
        options[key] = open_source(options[key], interface(graph)[0])
    return apply(prune, graph, folder, **options)


def sizes(outcome) -> dict[str, int]:
    return {row["name"]: row["after"] for row in outcome.facts["groups"]}


def texts(outcome, kind) -> list[str]:
    return [note.text for note in outcome.notes if note.kind == kind]


def test_the_cut_model_computes_what_the_masked_one_does(tmp_path):
    graph = network()
    out = cut(graph, tmp_path, ratio=0.5)
    assert sizes(out) == {"Conv_0": 16, "Conv_2": 8, "Gemm_8": 3}
    norms = {
        "Conv_0": (array(graph, "W1") ** 2).sum(axis=(1, 2, 3)),
        "Conv_2": (array(graph, "W2") ** 2).sum(axis=(1, 2, 3)) + (array(graph, "W3") ** 2).sum(axis=(1, 2, 3)),
    }
    removed = {name: np.argsort(norm)[: len(norm) // 2] for name, norm in norms.items()}
    expected = Session(masked(graph, find_groups(graph), removed), threads=1).run({"x": X})["y"]
    np.testing.assert_allclose(Session(out.model, threads=1).run({"x": X})["y"], expected, rtol=1e-4, atol=1e-5)
    assert array(graph, "W1").shape == (32, 2, 3, 3)  # what came in stays


def test_facts_tell_units_work_and_parameters(tmp_path):
    graph = network()
    out = cut(graph, tmp_path, ratio=0.5)
    row = {"name": "Conv_0", "kind": "channel", "original": 32, "before": 32, "after": 16, "considered": True}
    assert out.facts["groups"][0] == {**row, "reasons": []}
    assert out.facts["groups"][2]["reasons"] == ["'y' is an output of the model"]
    assert out.facts["macs"] == {"before": count(graph, {}).macs, "after": count(out.model, {}).macs}
    # W1, B1, W2, W3, W4
    assert out.facts["parameters"]["before"] == 32 * 18 + 32 + 16 * 32 * 9 + 16 * 2 + 3 * 16
    assert out.facts["parameters"]["after"] == 16 * 18 + 16 + 8 * 16 * 9 + 8 * 2 + 3 * 8
    assert texts(out, "done") == ["16 of 32 channels stay", "8 of 16 channels stay"]
    assert not texts(out, "skipped")  # that an output keeps its size needs no saying


@pytest.mark.parametrize("name", ["cnn", "transformer", "mlp", "lstm"])
def test_sample_models_are_cut_and_reconstructed(name, tmp_path):
    graph = load_model(SAMPLES / f"{name}.onnx").model
    plain, fitted = (
        cut(graph, tmp_path, ratio=0.5, calibration="digits:train[:256]", reconstruct=reconstruct)
        for reconstruct in (False, None)
    )
    assert sizes(plain) == sizes(fitted)
    assert count(fitted.model, {}).macs < 0.7 * count(graph, {}).macs
    assert right(graph) > 0.95 and right(fitted.model) >= right(plain.model)
    assert fitted.facts["output_errors"] and not plain.facts["output_errors"]
    if name != "lstm":
        assert right(fitted.model) > 0.7


@pytest.mark.parametrize("importance", ["l1", "geometric-median", "random", "activation", "taylor", "hessian"])
def test_importances_choose(importance, tmp_path):
    graph = load_model(SAMPLES / "mlp.onnx").model
    given = {"calibration": "digits:train[:64]"} if importance in ("activation", "taylor", "hessian") else {}
    out = cut(graph, tmp_path, ratio=0.5, importance=importance, reconstruct=False, **given)
    assert sizes(out)["/hidden/Gemm"] == 64
    rows = array(out.model, "hidden.weight")
    default = array(cut(graph, tmp_path, ratio=0.5).model, "hidden.weight")
    assert not np.array_equal(rows, default)
    assert {row.tobytes() for row in rows} <= {row.tobytes() for row in array(graph, "hidden.weight")}


def test_gradients_take_a_device(tmp_path):
    graph = load_model(SAMPLES / "mlp.onnx").model
    given = {"calibration": "digits:train[:16]", "device": "auto"}
    assert sizes(cut(graph, tmp_path, ratio=0.5, importance="taylor", **given))["/hidden/Gemm"] == 64


def test_activation_is_the_default_where_there_are_samples(tmp_path):
    graph = load_model(SAMPLES / "mlp.onnx").model
    default, explicit = (
        cut(graph, tmp_path, ratio=0.5, importance=importance, calibration="digits:train[:64]")
        for importance in (None, "activation")
    )
    np.testing.assert_array_equal(array(default.model, "hidden.weight"), array(explicit.model, "hidden.weight"))


def test_structures_choose_kinds(tmp_path):
    graph = load_model(SAMPLES / "transformer.onnx").model
    heads = cut(graph, tmp_path, structure=("head",), ratio=0.5)
    assert sizes(heads)["/layer1/query/MatMul"] == 2 and sizes(heads)["/layer1/expand/MatMul"] == 128
    width = cut(graph, tmp_path, structure=("width",), ratio=0.5)
    assert sizes(width)["/embed/MatMul"] == 32 and sizes(width)["/layer1/query/MatMul"] == 4
    block = cut(graph, tmp_path, structure=("block",), ratio=0.5)
    assert len(block.model.graph) < len(graph.graph) and block.facts["macs"]["after"] < block.facts["macs"]["before"]


def test_include_and_exclude_take_nodes_that_make_units(tmp_path):
    graph = load_model(SAMPLES / "transformer.onnx").model
    only = sizes(cut(graph, tmp_path, ratio=0.5, include=("/layer1/*",)))
    assert only["/layer1/expand/MatMul"] == 64 and only["/layer2/expand/MatMul"] == 128
    others = sizes(cut(graph, tmp_path, ratio=0.5, exclude=("/layer1/expand/MatMul",)))
    assert others["/layer1/expand/MatMul"] == 128 and others["/layer2/expand/MatMul"] == 64
    with pytest.raises(UsageError, match=r"include '/layer9/\*' matches no node"):
        cut(graph, tmp_path, ratio=0.5, include=("/layer9/*",))


def test_round_to_one_keeps_exactly_the_share(tmp_path):
    assert sizes(cut(network(), tmp_path, ratio=0.4, round_to=1)) == {"Conv_0": 20, "Conv_2": 10, "Gemm_8": 3}


def test_a_global_ratio_takes_what_matters_least(tmp_path):
    graph = network()
    weak = array(graph, "W1").copy()
    weak[:24] *= 1e-3
    graph.graph.initializers["W1"].const_value = ir.tensor(weak, name="W1")
    out = cut(graph, tmp_path, ratio=0.5, scope="global", round_to=1)
    assert sizes(out) == {"Conv_0": 8, "Conv_2": 16, "Gemm_8": 3}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_rounds_say_how_far_they_have_come(scope, tmp_path):
    graph = network()
    first = cut(graph, tmp_path, ratio=0.25, scope=scope, round_to=1)
    second = cut(first.model, tmp_path, ratio=0.5, scope=scope, round_to=1)
    left = sizes(second)["Conv_0"] + sizes(second)["Conv_2"]
    assert left == 24  # of 48, not of the 36 that the first round left
    assert second.facts["groups"][0]["original"] == 32


@pytest.mark.parametrize(
    "key, limit",
    [("target_macs", 0.5), ("target_size", 0.5), pytest.param("target_latency", 0.95, marks=pytest.mark.long)],
)
def test_targets_are_met_on_the_cut_model(key, limit, tmp_path, monkeypatch):
    monkeypatch.setattr("compressctl.pruning.targets._SECONDS", 0.2)
    graph = load_model(SAMPLES / "cnn.onnx").model
    out = cut(graph, tmp_path, **{key: limit})
    (target,) = out.targets
    assert (target.key, target.limit) == (key, limit) and target.value <= limit
    if key == "target_macs":
        assert target.value == out.facts["macs"]["after"] / out.facts["macs"]["before"] > 0.4


def test_targets_are_shares_of_the_model_as_it_was_loaded(tmp_path):
    graph = load_model(SAMPLES / "cnn.onnx").model
    half = cut(graph, tmp_path, target_macs=0.5).model
    again = cut(half, tmp_path, target_macs=0.55, baseline=graph)
    assert not any(row["after"] < row["before"] for row in again.facts["groups"])
    assert texts(again, "warning") == ["nothing was cut: rounding keeps as many units as there are"]


def test_a_target_out_of_reach_gives_the_best(tmp_path):
    out = cut(network(), tmp_path, target_macs=0.01)
    assert out.targets[0].value > 0.01
    assert sizes(out) == {"Conv_0": 16, "Conv_2": 4, "Gemm_8": 3}  # one multiple each


def test_sensitivity_is_reported_and_auto_keeps_the_budget(tmp_path):
    graph = load_model(SAMPLES / "mlp.onnx").model
    given = {"evaluation": "digits:test", "metric": parse_metric("top1"), "calibration": "digits:train[:128]"}
    out = cut(graph, tmp_path, ratio="auto", sensitivity_samples=64, max_accuracy_drop=0.02, **given)
    curves = out.facts["sensitivity"]
    assert curves["ratios"] == [0.25, 0.5, 0.75] and curves["layers"][0]["layer"] == "/hidden/Gemm"
    assert curves["layers"][0]["noise"] == sorted(curves["layers"][0]["noise"])
    assert sizes(out)["/hidden/Gemm"] < 128
    assert right(graph) - right(out.model) <= 0.02
    with pytest.raises(UsageError, match="ratio auto needs a budget"):
        cut(graph, tmp_path, ratio="auto", calibration="digits:train[:64]")


def test_what_is_asked_too_little_is_told(tmp_path):
    out = cut(network(), tmp_path, ratio=0.01)
    assert texts(out, "warning") == ["nothing was cut: rounding keeps as many units as there are"]
    assert sizes(out) == {"Conv_0": 32, "Conv_2": 16, "Gemm_8": 3}


def test_positions_that_the_graph_computes_are_folded_first(tmp_path):
    """A gated layer whose two halves are sliced where half of the size, as Shape gives it, lies."""
    body = """
      h = MatMul(x, W) s = Shape(h) d = Gather(s, last) u = Add(d, one) q = Div(u, two) e = Mul(q, two)
      a = Slice(h, zero, q, last) g = Slice(h, q, e, last) t = Tanh(g) m = Mul(a, t) y = MatMul(m, V)
    """
    arrays = {"W": RNG.normal(size=(8, 64)).astype("f"), "V": RNG.normal(size=(32, 8)).astype("f")}
    arrays |= {name: np.array([at]) for name, at in (("zero", 0), ("one", 1), ("two", 2), ("last", 2))}
    gated = model(body, arrays, "float[b, s, 8] x", "float[b, s, 8] y")
    (note, _) = cuttable(gated)
    assert note.text == "cut some of 32 neurons (--structure neuron)"
    out = cut(gated, tmp_path, ratio=0.5)
    assert sizes(out)["MatMul_0"] == 16 and out.model.graph.initializers["W"].shape == (8, 32)


def test_what_froze_is_told(tmp_path):
    single = model("y = MatMul(x, W)", {"W": np.ones((4, 3), np.float32)}, "float[N, 4] x", "float[N, 3] y")
    with pytest.raises(
        ModelError, match=r"nothing to cut of channel, neuron, head: 'y' is an output of the model \(1\)"
    ):
        cut(single, tmp_path, ratio=0.5)
    with pytest.raises(ModelError, match=r"nothing to cut of head.*there are units of channel"):
        cut(network(), tmp_path, ratio=0.5, structure=("head",))
    with pytest.raises(UsageError, match=r"include and exclude leave nothing to cut of channel.*without them: Conv_0"):
        cut(network(), tmp_path, ratio=0.5, structure=("channel",), include=("Gemm*",))


def test_quantized_models_are_refused(tmp_path):
    graph = load_model(SAMPLES / "mlp.onnx").model
    small = apply(quantize, graph, tmp_path, scheme="int8-dynamic").model
    with pytest.raises(ModelError, match=r"quantized already.*prune before quantizing"):
        cut(small, tmp_path, ratio=0.5)


def test_samples_are_asked_for(tmp_path):
    for options in (
        {"importance": "activation"},
        {"importance": "taylor"},
        {"reconstruct": True},
        {"sensitivity": True},
    ):
        with pytest.raises(UsageError, match=r"samples.*--calibrate D"):
            cut(network(), tmp_path, ratio=0.5, **options)


def test_a_cut_that_computes_something_else_is_a_fault_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("compressctl.pruning.cutting.masked", lambda graph, *_: graph.clone())
    with pytest.raises(PassError, match="differs from the model with the same units switched off"):
        cut(network(), tmp_path, ratio=0.5)
