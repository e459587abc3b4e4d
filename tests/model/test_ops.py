"""The catalogue of operators against the schemas of onnx and of onnxruntime, which know nothing of it."""

from __future__ import annotations

from itertools import combinations

import onnx.defs
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from compressctl.model import ops

SETS = {name: value for name, value in vars(ops).items() if isinstance(value, frozenset)}
ONNX = {schema.name: schema for schema in onnx.defs.get_all_schemas() if not schema.domain}
MICROSOFT = {schema.name: schema for schema in get_all_operator_schema() if schema.domain == "com.microsoft"}
ML = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == "ai.onnx.ml"}

ALIKE = {  # operators, and the names of their inputs in the schemas, by role
    "Conv ConvTranspose DeformConv FusedConv NhwcFusedConv": {"weights": "W", "biases": "B"},
    "CausalConvWithState QAttention": {"weights": "weight", "biases": "bias"},
    "Gemm FusedGemm QGemm": {"weights": "B", "biases": "C"},
    "MatMul FusedMatMul MatMulInteger": {"weights": "B"},
    "LSTM DynamicQuantizeLSTM": {"weights": "W R", "biases": "B", "scales": "P"},
    "GRU RNN": {"weights": "W R", "biases": "B"},
    "BatchNormalization": {"scales": "scale", "biases": "B", "statistics": "input_mean input_var"},
    "LayerNormalization": {"scales": "Scale", "biases": "B"},
    "InstanceNormalization": {"scales": "scale", "biases": "B"},
    "GroupNormalization": {"scales": "scale", "biases": "bias"},
    "RMSNormalization": {"scales": "scale"},
    "PRelu": {"scales": "slope"},
    "Gather GatherBlockQuantized": {"tables": "data"},
    "ConvInteger": {"weights": "w"},
    "QLinearConv": {"weights": "w", "biases": "B"},
    "QLinearMatMul": {"weights": "b"},
    "MatMulIntegerToFloat DynamicQuantizeMatMul MatMulNBits": {"weights": "B", "biases": "bias"},
}
NAMES = {op: names for listed, names in ALIKE.items() for op in listed.split()}


def inputs(op: str) -> list[str]:
    return [one.name for one in (ONNX.get(op) or MICROSOFT[op]).inputs]


@pytest.mark.parametrize("name", SETS)
def test_every_name_is_an_operator(name: str) -> None:
    assert SETS[name] - ONNX.keys() - MICROSOFT.keys() <= (ML if name == "CLASSIFIERS" else set())


@pytest.mark.parametrize(
    "names",
    [
        (
            "UNARY",
            "BROADCAST",
            "MOVEMENT",
            "POOLS",
            "REDUCTIONS",
            "RANDOM",
            "CONTROL_FLOW",
            "LAYERS",
            "SCATTERS",
            "QDQ",
        ),
        ("MATHEMATICAL", "ACTIVATIONS", "PREDICATES", "CASTS"),
        ("ARITHMETIC", "COMPARISONS"),
        ("CONVOLUTIONAL", "GEMM_FORMS", "MATMUL_FORMS", "RECURRENT_FORMS", "LOOK_UPS", "ATTENTION"),
        ("LAST_AXIS_NORMS", "CHANNEL_NORMS", "LAYERS"),
    ],
)
def test_families_are_disjoint(names: tuple[str, ...]) -> None:
    for one, other in combinations(names, 2):
        assert not SETS[one] & SETS[other], f"{one} and {other}"


def test_element_wise_operators_have_the_operands_that_their_family_says() -> None:
    for op in ops.UNARY - {"CastLike", "Clip"}:  # which read a type and bounds, too
        assert len(ONNX[op].inputs) == 1, op
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    for op in ops.BROADCAST:
        given = ONNX[op].inputs
        assert len(given) == (3 if op == "Where" else 2) or given[0].option == variadic, op


def test_operators_with_bodies_are_control_flow() -> None:
    graph = onnx.defs.OpSchema.AttrType.GRAPH
    assert {op for op, schema in ONNX.items() if any(a.type == graph for a in schema.attributes.values())} == set(
        ops.CONTROL_FLOW
    )


def test_families_that_share_a_name_are_whole() -> None:
    assert {op for op in ONNX if op.startswith("Reduce")} == ops.REDUCTIONS
    assert {op for op in ONNX if op.endswith("Pool") and "Roi" not in op} == ops.POOLS
    assert {op for op in ONNX if op.startswith("Scatter")} == ops.SCATTERS
    assert {op for op in ONNX if op.startswith("Random")} <= ops.RANDOM


@pytest.mark.parametrize("op", sorted(ops.OPERANDS.keys() - {"Einsum"}))  # whose inputs have one name together
def test_operands_are_those_that_the_schema_calls_so(op: str) -> None:
    known = ops.OPERANDS[op]
    roles = ("weights", "scales", "biases", "statistics", "tables")
    found = {role: " ".join(inputs(op)[index] for index in getattr(known, role)) for role in roles}
    assert {role: names for role, names in found.items() if names} == NAMES[op]
    assert not known.commutes or inputs(op)[:2] == ["A", "B"]


@pytest.mark.parametrize("op", sorted(ops.QUANTIZED))
def test_quantized_tensors_have_the_scales_and_zero_points_of_their_names(op: str) -> None:
    schemas = [schemas[op] for schemas in (ONNX, MICROSOFT) if op in schemas]
    for schema in schemas:
        names = [one.name.lower() for one in schema.inputs]
        for triple in ops.QUANTIZED[op]:
            for kind, index in (("scale", triple.scale), ("zero_point", triple.zero)):
                assert index is None or kind in names[index]
            tensor = None if triple.tensor is None else names[triple.tensor]
            own = [names[index] for index in triple[1:] if index is not None]
            prefixed = [name for name in own if not name.startswith(("scale", "zero_point", "y_", "c_"))]
            assert all(name.partition("_")[0] == tensor for name in prefixed), (tensor, own)


def test_layers_on_integers_have_quantized_weights() -> None:
    for op in ops.QUANTIZED_LAYERS:
        tensors = {triple.tensor for triple in ops.QUANTIZED[op]}
        assert set(ops.OPERANDS[op].weights) <= tensors, op
    forms = ops.CONV_FORMS | ops.GEMM_FORMS | ops.MATMUL_FORMS | ops.RECURRENT_FORMS
    assert forms - ops.LAYERS == set()
