"""Random small graphs of many kinds of layers, with random weights, for the tests of structure.

A graph is a chain of images, sequences or vectors: each step takes what the chain has come to, adds layers, and hands
on. All sizes are small. The first dimension of the input is dynamic in half of the graphs, that of a sequence too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

OPSET = 23


class Maker:
    """Appends nodes to a graph."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.kinds = [], {}, []
        self.count = 0

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def chance(self, share=0.5):
        return self.rng.random() < share

    def array(self, *shape, scale=None):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        array = self.rng.standard_normal(shape) * (scale or 1 / np.sqrt(max(fan, 1)))
        return array.astype(np.float32)

    def constant(self, array):
        """Return a constant: an initializer, or a Constant's output."""
        self.count += 1
        array = np.asarray(array)
        name = f"c{self.count}"
        if self.chance(0.15):
            node = ir.node("Constant", [], {"value": ir.tensor(array, name=name)}, name=f"Constant_{name}")
            node.outputs[0].name = name
            self.nodes.append(node)
            return node.outputs[0]
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.weights[name] = value
        return value

    def weight(self, *shape, scale=None):
        """Return a random weight, now and then behind nodes that give it this form."""
        array = self.array(*shape, scale=scale)
        form = self.pick(*["plain"] * 5, "identity", "transpose", "reshape", "cast")
        if form == "transpose" and array.ndim > 1:
            order = self.rng.permutation(array.ndim)
            return self.op("Transpose", self.constant(array.transpose(order)), perm=np.argsort(order).tolist())
        if form == "reshape":
            return self.op("Reshape", self.constant(array[None]), self.constant(np.array(array.shape)))
        if form == "cast":
            return self.op("Cast", self.constant(array.astype(np.float64)), to=ir.DataType.FLOAT)
        return self.op("Identity", self.constant(array)) if form == "identity" else self.constant(array)

    def op(self, op_type, *inputs, outputs=1, domain="", **attributes):
        self.count += 1
        inputs = [self.constant(each) if isinstance(each, np.ndarray) else each for each in inputs]
        node = ir.node(op_type, inputs, attributes, num_outputs=outputs, name=f"{op_type}_{self.count}", domain=domain)
        for index, value in enumerate(node.outputs):
            value.name = f"v{self.count}_{index}"
        self.nodes.append(node)
        return node.outputs[0] if outputs == 1 else node.outputs

    def ints(self, *values):
        return np.array(values, np.int64)

    # what all kinds share

    def activation(self, x, channels, rank):
        kind = self.pick("Relu", "Sigmoid", "HardSwish", "Clip", "PRelu", "shared PRelu", "Tanh", "Gelu", "Neg")
        if kind == "Clip":
            return self.op("Clip", x, np.array(-0.5, np.float32), np.array(1, np.float32))
        if kind == "PRelu":
            return self.op("PRelu", x, self.weight(channels, *[1] * (rank - 2), scale=0.3))
        if kind == "shared PRelu":
            return self.op("PRelu", x, np.full(1, 0.2, np.float32))
        return self.op(kind, x)

    # images [B, C, H, W] or [B, C, L]

    def conv(self, x, channels, out, space, *, size=None, groups=1, stride=1):
        size = size or self.pick(1, 3)
        self.kinds.append("Conv")
        inputs = [x, self.weight(out, channels // groups, *[size] * space)]
        if self.chance():
            inputs.append(self.weight(out, scale=0.3))
        return self.op("Conv", *inputs, pads=[size // 2] * 2 * space, strides=[stride] * space, group=groups)

    def image_step(self, x, channels, space):
        """Return (value, channels) after one random step."""
        kind = self.pick(
            "conv", "conv", "depthwise", "grouped", "transposed", "batch norm", "instance norm", "group norm",
            "written group norm", "residual", "gate", "squeeze-excite", "concat", "split", "slice", "gather", "pad",
            "pool", "resize", "shuffle", "depth to space", "space to depth", "spatial pad", "dense", "two uses",
            "expand", "reduce", "tile", "dynamic shape", "quantized",
        )  # fmt: skip
        self.kinds.append(kind)
        per_channel = [1] * space
        if kind == "depthwise":
            return self.conv(x, channels, channels, space, size=3, groups=channels), channels
        if kind == "grouped" and channels % 2 == 0:
            return self.conv(x, channels, out := self.pick(4, 8, 12), space, groups=2), out
        if kind == "transposed":
            groups = 2 if channels % 2 == 0 and self.chance(0.4) else 1
            each = self.pick(2, 3, 4)
            bias = [self.weight(each * groups, scale=0.3)] if self.chance() else []
            weight = self.weight(channels, each, *[2] * space)
            return self.op("ConvTranspose", x, weight, *bias, strides=[1] * space, group=groups), each * groups
        if kind == "batch norm":
            return self.op(
                "BatchNormalization", x, self.weight(channels), self.weight(channels, scale=0.3),
                self.array(channels, scale=0.3), np.abs(self.array(channels)) + 0.5,
            ), channels  # fmt: skip
        if kind == "instance norm":
            return self.op(
                "InstanceNormalization", x, self.weight(channels), self.weight(channels, scale=0.3)
            ), channels
        if kind == "group norm" and channels % 4 == 0:
            x = self.op(
                "GroupNormalization", x, self.weight(channels), self.weight(channels, scale=0.3),
                num_groups=self.pick(2, 4), epsilon=1e-3,
            )  # fmt: skip
            return x, channels
        if kind == "written group norm" and channels % 4 == 0:
            shape = self.op("Shape", x)
            y = self.op("Reshape", x, self.ints(0, 4, -1))
            y = self.op("InstanceNormalization", y, np.ones(4, np.float32), np.zeros(4, np.float32), epsilon=1e-3)
            y = self.op("Mul", self.op("Reshape", y, shape), self.weight(channels, *per_channel))
            return self.op("Add", y, self.weight(channels, *per_channel, scale=0.3)), channels
        if kind in ("residual", "gate"):
            inner = self.pick(4, 6)
            y = self.activation(self.conv(x, channels, inner, space, size=3), inner, space + 2)
            y = self.conv(y, inner, channels, space, size=1)
            return self.op("Add" if kind == "residual" else "Mul", x, y), channels
        if kind == "squeeze-excite":
            y = self.op("GlobalAveragePool", x)
            y = self.op("Relu", self.conv(y, channels, 3, space, size=1))
            y = self.op("HardSigmoid", self.conv(y, 3, channels, space, size=1))
            return self.op("Mul", *((x, y) if self.chance() else (y, x))), channels
        if kind == "concat":
            more = self.pick(2, 3)
            return self.op("Concat", x, self.conv(x, channels, more, space, size=1), axis=1), channels + more
        if kind == "split" and channels % 2 == 0:
            a, b = self.op("Split", x, self.ints(channels // 2, channels // 2), outputs=2, axis=1)
            if self.chance():
                return self.op("Mul", a, self.op("Sigmoid", b)), channels // 2
            y = self.conv(b, channels // 2, 5, space, size=1)
            return self.op("Concat", y, a, axis=1), channels // 2 + 5
        if kind == "slice" and channels > 3:
            start, end = self.pick((0, 3), (1, channels), (-3, 2**31))
            y = self.op("Slice", x, self.ints(start), self.ints(end), self.ints(1))
            return y, len(range(channels)[start:end])
        if kind == "gather":
            indices = self.rng.integers(-channels, channels, self.pick(3, channels, channels + 2))
            return self.op("Gather", x, indices, axis=1), len(indices)
        if kind == "pad":
            before, after = self.pick((0, 2), (1, 1), (2, 0))
            pads = [0, before, *[0] * space, 0, after, *[0] * space]
            return self.op("Pad", x, self.ints(*pads)), channels + before + after
        if kind == "spatial pad":
            pads = [0, 0, *[1] * space, 0, 0, *[1] * space]
            return self.op("Pad", x, self.ints(*pads), mode=self.pick("constant", "reflect", "edge")), channels
        if kind == "pool":
            op = self.pick("MaxPool", "AveragePool")
            return self.op(op, x, kernel_shape=[2] * space, strides=[1] * space), channels
        if kind == "resize":
            scales = np.array([1, 1, *[1.5] * space], np.float32)
            return self.op("Resize", x, None, scales, mode="nearest"), channels
        if kind == "shuffle" and channels % 2 == 0:
            shape = self.op("Shape", x, start=2)
            y = self.op("Reshape", x, self.op("Concat", self.ints(0, 2, channels // 2), shape, axis=0))
            y = self.op("Transpose", y, perm=[0, 2, 1, *range(3, 3 + space)])
            return self.op("Reshape", y, self.op("Concat", self.ints(0, -1), shape, axis=0)), channels
        if kind == "depth to space" and space == 2:
            y = self.conv(x, channels, 4 * 3, space, size=1)
            return self.op("DepthToSpace", y, blocksize=2, mode=self.pick("DCR", "CRD")), 3
        if kind == "space to depth" and space == 2:
            y = self.op("SpaceToDepth", self.op("Resize", x, None, np.array([1, 1, 2, 2], np.float32)), blocksize=2)
            return y, channels * 4
        if kind == "dense":
            for _ in range(2):
                y = self.activation(self.conv(x, channels, 3, space, size=1), 3, space + 2)
                x, channels = self.op("Concat", x, y, axis=1), channels + 3
            return x, channels
        if kind == "two uses":
            weight = self.weight(channels, channels, *[1] * space)
            return self.op("Conv", self.op("Relu", self.op("Conv", x, weight)), weight), channels
        if kind == "expand":
            y = self.op("Expand", self.op("GlobalMaxPool", x), self.op("Shape", x))
            return self.op("Concat", x, y, axis=1), channels * 2
        if kind == "reduce":
            op = self.pick("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2")
            y = self.op(op, x, self.ints(*range(2, 2 + space)), keepdims=1)
            return self.op("Sub", x, self.op("Tanh", y)), channels
        if kind == "tile":
            return self.op("Tile", x, self.ints(1, 2, *[1] * space)), channels * 2
        if kind == "dynamic shape":
            size = self.op("Cast", self.op("Gather", self.op("Shape", x), np.array(1)), to=ir.DataType.FLOAT)
            return self.op("Div", x, self.op("Sqrt", size)), channels
        if kind == "quantized":
            scale, zero = np.array(0.05, np.float32), np.array(0, np.int8)
            return self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero), channels
        return self.activation(self.conv(x, channels, out := self.pick(4, 6, 8), space), out, space + 2), out

    # sequences [B, S, C]

    def linear(self, x, channels, out, bias=None):
        kind = self.pick("matmul", "matmul", "einsum", "left")
        self.kinds.append(f"linear {kind}")
        if kind == "einsum":
            y = self.op("Einsum", x, self.weight(channels, out), equation="bsc,cd->bsd")
        elif kind == "left":
            y = self.op("MatMul", self.weight(out, channels), self.op("Transpose", x, perm=[0, 2, 1]))
            y = self.op("Transpose", y, perm=[0, 2, 1])
        else:
            y = self.op("MatMul", x, self.weight(channels, out))
        return self.op("Add", y, self.weight(out, scale=0.3)) if self.chance() or bias else y

    def attention(self, x, channels, form):
        heads, size = self.pick((2, 3), (4, 2), (3, 4))
        width = heads * size
        self.kinds.append(f"attention {form}")
        if form == "fused":
            q, k, v = (self.linear(x, channels, width) for _ in range(3))
            y = self.op("Attention", q, k, v, q_num_heads=heads, kv_num_heads=heads)
        elif form == "fused shared":
            q, k, v = (self.linear(x, channels, out) for out in (2 * width, width, width))
            y = self.op("Attention", q, k, v, q_num_heads=2 * heads, kv_num_heads=heads)
            width *= 2
        elif form == "microsoft":
            q, k, v = (self.linear(x, channels, width) for _ in range(3))
            bias = [self.weight(3 * width, scale=0.3)] if self.chance() else []
            y = self.op("MultiHeadAttention", q, k, v, *bias, num_heads=heads, domain="com.microsoft")
        elif form == "packed":
            y = self.op("Reshape", self.linear(x, channels, 3 * width), self.ints(0, 0, 3, heads, size))
            y = self.op("Transpose", y, perm=[2, 0, 3, 1, 4])
            if self.chance():
                q, k, v = (self.op("Gather", y, np.array(index), axis=0) for index in range(3))
            else:
                q, k, v = (
                    self.op("Squeeze", part, self.ints(0)) for part in self.op("Split", y, outputs=3, num_outputs=3)
                )
            y = self.attend(q, k, v, size)
        elif form == "merged":  # [B * heads, S, size]; the sizes of batch and sequence are computed
            shape = self.op("Shape", x)
            batch, length = (self.op("Slice", shape, self.ints(i), self.ints(i + 1)) for i in (0, 1))
            many = self.op("Mul", batch, self.ints(heads))
            q, k, v = (
                self.op("Reshape", self.linear(x, channels, width), self.ints(0, 0, heads, size)) for _ in range(3)
            )
            q, k, v = (self.op("Transpose", each, perm=[0, 2, 1, 3]) for each in (q, k, v))
            target = self.op("Concat", many, length if self.chance() else self.ints(-1), self.ints(size), axis=0)
            q, k, v = (self.op("Reshape", each, target) for each in (q, k, v))
            scores = self.op("Softmax", self.op("MatMul", q, self.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
            y = self.op("MatMul", scores, v)
            y = self.op("Reshape", y, self.op("Concat", batch, self.ints(heads), length, self.ints(size), axis=0))
            y = self.op("Reshape", self.op("Transpose", y, perm=[0, 2, 1, 3]), self.ints(0, 0, width))
        else:
            shared = form == "grouped"
            q, k, v = (
                self.op("Reshape", self.linear(x, channels, many * size), self.ints(0, 0, many, size))
                for many in (heads * 2 if shared else heads, heads, heads)
            )
            q, k, v = (self.op("Transpose", each, perm=[0, 2, 1, 3]) for each in (q, k, v))
            if shared:
                k, v = (self.repeated(each, heads, size) for each in (k, v))
                width *= 2
            y = self.attend(q, k, v, size)
        return self.linear(y, width, channels), channels

    def repeated(self, x, heads, size):
        length = self.op("Shape", x, start=2, end=3)
        batch = self.op("Shape", x, start=0, end=1)
        y = self.op("Unsqueeze", x, self.ints(2))
        y = self.op("Expand", y, self.op("Concat", batch, self.ints(heads, 2), length, self.ints(size), axis=0))
        return self.op("Reshape", y, self.op("Concat", batch, self.ints(2 * heads), length, self.ints(-1), axis=0))

    def attend(self, q, k, v, size):
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        depth = self.op("Cast", self.op("Shape", q, start=3), to=ir.DataType.FLOAT)
        scores = self.op("Div", scores, self.op("Sqrt", depth) if self.chance() else np.array(size**0.5, np.float32))
        y = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        y = self.op("Transpose", y, perm=[0, 2, 1, 3])
        return self.op("Reshape", y, self.ints(0, 0, -1))

    def recurrent(self, x, channels):
        kind, hidden, directions = self.pick("LSTM", "GRU", "RNN"), self.pick(3, 4), self.pick(1, 2)
        self.kinds.append(kind)
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
        weights = [self.weight(directions, gates * hidden, each, scale=0.5) for each in (channels, hidden)]
        if self.chance():
            weights.append(self.weight(directions, 2 * gates * hidden, scale=0.3))
        attributes = {"linear_before_reset": self.pick(0, 1)} if kind == "GRU" else {}
        way = "bidirectional" if directions == 2 else self.pick("forward", "reverse")
        x = self.op("Transpose", x, perm=[1, 0, 2])
        results = self.op(
            kind, x, *weights, hidden_size=hidden, direction=way, outputs=3 if kind == "LSTM" else 2, **attributes
        )
        y = self.op("Reshape", self.op("Transpose", results[0], perm=[2, 0, 1, 3]), self.ints(0, 0, -1))
        if self.chance():  # the last state, and the last cell, join every step
            last = self.pick(*results[1:])
            last = self.op("Reshape", self.op("Transpose", last, perm=[1, 0, 2]), self.ints(0, 1, hidden * directions))
            y = self.op("Add", y, last)
        return y, hidden * directions

    def sequence_step(self, x, channels):
        kind = self.pick(
            "linear", "linear", "attention", "attention", "attention", "recurrent", "norm", "residual", "gated",
            "concat", "time conv", "along time", "tile", "position",
        )  # fmt: skip
        self.kinds.append(kind)
        if kind == "attention":
            forms = ("plain", "packed", "merged", "grouped", "fused", "fused shared", "microsoft")
            return self.attention(x, channels, self.pick(*forms))
        if kind == "recurrent":
            return self.recurrent(x, channels)
        if kind == "norm":  # over the sequence, so that channels stay apart
            y = self.op("Transpose", x, perm=[0, 2, 1])
            mean = self.op("ReduceMean", y, self.ints(-1), keepdims=1)
            y = self.op("Sub", y, mean)
            return self.op("Transpose", y, perm=[0, 2, 1]), channels
        if kind == "residual":
            inner = self.pick(5, 7)
            y = self.activation(self.linear(x, channels, inner), 1, 2)
            return self.op("Add", x, self.linear(y, inner, channels)), channels
        if kind == "gated":
            inner = self.pick(3, 5)
            if self.chance():
                a, b = self.op("Split", self.linear(x, channels, 2 * inner), outputs=2, axis=-1, num_outputs=2)
            else:
                a, b = self.linear(x, channels, inner), self.linear(x, channels, inner)
            return self.op("Mul", a, self.op("Sigmoid", b)), inner
        if kind == "concat":
            return self.op("Concat", x, self.linear(x, channels, 4), axis=2), channels + 4
        if kind == "time conv":
            y = self.conv(self.op("Transpose", x, perm=[0, 2, 1]), channels, out := self.pick(4, 6), 1, size=3)
            return self.op("Transpose", y, perm=[0, 2, 1]), out
        if kind == "along time":
            y = self.op("CumSum", x, np.array(1))
            return self.op("Tanh", y), channels
        if kind == "tile":
            return self.op("Tile", x, self.ints(1, 1, 2)), channels * 2
        if kind == "position":
            y = self.op(
                "Gather", self.weight(4, channels), self.op("Mod", self.op("Shape", x, start=1, end=2), self.ints(4))
            )
            return self.op("Add", x, y), channels
        return self.activation(self.linear(x, channels, out := self.pick(4, 6, 8), bias=True), 1, 2), out

    # ends

    def gemm(self, x, channels, out):
        turned = self.chance()
        weight = self.weight(out, channels) if turned else self.weight(channels, out)
        bias = [self.weight(*self.pick((out,), (1, out)), scale=0.3)] if self.chance() else []
        return self.op("Gemm", x, weight, *bias, transB=int(turned))


def random_graph(seed):
    """Return (model, feeds at two sizes, the kinds of layers in it)."""
    make = Maker(seed)
    family = make.pick("image", "image", "audio", "sequence", "sequence", "tokens")
    dynamic = make.chance()
    steps = int(make.rng.integers(2, 6))
    batch = ["n", 2][0 if dynamic else 1]
    if family in ("image", "audio"):
        space, channels, size = (2, 3, 6) if family == "image" else (1, 3, 9)
        shape = [batch, channels, *[size] * space]
        x = value = ir.Value(name="x", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        value, channels = make.conv(value, channels, 8, space), 8
        for _ in range(steps):
            value, channels = make.image_step(value, channels, space)
        if make.chance(0.3):
            value = make.conv(value, channels, 3, space, size=1)
        elif make.chance():
            value = make.op("GlobalAveragePool", value)
            value = make.op("Flatten", value) if make.chance() else make.op("Reshape", value, make.ints(0, -1))
            value = make.gemm(make.op("Relu", make.gemm(value, channels, 6)), 6, 3)
        else:  # every position has weights of its own, channels last or first
            value = make.op("Resize", value, None, None, _target(make, value, space))
            if make.chance():
                value = make.op("Transpose", value, perm=[0, *range(2, 2 + space), 1])
            value = make.op("Flatten", value) if make.chance() else make.op("Reshape", value, make.ints(0, -1))
            value = make.gemm(value, channels * 2**space, 3)
    else:
        length = "s" if dynamic and make.chance() else 5
        tokens = family == "tokens"
        shape = [batch, length] if tokens else [batch, length, 4]
        dtype = ir.DataType.INT64 if tokens else ir.DataType.FLOAT
        x = value = ir.Value(name="x", shape=ir.Shape(shape), type=ir.TensorType(dtype))
        value = make.op("Gather", make.weight(11, 6), value) if tokens else make.linear(value, 4, 6)
        channels = 6
        for _ in range(steps):
            value, channels = make.sequence_step(value, channels)
        value = make.linear(value, channels, 3)
    out = make.op("Identity", value)
    out.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], [out], nodes=make.nodes, initializers=list(make.weights.values()), name="random",
        opset_imports={"": OPSET, "com.microsoft": 1},
    )  # fmt: skip
    model = ir.Model(graph, ir_version=10)
    feeds = []
    for n, s in ((2, 5), (3, 4)) if dynamic else ((2, 5),):
        sizes = [{"n": n, "s": s}.get(str(dim), dim) for dim in shape]
        full = [int(str(dim)) if not isinstance(dim, int) else dim for dim in sizes]
        array = make.rng.integers(0, 11, full) if x.dtype == ir.DataType.INT64 else make.array(*full, scale=1.0)
        feeds.append({"x": array})
    return model, feeds, make.kinds


def _target(make, value, space):
    """The shape of `value`, but 2 along each axis of space."""
    return make.op("Concat", make.op("Shape", value, start=0, end=2), make.ints(*[2] * space), axis=0)
