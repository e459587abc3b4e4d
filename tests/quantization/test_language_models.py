"""What `auto` and few bits make of a language model: outliers among inputs, groups, the floor of next tokens."""

import numpy as np
import pytest

from compressctl.passes import quantize, quantize_weights
from compressctl.quantization.int8.outliers import rank_inputs
from compressctl.resources import Resources
from tests import graphs
from tests.passes import apply
from tests.training.tiny import Arrays

WORDS, WIDTH = 80, 64
IDS = np.random.default_rng(1).integers(0, WORDS, (8, 12))


def model(loud: bool = False):
    """ids -> logits: a table and three products, of which the second reads, where `loud`, one value of 3,000."""
    random = graphs.Random(0)
    shift = np.zeros(WIDTH, np.float32)
    shift[5] = 3000 if loud else 0
    second = random(WIDTH, WIDTH)
    second[5] = 0
    arrays = {
        "words": random(WORDS, WIDTH),
        "first": random(WIDTH, WIDTH) / np.float32(8),
        "second": second / np.float32(8),
        "head": random(WIDTH, WORDS) / np.float32(2),
        "shift": shift,
    }
    body = (
        "a = Gather(words, ids) b = MatMul(a, first) c = Add(b, shift) d = MatMul(c, second) logits = MatMul(d, head)"
    )
    return graphs.model(body, arrays, "int64[N,T] ids", f"float[N,T,{WORDS}] logits"), arrays


def test_layers_are_ranked_by_what_rounding_their_inputs_does_to_their_outputs(tmp_path):
    small, arrays = model(loud=True)
    names = [node.name for node in small.graph if node.op_type == "MatMul"]
    found = rank_inputs(small, names, [{"ids": IDS}], Resources(workdir=tmp_path, threads=1))
    assert found[0].layer == names[1]
    x = arrays["words"][IDS].astype(np.float64) @ arrays["first"] + arrays["shift"]
    scale, low = (x.max() - min(x.min(), 0)) / 255, min(x.min(), 0)
    zero = round(-low / scale)
    error = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale - x
    expected = np.square(error @ arrays["second"]).sum() / np.square(x @ arrays["second"]).sum()
    assert found[0].noise == pytest.approx(expected, rel=1e-2)


def test_auto_without_samples_computes_a_language_model_in_float_on_8_bits(tmp_path):
    found = apply(quantize, model()[0], tmp_path, None, scheme="auto")
    assert found.facts["quantized"]["weights"] >= 3
    assert not any(node.op_type == "MatMulInteger" for node in found.model.graph)
    assert any("language model computes in float" in note.text for note in found.notes)


def test_auto_moves_the_layer_that_outliers_spoil(tmp_path):
    found = apply(quantize, model(loud=True)[0], tmp_path, Arrays({"ids": IDS}), scheme="auto")
    floor = found.facts["floor"]
    assert floor["holds"] and "MatMul_3" in floor["weights"]


@pytest.mark.parametrize(("size", "expected"), [(None, 32), (16, 16), (64, 64)])
def test_groups_of_32_share_a_scale_in_language_models(tmp_path, size, expected):
    options = {} if size is None else {"group_size": size}
    found = apply(quantize_weights, model()[0], tmp_path, None, scheme="int4", **options)
    assert {row["group"] for row in found.facts["weights"]} == {expected}
