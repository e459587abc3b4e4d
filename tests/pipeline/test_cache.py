import hashlib
import json
import os

import numpy as np
import pytest

from compressctl.errors import OutputError
from compressctl.model.load import load_model
from compressctl.notes import done
from compressctl.passes.base import Outcome, Target
from compressctl.pipeline.cache import Cache, key_of
from tests.samples import CNN


@pytest.fixture
def kept(tmp_path):
    cache = Cache(tmp_path / "cache")
    outcome = Outcome(load_model(CNN).model, (done("cut", "conv"),), {"ratio": 0.5}, (Target("size", 1.0, 0.5),))
    return cache, outcome, cache.put(key_of("a"), outcome, 1.5)


def test_an_entry_holds_all_of_an_outcome(kept):
    cache, outcome, stored = kept
    for found in (stored, cache.get(key_of("a"))):
        assert (found.outcome.notes, found.outcome.facts, found.outcome.targets) == (
            outcome.notes,
            outcome.facts,
            outcome.targets,
        )
        assert found.seconds == 1.5
        names = [node.name for node in outcome.model.graph]
        assert [node.name for node in found.outcome.model.graph] == names
        for name, value in outcome.model.graph.initializers.items():
            np.testing.assert_array_equal(
                found.outcome.model.graph.initializers[name].const_value.numpy(), value.const_value.numpy()
            )
    assert cache.get(key_of("b")) is None and not cache.holds(key_of("b")) and cache.holds(key_of("a"))


@pytest.mark.parametrize("name", ["model.onnx", "outcome.json"])
def test_an_entry_that_was_tampered_with_is_dropped(kept, name):
    cache, outcome, _ = kept
    file = cache.folder / key_of("a") / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert cache.get(key_of("a")) is None and not cache.holds(key_of("a"))
    assert cache.put(key_of("a"), outcome, 1.0).seconds == 1.0


def test_an_entry_with_a_file_too_many_or_too_few_is_dropped(kept):
    cache, outcome, _ = kept
    (cache.folder / key_of("a") / "more").write_text("x")
    assert cache.get(key_of("a")) is None
    cache.put(key_of("a"), outcome, 1.0)
    (cache.folder / key_of("a") / "outcome.json").unlink()
    assert cache.get(key_of("a")) is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the cache cannot be written: Not a directory"):
        Cache(tmp_path / "file" / "cache").put("k", Outcome(load_model(CNN).model), 0.0)


def test_the_least_recently_used_go_first(kept):
    cache, outcome, _ = kept
    cache.put(key_of("b"), outcome, 1.0)
    for key in ("a", "b"):
        os.utime(cache.folder / key_of(key), (1e9, 1e9))
    cache.get(key_of("a"))
    size = sum(file.stat().st_size for file in (cache.folder / key_of("a")).iterdir())
    cache.trim(most=int(1.5 * size))
    assert cache.holds(key_of("a")) and not cache.holds(key_of("b"))


def test_keys_depend_on_all_parts():
    assert key_of("a", 1) == hashlib.sha256(json.dumps(["a", 1]).encode()).hexdigest()
    assert key_of({"x": 1, "y": 2}) == key_of({"y": 2, "x": 1}) != key_of({"x": 2, "y": 1})
