from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.model.provenance import Provenance, read, stamp
from compressctl.model.save import save_model, serialize
from tests.graphs import parsed
from tests.model.texts import BRANCHES, CNN, cnn_weights

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
provenances = st.builds(
    Provenance, words, words, st.dictionaries(words, words, max_size=3), st.lists(words, max_size=3).map(tuple)
)
SOME = Provenance("abc", "{}", {"onnx": "1.17", "numpy": "2.0"}, ("simplify",))


@settings(max_examples=50)
@given(provenance=provenances)
def test_what_is_stamped_is_read_back(provenance: Provenance, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = parsed(CNN, **cnn_weights())
    model.metadata_props["author"] = "somebody"
    stamp(model, provenance)
    path = save_model(model, tmp_path_factory.mktemp("stamped") / "m.onnx", overwrite=False)[0]
    assert read(path) == provenance
    assert {entry.key: entry.value for entry in onnx.load(path).metadata_props}["author"] == "somebody"


def test_a_second_stamp_replaces_the_first() -> None:
    once, twice = parsed(BRANCHES), parsed(BRANCHES)
    stamp(twice, Provenance("old", "old", {}, ()))
    for model in (once, twice):
        stamp(model, SOME)
    assert serialize(once, Path()) == serialize(twice, Path())


def test_the_order_of_versions_does_not_matter() -> None:
    one, other = parsed(BRANCHES), parsed(BRANCHES)
    stamp(one, SOME)
    stamp(other, Provenance("abc", "{}", {"numpy": "2.0", "onnx": "1.17"}, ("simplify",)))
    assert serialize(one, Path()) == serialize(other, Path())


@pytest.mark.parametrize("content", [b"", b"no model", b"\x0a\xff\xff", b"\xff" * 30, b"\x07"])
def test_other_files_have_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert read(path) is None
    assert read(tmp_path / "none.onnx") is None
    assert read(tmp_path) is None


def test_a_model_of_others_has_none(tmp_path: Path) -> None:
    assert read(save_model(parsed(BRANCHES), tmp_path / "m.onnx", overwrite=False)[0]) is None


def test_same_origin_means_same_input_and_recipe() -> None:
    assert SOME.same_origin(Provenance("abc", "{}", {}, ()))
    assert not SOME.same_origin(Provenance("abd", "{}", SOME.versions, SOME.passes))
    assert not SOME.same_origin(Provenance("abc", "[]", SOME.versions, SOME.passes))
    assert not SOME.same_origin(None)
