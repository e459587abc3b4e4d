"""Weights in bodies of If, Loop and Scan, and of functions: each scheme against onnxruntime on the model in float."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from compressctl.model.load import load_model
from compressctl.model.save import serialize
from compressctl.passes import cluster, quantize, quantize_weights, sparsify, store
from compressctl.passes.base import PassConfig
from tests import graphs
from tests.passes import apply
from tests.quantization.reference import run

D = 64
FLOATS = f"float[n, {D}]"
BODIES = {
    "outer weights in both branches": f"""y = If (flag) <
        then_branch = yes () => ({FLOATS} t) {{ m = MatMul (x, w) r = Relu (m) t = MatMul (r, v) }},
        else_branch = no () => ({FLOATS} e) {{ m = MatMul (x, w) r = Tanh (m) e = MatMul (r, v) }}
    >""",
    "weights of their own": f"""y = If (flag) <
        then_branch = yes () => ({FLOATS} t) {{ m = MatMul (x, own_w) t = Relu (m) }},
        else_branch = no () => ({FLOATS} e) {{ m = Gemm <transB = 1> (x, own_w) e = Tanh (m) }}
    >""",
    "constants": f"""y = If (flag) <
        then_branch = yes () => ({FLOATS} t) {{ k = Constant <value = float[1] {{0}}> () t = MatMul (x, k) }},
        else_branch = no () => ({FLOATS} e) {{ e = MatMul (x, v) }}
    >""",
    "loop": f"""trip = Constant <value = int64 {{3}}> () y = Loop (trip, flag, x) <body = step
        (int64 i, bool c, {FLOATS} s) => (bool go, {FLOATS} next) {{ go = Identity (c) m = MatMul (s, own_w)
        next = Tanh (m) }}>""",
    "scan": f"""t = Unsqueeze (x, one) state = Gather (x, at) last, y = Scan <num_scan_inputs = 1, body = step
        (float[{D}] s, float[1, {D}] r) => (float[{D}] next, float[{D}] o) {{ m = MatMul (r, w) f = Squeeze (m, zero)
        a = Add (f, s) next = Tanh (a) o = Identity (next) }}> (state, t)""",
    "nested": f"""y = If (flag) <
        then_branch = yes () => ({FLOATS} t) {{ h = Neg (x) t = If (flag) <
            then_branch = deep () => ({FLOATS} d) {{ m = MatMul (h, own_w) d = Relu (m) }},
            else_branch = other () => ({FLOATS} o) {{ o = Identity (h) }}
        > }},
        else_branch = no () => ({FLOATS} e) {{ e = MatMul (x, v) }}
    >""",
    "embedding": f"""a = Abs (x) s = ReduceSum <keepdims = 0> (a, one) i = Cast <to = 7> (s) k = Mod (i, rows)
        y = If (flag) <
        then_branch = yes () => ({FLOATS} t) {{ t = Gather (own_w, k) }},
        else_branch = no () => ({FLOATS} e) {{ e = MatMul (x, v) }}
    >""",
    "recurrent": f"""t = Unsqueeze (x, zero) y = If (flag) <
        then_branch = yes () => ({FLOATS} t1) {{ p, h = GRU <hidden_size = {D}> (t, gates, own_gates)
            t1 = Squeeze (p, zeros) }},
        else_branch = no () => ({FLOATS} e) {{ e = MatMul (x, v) }}
    >""",
    "convolution": f"""t = Unsqueeze (x, one) y = If (flag) <
        then_branch = yes () => ({FLOATS} t1) {{ c = Conv <pads = [1, 1]> (t, kernel)
            d = ConvTranspose <pads = [1, 1]> (c, own_kernel) t1 = Squeeze (d, one) }},
        else_branch = no () => ({FLOATS} e) {{ e = MatMul (x, v) }}
    >""",
    "function": "y = local.layer (x, w, flag)",
}
FUNCTION = """<domain: "local", opset_import: ["" : 17]> layer (a, k, c) => (b) {
    b = If (c) < then_branch = yes () => (t) { t = MatMul (a, k) }, else_branch = no () => (e) {
        m = MatMul (a, k) e = Tanh (m) } > }"""
# The share of the bytes that is left, at most, and the dB that are kept, at least.
PASSES: dict[str, tuple[PassConfig, float, float]] = {
    "auto": (quantize.Config(), 0.36, 20),
    "int8-dynamic": (quantize.Config(scheme="int8-dynamic"), 0.36, 20),
    **{
        scheme: (quantize_weights.Config(scheme=scheme), most, least)
        for scheme, most, least in [
            ("fp16", 0.56, 50),
            ("bf16", 0.56, 30),
            ("int8-weights", 0.36, 25),
            ("int4", 0.3, 8),
            ("int3", 0.28, 3),
            ("int2", 0.24, 0),
            ("ternary", 0.24, 0),
            ("int1", 0.2, -3),
        ]
    },
    "cluster": (cluster.Config(clusters=16), 0.3, 8),
    "sparsify": (sparsify.Config(ratio=0.5), 0.75, 3),
}


def _model(body: str, folder: Path) -> Path:
    """Write the model, each body with a weight `w` of its own for `own_w`, the constant of one element as a matrix."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(D)).astype(np.float32)

    arrays = {"w": weights(D, D), "v": weights(D, D), "gates": weights(1, 3 * D, D)}
    arrays |= {"kernel": weights(48, 1, 3), "own_kernel": weights(48, 1, 3), "own_gates": weights(1, 3 * D, D)}
    arrays |= {"zero": [0], "one": [1], "zeros": [0, 1], "at": 0, "rows": D}
    function = FUNCTION if "local." in body else ""
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17, "local" : 1]> g ({FLOATS} x, bool flag) => ({FLOATS} y) {{ {body} }}'
        + function
    )
    pending = [proto.graph]
    while pending:
        graph = pending.pop()
        for node in graph.node:
            pending += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            if node.op_type == "Constant" and node.output[0] == "k":
                node.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(weights(D, D), "k"))
            if "own_w" in node.input:
                node.input[list(node.input).index("own_w")] = "w"
                graph.initializer.append(onnx.numpy_helper.from_array(weights(D, D), "w"))
    used = {name for name in arrays if f" {name})" in body or f" {name}," in body or f"({name}," in body}
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(arrays[name], None if name in ARRAYS_OF_FLOATS else np.int64), name)
        for name in sorted(used)
    )
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


