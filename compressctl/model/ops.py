"""The catalogue of operators: what each is, and which of its operands are weights, scales, biases and tables.

Whoever asks what an operator is asks here. What onnxruntime makes of it (which integer kernels there are, what fuses)
is told where it counts, in terms of these sets. This module imports nothing heavy.

Sources: ONNX operator specification; onnxruntime's ContribOperators.md for the domain com.microsoft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# fmt: off
# Element by element: of one operand, and of several that are broadcast to one another.
MATHEMATICAL = frozenset({  # functions that torch has under the same name in lower case
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log",
    "Neg", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh",
})
ACTIVATIONS = frozenset({
    "Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu", "Shrink", "Sigmoid",
    "Softplus", "Softsign", "Swish", "ThresholdedRelu",
})
PREDICATES = frozenset({"BitwiseNot", "IsInf", "IsNaN", "Not"})
CASTS = frozenset({"Cast", "CastLike"})
UNARY = MATHEMATICAL | ACTIVATIONS | PREDICATES | CASTS | {"Identity"}

ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
BROADCAST = ARITHMETIC | COMPARISONS | {
    "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Max", "Mean", "Min", "Mod", "Or", "PRelu", "Pow",
    "Sum", "Where", "Xor",
}

# Properties of functions.
HOMOGENEOUS = frozenset({  # f(s * x) = s * f(x) for s > 0, channel by channel
    "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "PRelu", "Relu",
})
NON_NEGATIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})

# Data movement: what is given are elements of the first operand.
RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})  # all of them, in the same order
VIEWS = RESHAPES | {"Transpose"}  # all of them, once
MOVEMENT = VIEWS | {"Expand", "Gather", "Pad", "Slice", "Split", "Tile"}
FORMS = VIEWS | {"Cast", "DequantizeLinear", "Identity"}  # bring a constant into another form
SCATTERS = frozenset({"Scatter", "ScatterElements", "ScatterND"})
PICKING = frozenset({  # by the values of elements
    "ArgMax", "ArgMin", "Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique",
})

AVERAGES = frozenset({"AveragePool", "GlobalAveragePool"})
POOLS = AVERAGES | {"GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"}
REDUCTIONS = frozenset({
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
})
SOFTMAX = frozenset({"LogSoftmax", "Softmax"})
LAST_AXIS_NORMS = frozenset({"LayerNormalization", "RMSNormalization"})  # over the last axes
CHANNEL_NORMS = frozenset({"BatchNormalization", "InstanceNormalization"})  # channel by channel of [N, C, …]
RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})  # those that hold bodies
CLASSIFIERS = frozenset({"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"})  # of ai.onnx.ml

# Layers.
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = frozenset({"Gemm", "MatMul"})
LINEAR = CONVOLUTIONS | PRODUCTS
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
RECURRENT = frozenset(GATES)
ATTENTION = frozenset({"Attention", "GroupQueryAttention", "MultiHeadAttention", "QAttention"})
# fmt: on


@dataclass(frozen=True)
class Operands:
    """Which inputs of an operator are what, by index; activations and all else are left out.

    Attributes:
        weights: matrices and kernels that activations are multiplied by; of recurrent layers W and R.
        scales: vectors that activations are multiplied by, element by element.
        biases: what is added.
        statistics: running means and variances.
        tables: what rows are looked up in.
        commutes: whether input 0 may be the weight as well as the first of `weights`.
    """

    weights: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    biases: tuple[int, ...] = ()
    statistics: tuple[int, ...] = ()
    tables: tuple[int, ...] = ()
    commutes: bool = False

    @property
    def matrices(self) -> tuple[int, ...]:
        """Where the one matrix that is multiplied, or looked up in, may stand; of recurrent layers W."""
        return (*(self.weights or self.tables)[:1], *((0,) if self.commutes else ()))

    @property
    def parameters(self) -> tuple[int, ...]:
        """Which inputs a training may change."""
        left = (0,) if self.commutes else ()
        return (*self.weights, *left, *self.scales, *self.biases, *self.tables)


_AFFINE = Operands(scales=(1,), biases=(2,))
# Layers by what they compute, in float and in the forms that onnxruntime has of it: fused, and on integers.
_CONV = {
    "Conv": Operands(weights=(1,), biases=(2,)),
    "FusedConv": Operands(weights=(1,), biases=(2,)),
    "NhwcFusedConv": Operands(weights=(1,), biases=(2,)),
    "ConvInteger": Operands(weights=(1,)),
    "QLinearConv": Operands(weights=(3,), biases=(8,)),
}
_OTHER_CONV = {
    "CausalConvWithState": Operands(weights=(1,), biases=(2,)),
    "ConvTranspose": Operands(weights=(1,), biases=(2,)),
    "DeformConv": Operands(weights=(1,), biases=(3,)),
}
_GEMM = {
    "Gemm": Operands(weights=(1,), biases=(2,)),
    "FusedGemm": Operands(weights=(1,), biases=(2,)),
    "QGemm": Operands(weights=(3,), biases=(6,)),
}
_MATMUL = {
    "MatMul": Operands(weights=(1,), commutes=True),
    "FusedMatMul": Operands(weights=(1,), commutes=True),
    "MatMulInteger": Operands(weights=(1,), commutes=True),
    "MatMulIntegerToFloat": Operands(weights=(1,), biases=(6,), commutes=True),
    "DynamicQuantizeMatMul": Operands(weights=(1,), biases=(4,)),
    "QLinearMatMul": Operands(weights=(3,)),
    "MatMulNBits": Operands(weights=(1,), biases=(5,)),
}
_RECURRENT = {
    "LSTM": Operands(weights=(1, 2), biases=(3,), scales=(7,)),
    "GRU": Operands(weights=(1, 2), biases=(3,)),
    "RNN": Operands(weights=(1, 2), biases=(3,)),
    "DynamicQuantizeLSTM": Operands(weights=(1, 2), biases=(3,), scales=(7,)),
}
OPERANDS: dict[str, Operands] = {
    **_CONV,
    **_OTHER_CONV,
    **_GEMM,
    **_MATMUL,
    **_RECURRENT,
    "Einsum": Operands(weights=(1,), commutes=True),
    "QAttention": Operands(weights=(1,), biases=(2,)),
    "BatchNormalization": Operands(scales=(1,), biases=(2,), statistics=(3, 4)),
    "LayerNormalization": _AFFINE,
    "InstanceNormalization": _AFFINE,
    "GroupNormalization": _AFFINE,
    "RMSNormalization": Operands(scales=(1,)),
    "PRelu": Operands(scales=(1,)),
    "Gather": Operands(tables=(0,)),
    "GatherBlockQuantized": Operands(tables=(0,)),
}
CONV_FORMS, GEMM_FORMS, MATMUL_FORMS, RECURRENT_FORMS = map(frozenset, (_CONV, _GEMM, _MATMUL, _RECURRENT))
CONVOLUTIONAL = CONV_FORMS.union(_OTHER_CONV)
LAYERS = frozenset(op for op, one in OPERANDS.items() if one.weights)
LOOK_UPS = frozenset(op for op, one in OPERANDS.items() if one.tables)
BIASED = frozenset(op for op in LINEAR if OPERANDS[op].biases)
_NONE = Operands()


def operands(op_type: str) -> Operands:
    """Return which inputs of an operator are what; of one that has no weights or the like, empty ones."""
    return OPERANDS.get(op_type, _NONE)


class Triple(NamedTuple):
    """The indices of a quantized tensor, its scale and its zero point; None where it is an output or has none."""

    tensor: int | None
    scale: int | None
    zero: int | None


_LINEAR = (Triple(0, 1, 2),)
_ONE = (Triple(0, 1, 2), Triple(None, 3, 4))
_TWO = (Triple(0, 1, 2), Triple(3, 4, 5), Triple(None, 6, 7))
_INTEGER = (Triple(0, None, 2), Triple(1, None, 3))
# Operators that quantize, dequantize or compute with quantized tensors.
QUANTIZED: dict[str, tuple[Triple, ...]] = {
    "QuantizeLinear": _LINEAR,
    "DequantizeLinear": _LINEAR,
    "DynamicQuantizeLinear": (),
    "QLinearConv": _TWO,
    "QLinearMatMul": _TWO,
    "ConvInteger": _INTEGER,
    "MatMulInteger": _INTEGER,
    "QLinearAdd": _TWO,
    "QLinearMul": _TWO,
    "QLinearSigmoid": _ONE,
    "QLinearLeakyRelu": _ONE,
    "QLinearSoftmax": _ONE,
    "QLinearAveragePool": _ONE,
    "QLinearGlobalAveragePool": _ONE,
    "QLinearConcat": (),  # any number of inputs, see qops.quantized_inputs
    "QGemm": (Triple(0, 1, 2), Triple(3, 4, 5), Triple(None, 7, 8)),
    "MatMulIntegerToFloat": (Triple(0, 2, 4), Triple(1, 3, 5)),
    "DynamicQuantizeMatMul": (Triple(1, 2, 3),),
    "DynamicQuantizeLSTM": (Triple(1, 8, 9), Triple(2, 10, 11)),
    "QAttention": (Triple(0, 3, 6), Triple(1, 4, 7)),
    "MatMulNBits": (Triple(1, 2, 3),),
    "GatherBlockQuantized": (Triple(0, 2, 3),),
}
QDQ = frozenset({"DequantizeLinear", "QuantizeLinear"})
BLOCKWISE = frozenset({"GatherBlockQuantized", "MatMulNBits"})  # weights are packed in blocks

QUANTIZED_LAYERS = LAYERS.intersection(QUANTIZED)
