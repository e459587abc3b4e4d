import numpy as np
import onnx_ir as ir
import pytest

from compressctl.model import graph as g
from compressctl.model.verify import verify_graph
from tests.graphs import parsed
from tests.model.texts import BRANCHES, CNN, answer, cnn_weights, image, node


@pytest.fixture
def cnn() -> ir.Model:
    return parsed(CNN, **cnn_weights())


CONSTANTS = """
m (float[2] x, float[2] given) => (float[2] y)
<float[2] given = {1, 2}, float[2] kept = {3, 4}>
{
    a = Constant <value = float[2] {5, 6}> ()
    b = Constant <value_float = 7.5> ()
    c = Constant <value_ints = [8, 9]> ()
    shape = Constant <value = int64[2] {2, 3}> ()
    d = ConstantOfShape <value = float[1] {0.5}> (shape)
    e = ConstantOfShape (shape)
    y = Sum (x, given, kept, a, b)
}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kept", np.array([3, 4], np.float32)),
        ("a", np.array([5, 6], np.float32)),
        ("b", np.float32(7.5)),
        ("c", np.array([8, 9])),
        ("d", np.full((2, 3), 0.5, np.float32)),
        ("e", np.zeros((2, 3), np.float32)),
    ],
)
def test_constant_reads_every_form(name: str, expected: np.ndarray) -> None:
    array = g.constant(ir.convenience.create_value_mapping(parsed(CONSTANTS).graph)[name])
    assert array is not None
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", ["x", "given", "y"])
def test_constant_is_none_for_what_can_vary(name: str) -> None:
    assert g.constant(ir.convenience.create_value_mapping(parsed(CONSTANTS).graph)[name]) is None
    assert g.constant(None) is None


def test_bias_is_the_operand_that_the_schema_calls_so() -> None:
    values = [ir.Value(name=name) for name in "abcdefghi"]
    assert g.bias_of(ir.node("Conv", values[:3])) is values[2]
    assert g.bias_of(ir.node("Conv", values[:2])) is None
    assert g.bias_of(ir.node("QLinearConv", values)) is values[8]
    assert g.bias_of(ir.node("LSTM", [*values[:3], None, *values[4:6]])) is None
    assert g.bias_of(ir.node("MatMul", values[:2])) is None


def test_a_huge_constant_of_shape_takes_no_memory() -> None:
    text = """m (float[1] x) => (float[n, m, k] y) {
        shape = Constant <value = int64[3] {100000, 100000, 100}> ()
        y = ConstantOfShape (shape)
    }"""
    array = g.constant(parsed(text).graph.outputs[0])
    assert array is not None
    assert array.shape == (100000, 100000, 100)
    assert array.base is not None
    assert array.strides == (0, 0, 0)


def test_initializer_takes_a_unique_name(cnn: ir.Model) -> None:
    first, second = (g.initializer(cnn.graph, "kernel", np.arange(6, dtype=np.int8).reshape(2, 3)) for _ in range(2))
    assert [first.name, second.name] == ["kernel_1", "kernel_2"]
    assert first.dtype == ir.DataType.INT8
    assert first.shape == ir.Shape([2, 3])
    np.testing.assert_array_equal(g.constant(first), [[0, 1, 2], [3, 4, 5]])
    scalar = g.initializer(cnn.graph, "scale", np.array(0.5, np.float32))
    assert scalar.shape == ir.Shape([])


def test_unique_name_sees_names_inside_bodies() -> None:
    graph = parsed(BRANCHES).graph
    assert g.unique_name(graph, "free") == "free"
    assert g.unique_name(graph, "t") == "t_1"


def test_inserted_nodes_get_names_and_keep_the_graph_valid(cnn: ir.Model) -> None:
    relu = node(cnn, "relu")
    scale = g.initializer(cnn.graph, "two", np.array(2, np.float32))
    times = ir.node("Mul", [relu.inputs[0], scale], name="relu")
    g.insert_before(cnn.graph, relu, [times])
    relu.replace_input_with(0, times.outputs[0])
    assert times.name == "relu_1"
    verify_graph(cnn, where="insert")
    offset = cnn_weights()["offset"]
    before = answer(parsed(CNN, **cnn_weights()), image=image())[0] - offset
    np.testing.assert_allclose(answer(cnn, image=image())[0] - offset, 2 * before, rtol=1e-4, atol=1e-5)


def test_replacing_a_node_keeps_the_names_of_its_outputs(cnn: ir.Model) -> None:
    gemm = node(cnn, "fc")
    transpose = ir.node("Transpose", [gemm.inputs[1]])
    product = ir.node("MatMul", [gemm.inputs[0], transpose.outputs[0]])
    total = ir.node("Add", [product.outputs[0], gemm.inputs[2]])
    expected = answer(cnn, image=image())
    g.replace_node(cnn.graph, gemm, [transpose, product, total])
    verify_graph(cnn, where="replace")
    assert cnn.graph.outputs[0].name == "logits"
    assert cnn.graph.outputs[0].shape == ir.Shape(["batch", 5])
    np.testing.assert_allclose(answer(cnn, image=image()), expected, rtol=1e-5, atol=1e-5)


def test_a_value_that_was_there_keeps_its_name(cnn: ir.Model) -> None:
    relu = node(cnn, "relu")
    g.replace_node(cnn.graph, relu, [], [relu.inputs[0]])
    assert node(cnn, "pool").inputs[0].name == "a"
    verify_graph(cnn, where="bypass")


def test_a_graph_output_is_replaced_through_an_identity() -> None:
    model = parsed("""m (float[2] x) => (float[2] y) { [last] y = Neg (x) }""")
    g.replace_node(model.graph, node(model, "last"), [], [model.graph.inputs[0]])
    verify_graph(model, where="bypass")
    x = np.array([1, -2], np.float32)
    np.testing.assert_array_equal(answer(model, x=x)[0], x)


def test_replacing_needs_one_value_for_each_output(cnn: ir.Model) -> None:
    with pytest.raises(ValueError, match="'relu' has 1 outputs, 0 are"):
        g.replace_node(cnn.graph, node(cnn, "relu"), [], [])


def test_a_captured_value_follows_a_replacement() -> None:
    model = parsed(BRANCHES)
    outer = node(model, "outer")
    g.replace_node(
        model.graph,
        outer,
        [ir.node("Clip", [outer.inputs[0], g.initializer(model.graph, "zero", np.array(0, np.float32))])],
    )
    x = np.array([[1, -2, 3, -4]], np.float32)
    for flag, expected in ((True, np.maximum(x, 0) + np.abs(x)), (False, -np.maximum(x, 0))):
        np.testing.assert_array_equal(answer(model, x=x, flag=np.array(flag))[0], expected)


def test_dead_code_goes_and_captured_values_stay() -> None:
    model = parsed(BRANCHES, unused=np.zeros(3, np.float32))
    first = ir.node("Exp", [model.graph.inputs[0]])
    second = ir.node("Log", [first.outputs[0]])
    g.insert_before(model.graph, node(model, "choice"), [first, second])
    assert g.remove_dead(model) == 3
    assert [inner.name for inner in model.graph] == ["outer", "spare", "choice"]
    assert not model.graph.initializers


def test_bodies_are_found() -> None:
    graph = parsed(BRANCHES).graph
    assert [(inner.name, name, body.name) for inner, name, body in g.walk_subgraphs(graph)] == [
        ("choice", "then_branch", "yes"),
        ("choice", "else_branch", "no"),
    ]


def test_only_use() -> None:
    model = parsed(BRANCHES)
    values = ir.convenience.create_value_mapping(model.graph)
    assert not g.is_only_use(values["h"], node(model, "add"))  # the other branch uses it too
    assert g.is_only_use(values["k"], node(model, "add"))
    assert not g.is_only_use(values["y"], node(model, "choice"))


def test_opsets_are_only_raised(cnn: ir.Model) -> None:
    g.ensure_opset(cnn, "com.microsoft", 1)
    g.ensure_opset(cnn, "", 13)
    assert cnn.opset_imports == {"": 17, "com.microsoft": 1}