ARRAYS_OF_FLOATS = {"w", "v", "gates", "kernel", "own_kernel", "own_gates"}


def _sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    error = float(np.square(expected - found).sum())
    return 10 * float(np.log10(np.square(expected).sum() / error)) if error else np.inf


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", PASSES)
def test_weights_of_bodies_shrink_and_branches_compute_the_same(name: str, body: str, tmp_path: Path) -> None:
    config, most, least = PASSES[name]
    loaded = load_model(_model(BODIES[body], tmp_path)).model
    result = apply(config, loaded, tmp_path).model
    if name in ("cluster", "sparsify"):
        result = apply(store, result, tmp_path).model
    before, after = (serialize(one, tmp_path) for one in (loaded, result))
    assert isinstance(before, bytes) and isinstance(after, bytes)
    assert len(after) < most * len(before) + 2500
    x = np.random.default_rng(1).standard_normal((5, D)).astype(np.float32)
    for flag in (True, False):
        feeds = {"x": x, "flag": np.array(flag)}
        (expected,), (found,) = run(loaded, feeds), run(result, feeds, optimize=True)
        assert _sqnr(expected, found) >= least


ALONE = {
    "gru": "y, h = GRU <hidden_size = 48> (x, w3, r3)",
    "gru_both": 'y, h = GRU <hidden_size = 48, direction = "bidirectional", linear_before_reset = 1> (x, w6, r6)',
    "rnn_both": 'y, h = RNN <hidden_size = 48, direction = "bidirectional"> (x, w2, r2)',
    "lstm_peepholes": "y, h, c = LSTM <hidden_size = 48> (x, w4, r4, , , , , p)",
    "transposed": "y = ConvTranspose (x, k)",
    "convolution": "y = Conv (x, k)",
}


@pytest.mark.parametrize("config", [quantize_weights.Config(scheme="int8-weights"), quantize.Config()], ids=str)
@pytest.mark.parametrize("operator", ALONE)
def test_what_has_no_integer_kernel_gets_weights_of_8_bits(operator: str, config: PassConfig, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes = {f"{w}{n}": (2 if n in (6, 2) else 1, 48 * {6: 3, 2: 1}.get(n, n), 48) for n in (2, 3, 4, 6) for w in "wr"}
    shapes |= {"p": (1, 144), "k": (48, 48, 3)}
    arrays = {name: (rng.standard_normal(shape) / 7).astype(np.float32) for name, shape in shapes.items()}
    proto = graphs.proto(ALONE[operator], arrays, "float[5, 48, 48] x", "float y")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(proto, tmp_path / "model.onnx")
    loaded = load_model(tmp_path / "model.onnx").model
    result = apply(config, loaded, tmp_path).model
    before, after = (serialize(one, tmp_path) for one in (loaded, result))
    assert isinstance(before, bytes) and isinstance(after, bytes) and len(after) < 0.27 * len(before) + 1500
    feeds = {"x": rng.standard_normal((5, 48, 48)).astype(np.float32)}
    assert _sqnr(run(loaded, feeds)[0], run(result, feeds)[0]) > 20
