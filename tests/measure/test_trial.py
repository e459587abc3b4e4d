"""Random inputs keep to what a model can look up, and to lengths that it has positions for."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.__main__ import run
from compressctl.data.notation import open_source
from compressctl.measure.session import Session
from compressctl.measure.trial import fit_random
from compressctl.model.load import interface
from compressctl.model.lookups import lookup_limits
from tests import graphs

WORDS, POSITIONS, WIDTH = 50, 64, 32


def text_model() -> onnx.ModelProto:
    """Words by id (cast first), a table of two segments, and as many positions as the input is long."""
    body = """
        wide = Cast<to = 7>(ids) w = Gather(words, wide) s = Gather(kinds, segments)
        shape = Shape<start = 1>(ids) length = Squeeze(shape)
        start = Constant<value_int = 0>() step = Constant<value_int = 1>() range = Range(start, length, step)
        p = Gather(positions, range) ws = Add(w, s) sum = Add(ws, p) y = MatMul(sum, weight)
    """
    shapes = {"words": (WORDS, WIDTH), "kinds": (2, WIDTH), "positions": (POSITIONS, WIDTH), "weight": (WIDTH, WIDTH)}
    random = graphs.Random(0)
    arrays = {name: random(*shape) for name, shape in shapes.items()}
    return graphs.proto(body, arrays, "int32[n,t] ids, int64[n,t] segments", "float[n,t,32] y")


def test_limits_are_the_sizes_of_the_tables() -> None:
    assert lookup_limits(ir.from_proto(text_model())) == {"ids": WORDS, "segments": 2}


def test_random_samples_run_on_a_model_with_small_tables() -> None:
    model = ir.from_proto(text_model())
    inputs = interface(model)[0]
    fit = fit_random(model, inputs)
    source = open_source("random:8", inputs, sizes=fit.sizes, limits=fit.limits)
    (batch,) = source.batches(8)
    assert batch.feeds["ids"].shape[1] <= POSITIONS and batch.feeds["segments"].max() <= 1
    assert WORDS // 2 < batch.feeds["ids"].max() < WORDS
    assert Session(model).run(batch.feeds)["y"].shape == (*batch.feeds["ids"].shape, WIDTH)


def test_sizes_that_the_notation_gives_win() -> None:
    model = ir.from_proto(text_model())
    fit = fit_random(model, interface(model)[0])
    source = open_source("random:2,sequence=5", interface(model)[0], sizes=fit.sizes, limits=fit.limits)
    assert next(source.batches(2)).feeds["ids"].shape == (2, 5)


def test_a_model_without_tables_keeps_the_usual_sizes() -> None:
    model = graphs.model("y = Relu(x)", {}, "float[n,t,4] x", "float[n,t,4] y")
    fit = fit_random(model, interface(model)[0])
    assert fit.sizes == {} and fit.limits == {}


@pytest.mark.parametrize("data", [(), pytest.param(("--calibrate", "ids.npz"), marks=pytest.mark.long)])
def test_a_short_table_of_positions_stops_no_command(data, tmp_path, monkeypatch) -> None:
    """With data, everything is run on them: the model need not run on anything else."""
    monkeypatch.chdir(tmp_path)
    onnx.save(text_model(), "text.onnx")
    rng = np.random.default_rng(1)
    np.savez("ids.npz", ids=rng.integers(0, WORDS, (4, 20)), segments=rng.integers(0, 2, (4, 20)))
    assert run(["quantize", "text.onnx", "-o", "small.onnx", "-q", *data]) == 0


def test_timing_gets_as_many_rows_as_asked_for() -> None:
    source = open_source("random:2", interface(graphs.model("y = Relu(x)", {}, "float[n,3] x", "float[n,3] y"))[0])
    assert source.first(5)["x"].shape == (5, 3)
