"""8-bit weights of operators that are no linear layers, against onnxruntime on the uncompressed model."""

from pathlib import Path

import numpy as np
import pytest

from compressctl.model.save import serialize
from compressctl.passes import quantize, quantize_weights
from compressctl.passes.base import PassConfig
from tests import graphs
from tests.passes import apply

RNG = np.random.default_rng(0)
KERNEL = (32, 16, 3, 3)
MS = '<ir_version: 8, opset_import: ["" : 19, "com.microsoft" : 1]>'
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {  # the node, the shapes of x and of its weight
    "Einsum, heads": ('y = Einsum <equation = "bsd,dhk->bshk"> (x, w)', (2, 5, 64), (64, 4, 16)),
    "Einsum, two axes summed": ('y = Einsum <equation = "bshk,hkd->bsd"> (x, w)', (2, 5, 4, 16), (4, 16, 64)),
    "Einsum, summed apart": ('y = Einsum <equation = "bij,iaj->ba"> (x, w)', (2, 16, 16), (16, 40, 16)),
    "Einsum, constant first": ('y = Einsum <equation = "od,bd"> (w, x)', (5, 64), (64, 64)),
    "MatMul, a stack": ("y = MatMul (x, w)", (4, 5, 64), (4, 64, 32)),
    "MatMul, a stack first": ("y = MatMul (w, x)", (4, 64, 5), (4, 32, 64)),
    "DeformConv": ("y = DeformConv <pads = [1, 1, 1, 1]> (x, w, o)", (1, 16, 6, 6), KERNEL),
    "FusedMatMul": ("y = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (x, w)", (5, 64), (96, 64)),
    "FusedConv": ('y = com.microsoft.FusedConv <activation = "Relu"> (x, w)', (1, 16, 6, 6), KERNEL),
}
PASSES: list[PassConfig] = [quantize.Config(), quantize_weights.Config(scheme="int8-weights")]


@pytest.mark.parametrize("config", PASSES, ids=["auto", "int8-weights"])
@pytest.mark.parametrize("case", CASES)
def test_weights_take_eight_bits(case: str, config: PassConfig, tmp_path: Path) -> None:
    node, x, w = CASES[case]
    changed = {"Einsum, heads": 1, "Einsum, two axes summed": -1}.get(case, 0)
    offsets = (0.3 * RNG.standard_normal((1, 18, 6, 6))).astype(np.float32)
    scales = np.exp(RNG.standard_normal(w[-1]))  # columns of unlike sizes
    arrays = {"w": (RNG.standard_normal(w) * scales).astype(np.float32)}
    arrays |= {"o": offsets} if "DeformConv" in case else {}
    dims, rank = ", ".join(map(str, x)), ", ".join("abcd"[: 2 if "summed apart" in case else len(x) + changed])
    model = graphs.parsed(f"{MS} g (float[{dims}] x) => (float[{rank}] y) {{ [it] {node} }}", **arrays)
    result = apply(config, model, tmp_path).model
    before, after = (len(serialize(one, tmp_path)) for one in (model, result))
    assert after < 0.29 * arrays["w"].nbytes + (before - arrays["w"].nbytes) + 1000
    feeds = {"x": RNG.standard_normal(x).astype(np.float32)}
    (expected,), (found,) = graphs.run(model, feeds), graphs.run(result, feeds)
    assert np.square(expected - found).mean() < 10**-3.5 * np.square(expected).mean()
