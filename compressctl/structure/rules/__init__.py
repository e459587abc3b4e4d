"""How each operator relates the axes of its inputs and outputs: one function an operator, by name."""

from __future__ import annotations

from compressctl.structure.rules import (
    attention,
    elementwise,
    indexing,
    linear,
    normalization,
    recurrent,
    reductions,
    shaping,
    spatial,
)
from compressctl.structure.rules.common import Rule

# fmt: off
_UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf",
    "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)
_BROADCAST = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Where", "Xor",
)
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)
# fmt: on
RULES: dict[tuple[str, str], Rule] = {
    **{("", op): elementwise.unary for op in _UNARY},
    **{("", op): elementwise.elementwise for op in _BROADCAST},
    **{("", op): elementwise.softmax for op in ("Softmax", "LogSoftmax", "Hardmax")},
    **{("", op): elementwise.unrelated for op in ("Constant", "ConstantOfShape")},
    ("", "Shape"): elementwise.shape,
    ("", "Size"): elementwise.counted,
    ("", "CumSum"): elementwise.cumulative,
    ("", "QuantizeLinear"): elementwise.quantized,
    ("", "DequantizeLinear"): elementwise.quantized,
    ("", "Conv"): linear.conv,
    ("", "ConvTranspose"): linear.conv_transpose,
    ("", "Gemm"): linear.gemm,
    ("", "MatMul"): linear.matmul,
    ("", "Einsum"): linear.einsum,
    ("", "BatchNormalization"): normalization.batch_normalization,
    ("", "InstanceNormalization"): normalization.instance_normalization,
    ("", "LayerNormalization"): normalization.layer_normalization,
    ("", "RMSNormalization"): normalization.layer_normalization,
    ("", "SimplifiedLayerNormalization"): normalization.layer_normalization,
    ("", "GroupNormalization"): normalization.group_normalization,
    ("", "LpNormalization"): normalization.lp_normalization,
    ("", "LRN"): normalization.lrn,
    **{("", op): shaping.reshape for op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")},
    ("", "Transpose"): shaping.transpose,
    ("", "Expand"): shaping.expand,
    ("", "DepthToSpace"): shaping.depth_to_space,
    ("", "SpaceToDepth"): shaping.space_to_depth,
    ("", "Concat"): indexing.concat,
    ("", "Split"): indexing.split,
    ("", "Slice"): indexing.slice_,
    ("", "Gather"): indexing.gather,
    ("", "Pad"): indexing.pad,
    ("", "Tile"): indexing.tile,
    **{("", op): spatial.pool for op in _POOLS},
    ("", "Resize"): spatial.resize,
    ("", "Upsample"): spatial.resize,
    ("", "GridSample"): spatial.grid_sample,
    **{("", op): reductions.reduce for op in _REDUCTIONS},
    ("", "ArgMax"): reductions.arg_reduce,
    ("", "ArgMin"): reductions.arg_reduce,
    ("", "TopK"): reductions.top_k,
    **{("", op): recurrent.recurrent for op in ("LSTM", "GRU", "RNN")},
    ("", "Attention"): attention.attention,
    ("", "RotaryEmbedding"): attention.rotary_embedding,
    ("com.microsoft", "MultiHeadAttention"): attention.multi_head_attention,
    ("com.microsoft", "SkipLayerNormalization"): normalization.layer_normalization,
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): normalization.layer_normalization,
    ("com.microsoft", "Gelu"): elementwise.unary,
    ("com.microsoft", "FastGelu"): elementwise.elementwise,
    ("com.microsoft", "BiasGelu"): elementwise.elementwise,
    ("com.microsoft", "QuickGelu"): elementwise.unary,
}
