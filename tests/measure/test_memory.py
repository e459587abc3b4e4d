"""Peak memory: weights are in it, and the memory of the process that asks is not."""

import sys

import numpy as np
import pytest

from compressctl.errors import DataError
from compressctl.measure.isolated import peak_memory
from tests import graphs

MIB = 2**20
FEEDS = {"i": np.arange(4)}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")


def table(path, mebibytes: int):
    weights = np.random.default_rng(0).integers(0, 255, (mebibytes * 1024, 1024), dtype=np.uint8)
    return graphs.save(path, "y = Gather(t, i)", {"t": weights}, "int64[N] i", "uint8[N, 1024] y")


def test_fifty_mebibytes_of_weights_take_as_much_memory(tmp_path) -> None:
    ballast = np.ones(300 * MIB, np.uint8)  # must not reach the worker's figure, as ru_maxrss would have it
    small, large = (peak_memory(table(tmp_path / f"{size}.onnx", size), FEEDS, threads=1) for size in (1, 51))
    assert ballast[-1] == 1
    assert large.model_bytes - small.model_bytes >= 49 * MIB
    assert small.model_bytes >= MIB
    assert small.peak_bytes == small.empty_bytes + small.model_bytes < 300 * MIB
    assert 5 * MIB < small.empty_bytes < 200 * MIB


def test_feeds_that_do_not_fit(tmp_path) -> None:
    with pytest.raises(DataError, match=r"input 'i' of .* is fed int32"):
        peak_memory(table(tmp_path / "model.onnx", 1), {"i": np.arange(4, dtype=np.int32)})
