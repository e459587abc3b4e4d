"""Which nodes a scheme takes, and which it leaves with a reason."""

import pytest

from compressctl.errors import UsageError
from compressctl.quantization.int8.plan import QuantizationPlan, make_plan
from compressctl.selection import Selection
from tests import graphs

weight = graphs.Random(5)


def plan(
    body: str, arrays: dict, x: str, y: str, scheme: str = "auto", calibrated: bool = True, dynamic=(), **selection
):
    m = graphs.model(body, arrays, x, y)
    return make_plan(m, scheme, Selection(**selection), calibrated=calibrated, embeddings=True, dynamic=dynamic)


CNN = "c = Conv(x, w) r = Relu(c) f = Flatten(r) g = Gemm(f, k) s = Relu(g) y = Gemm(s, v)"
CNN_ARRAYS = {"w": weight(8, 4, 1, 1), "k": weight(128, 64), "v": weight(64, 64)}
CNN_IO = ("float[N,4,4,4] x", "float[N,64] y")


def test_auto_is_static_for_convolutions_and_the_layers_behind_them():
    chosen, _ = plan(CNN, CNN_ARRAYS, *CNN_IO)
    assert chosen == QuantizationPlan(static=("Conv_0", "Gemm_3", "Gemm_5"))


def test_auto_without_samples_is_dynamic_and_says_what_it_leaves():
    chosen, notes = plan(CNN, CNN_ARRAYS, *CNN_IO, calibrated=False)
    assert chosen == QuantizationPlan(dynamic=("Gemm_3", "Gemm_5"))
    assert any(note.kind == "warning" and "1 convolutions compute in float" in note.text for note in notes)


def test_auto_is_dynamic_behind_what_carries_no_integers():
    body = "c = Conv(x, w) t = Tanh(c) f = Flatten(t) y = Gemm(f, k)"
    chosen, _ = plan(body, CNN_ARRAYS, *CNN_IO)
    assert chosen == QuantizationPlan(static=("Conv_0",), dynamic=("Gemm_3",))


@pytest.mark.parametrize(
    ("channels", "group", "taken"), [(64, 1, True), (64, 64, True), (64, 16, False), (64, 2, True)]
)
def test_auto_leaves_narrow_groups_in_float(channels, group, taken):
    body = f"y = Conv<group={group}>(x, w)"
    arrays = {"w": weight(channels, channels // group, 3, 3)}
    chosen, notes = plan(body, arrays, f"float[N,{channels},8,8] x", "float[N,C,H,W] y")
    assert bool(chosen.static) == taken
    assert taken or any("channels a group" in note.text and note.node == "Conv_0" for note in notes)
    assert chosen.weights == (() if taken else ("Conv_0",))
    forced, _ = plan(body, arrays, f"float[N,{channels},8,8] x", "float[N,C,H,W] y", scheme="int8")
    assert forced.static == ("Conv_0",)


def test_static_scheme_without_samples_is_refused():
    with pytest.raises(UsageError, match="calibrat"):
        plan(CNN, CNN_ARRAYS, *CNN_IO, scheme="int8", calibrated=False)


def test_selection():
    assert plan(CNN, CNN_ARRAYS, *CNN_IO, exclude=("Gemm_*",))[0].layers == ("Conv_0",)
    assert plan(CNN, CNN_ARRAYS, *CNN_IO, include=("*_3",), scheme="int8-dynamic")[0].layers == ("Gemm_3",)
    assert plan(CNN, CNN_ARRAYS, *CNN_IO, include_op=("Conv",))[0].layers == ("Conv_0",)
    assert plan(CNN, CNN_ARRAYS, *CNN_IO, exclude_op=("Conv",))[0].layers == ("Gemm_3", "Gemm_5")


def test_what_stays_float_is_named():
    body = "n = Neg(k) h = MatMul(x, n) y = MatMul(h, k)"
    for scheme in ("auto", "int8", "int8-dynamic"):
        chosen, (note,) = plan(body, {"k": weight(64, 64)}, "float[64,64] x", "float[64,64] y", scheme=scheme)
        assert chosen.layers == ("MatMul_2",)
        assert (note.node, note.text) == ("MatMul_1", "its weight is made by Neg as the model runs")


@pytest.mark.parametrize("scheme", ["auto", "int8", "int8-dynamic"])
def test_products_of_activations_have_no_weights_to_tell_of(scheme):
    body = """
      q = MatMul(x, k) t = Transpose<perm = [1, 0]>(q) s = MatMul(q, t) a = Softmax(s) g = Gemm(a, x) y = MatMul(g, k)
    """
    chosen, notes = plan(body, {"k": weight(64, 64)}, "float[64,64] x", "float[64,64] y", scheme=scheme)
    assert chosen.layers == ("MatMul_0", "MatMul_5") and not notes


def test_without_and_only():
    whole = QuantizationPlan(static=("a", "b"), dynamic=("c",))
    assert whole.without(["a", "c"]) == QuantizationPlan(static=("b",))
    assert whole.only(["c"]) == QuantizationPlan(dynamic=("c",))


def test_what_is_to_be_dynamic_is_not_static():
    chosen, _ = plan(CNN, CNN_ARRAYS, *CNN_IO, scheme="int8", dynamic=("Gemm_5",))
    assert chosen == QuantizationPlan(static=("Conv_0", "Gemm_3"), dynamic=("Gemm_5",))
    assert plan(CNN, CNN_ARRAYS, *CNN_IO, dynamic=("Gemm_*",))[0].dynamic == ("Gemm_3", "Gemm_5")
    chosen, (note,) = plan(CNN, CNN_ARRAYS, *CNN_IO, scheme="int8", dynamic=("Conv_0",))
    assert "Conv_0" in chosen.static and note.node == "Conv_0" and "statically all the same" in note.text


def test_parts_of_a_plan_keep_what_calibration_did_not_see():
    whole = QuantizationPlan(("a", "b"), ("c",), frozenset({"t"}))
    assert {part.in_float for part in (whole.without(["a"]), whole.only("b"), whole.dynamically(["a"]))} == {
        whole.in_float
    }
