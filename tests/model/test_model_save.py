import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from compressctl.errors import OutputError, PassError
from compressctl.model.load import load_model
from compressctl.model.provenance import Provenance, stamp
from compressctl.model.save import check_writable, save_model, serialize
from tests.disk import files_up_to
from tests.graphs import parsed
from tests.model.texts import BRANCHES, CNN, answer, cnn_weights, image

OURS = Provenance("abc", '{"scheme":"int8"}', {"onnx": "1.17"}, ("simplify", "quantize"))


@pytest.fixture
def cnn() -> ir.Model:
    return parsed(CNN, **cnn_weights())


def interrupting(model: ir.Model, name: str) -> None:
    """Make the tensor `name` raise KeyboardInterrupt as soon as somebody reads its data."""
    value = model.graph.initializers[name]

    def interrupt() -> ir.TensorProtocol:
        raise KeyboardInterrupt

    value.const_value = ir.LazyTensor(interrupt, value.const_value.dtype, shape=value.const_value.shape, name=name)


@pytest.mark.parametrize("limit", [10**9, 100], ids=["embedded", "external"])
def test_what_is_saved_computes_the_same(limit: int, cnn: ir.Model, tmp_path: Path) -> None:
    files = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=limit)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    np.testing.assert_array_equal(answer(files[0], image=image())[0], answer(cnn, image=image())[0])


@pytest.mark.parametrize("limit", [10**9, 100], ids=["embedded", "external"])
def test_equal_graphs_give_equal_bytes(limit: int, cnn: ir.Model, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_model(cnn.clone(), tmp_path / name / "m.onnx", overwrite=False, embed_limit=limit)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_external_data_begin_on_pages_and_small_tensors_stay_inside(cnn: ir.Model, tmp_path: Path) -> None:
    path, data = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    assert data.name == f"m.onnx.{hashlib.sha256(data.read_bytes()).hexdigest()[:16]}.data"
    tensors = {tensor.name: tensor for tensor in onnx.load(path, load_external_data=False).graph.initializer}
    entries = {entry.key: entry.value for entry in tensors["kernel"].external_data}
    assert entries["location"] == data.name
    assert int(entries["offset"]) % 4096 == 0
    stored = np.fromfile(data, np.float32, 16 * 27, offset=int(entries["offset"]))
    np.testing.assert_array_equal(stored, cnn_weights()["kernel"].ravel())
    assert len(tensors["bias"].raw_data) == 64


def test_external_data_are_written_again_beside_the_output(cnn: ir.Model, tmp_path: Path) -> None:
    first = save_model(cnn, tmp_path / "a.onnx", overwrite=False, embed_limit=100)
    loaded = load_model(first[0]).model
    second = save_model(loaded, tmp_path / "b.onnx", overwrite=False, embed_limit=100)
    whole = save_model(loaded, tmp_path / "c.onnx", overwrite=False)
    for file in first:
        file.unlink()
    expected = answer(cnn, image=image())[0]
    np.testing.assert_array_equal(answer(second[0], image=image())[0], expected)
    np.testing.assert_array_equal(answer(whole[0], image=image())[0], expected)


def test_the_model_is_not_changed(cnn: ir.Model, tmp_path: Path) -> None:
    tensors = {name: value.const_value for name, value in cnn.graph.initializers.items()}
    before = serialize(cnn, tmp_path)
    save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    assert serialize(cnn, tmp_path) == before
    assert all(value.const_value is tensors[name] for name, value in cnn.graph.initializers.items())


def test_serialize_gives_bytes_or_a_file(cnn: ir.Model, tmp_path: Path) -> None:
    assert isinstance(serialize(cnn, tmp_path), bytes)
    assert not list(tmp_path.iterdir())
    paths = [serialize(cnn, tmp_path, embed_limit=100) for _ in range(2)]
    assert paths[0] != paths[1]
    for path in paths:
        np.testing.assert_array_equal(answer(path, image=image())[0], answer(cnn, image=image())[0])


@pytest.mark.parametrize(("dtype", "version"), [("float32", 8), ("int4", 10), ("float8_e5m2", 9), ("int2", 13)])
def test_the_ir_version_is_the_least_that_the_types_need(dtype: str, version: int, tmp_path: Path) -> None:
    import ml_dtypes

    model = parsed("""m (float[2] x) => (float[2] y) { y = Relu (x) }""")
    array = np.ones(2).astype(getattr(ml_dtypes, dtype, dtype))
    model.graph.register_initializer(ir.Value(name="w", const_value=ir.tensor(array, name="w")))
    assert onnx.load(save_model(model, tmp_path / "m.onnx", overwrite=False)[0]).ir_version == version


# Failures


def test_a_file_is_only_replaced_on_demand(cnn: ir.Model, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"m\.onnx exists already \(--force replaces it\)"):
        save_model(cnn, path, overwrite=False)
    assert path.read_bytes() == b"precious"
    save_model(cnn, path, overwrite=True)
    onnx.checker.check_model(path)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("limit", [10**9, 100], ids=["embedded", "external"])
def test_a_full_disk_or_an_interrupt_leaves_everything_as_it_was(
    limit: int, interrupted: bool, cnn: ir.Model, tmp_path: Path
) -> None:
    files = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=limit)
    before = {file: file.read_bytes() for file in files}
    changed = parsed(CNN, **cnn_weights(seed=1))
    if interrupted:
        interrupting(changed, "kernel")
    room = files_up_to(10**9 if interrupted else 1000)
    error, said = (KeyboardInterrupt, None) if interrupted else (OutputError, r"cannot write .*m\.onnx: File too large")
    with room, pytest.raises(error, match=said):
        save_model(changed, tmp_path / "m.onnx", overwrite=True, embed_limit=limit)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_where_the_model_cannot_be_replaced_its_data_go_again(cnn: ir.Model, tmp_path: Path) -> None:
    path, data = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    path.mkdir()  # a folder cannot be replaced by a file
    data.write_bytes(b"precious")
    with pytest.raises(OutputError, match="cannot write"):
        save_model(cnn, path, overwrite=True, embed_limit=100)
    assert sorted(tmp_path.iterdir()) == [path, data] and data.read_bytes() == b"precious"


def test_former_data_go_once_the_model_is_replaced(cnn: ir.Model, tmp_path: Path) -> None:
    path, former = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    foreign = [tmp_path / name for name in ("m.onnx.data", "m.onnx.0123.data", "n.onnx.0123456789abcdef.data")]
    for file in foreign:
        file.write_bytes(b"precious")
    (tmp_path / "m.onnx.0123456789abcdef.data").write_bytes(b"left by a run that was killed before it moved the model")
    _, data = save_model(parsed(CNN, **cnn_weights(seed=1)), path, overwrite=True, embed_limit=100)
    assert data != former
    assert sorted(tmp_path.iterdir()) == sorted([path, data, *foreign])
    save_model(cnn, path, overwrite=True)
    assert sorted(tmp_path.iterdir()) == sorted([path, *foreign])


def test_data_that_another_model_names_stay(cnn: ir.Model, tmp_path: Path) -> None:
    path, data = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(path.read_bytes())
    save_model(parsed(CNN, **cnn_weights(seed=1)), path, overwrite=True, embed_limit=100)
    assert data.exists()
    np.testing.assert_array_equal(answer(kept, image=image())[0], answer(cnn, image=image())[0])


def test_files_have_the_permissions_that_the_user_gives(cnn: ir.Model, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o640, 0o640]
        files[0].chmod(0o604)
        save_model(cnn, files[0], overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o604


def test_a_link_is_replaced_and_what_it_leads_to_stays(cnn: ir.Model, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"precious")
    path = tmp_path / "m.onnx"
    path.symlink_to("store")
    save_model(cnn, path, overwrite=True)
    assert not path.is_symlink() and (tmp_path / "store").read_bytes() == b"precious"


def test_an_invalid_graph_is_not_written(cnn: ir.Model, tmp_path: Path) -> None:
    cnn.graph[0].attributes["frobnicate"] = ir.AttrInt64("frobnicate", 1)
    with pytest.raises(PassError, match=r"m\.onnx fails onnx's check: node 'conv': Unrecognized attribute: frobnicate"):
        save_model(cnn, tmp_path / "m.onnx", overwrite=False)
    assert not list(tmp_path.iterdir())


def test_the_weights_of_the_input_are_never_overwritten(cnn: ir.Model, tmp_path: Path) -> None:
    path, data = save_model(cnn, tmp_path / "m.onnx", overwrite=False, embed_limit=100)
    content, place = data.read_bytes(), data.stat().st_ino
    loaded = load_model(path).model
    save_model(loaded, path, overwrite=True, embed_limit=100)
    assert (data.read_bytes(), data.stat().st_ino) == (content, place)


def test_a_missing_folder(cnn: ir.Model, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*: No such file or directory"):
        save_model(cnn, tmp_path / "none" / "m.onnx", overwrite=False)


# Early refusal


def test_a_free_name_can_be_written(tmp_path: Path) -> None:
    check_writable(tmp_path / "m.onnx", force=False, provenance=None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.bin", "does not end in .onnx"),
        ("folder.onnx", "is a folder"),
        ("none/m.onnx", "does not exist"),
        ("file/m.onnx", "does not exist"),
        ("input.onnx", "is the input model itself"),
        ("link.onnx", "is the input model itself"),
    ],
)
def test_names_that_cannot_be_written(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "input.onnx").touch()
    (tmp_path / "link.onnx").symlink_to("input.onnx")
    with pytest.raises(OutputError, match=message):
        check_writable(tmp_path / name, force=True, provenance=OURS, source=tmp_path / "input.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / "m.onnx", force=True, provenance=None)


def test_only_our_own_earlier_output_is_replaced_without_force(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = parsed(BRANCHES)
    stamp(model, OURS)
    save_model(model, path, overwrite=False)
    check_writable(path, force=False, provenance=OURS)
    later = Provenance(OURS.input_sha256, OURS.recipe, {"onnx": "2.0"}, ())
    check_writable(path, force=False, provenance=later)
    for other in (None, Provenance("def", OURS.recipe, {}, ()), Provenance("abc", "{}", {}, ())):
        with pytest.raises(OutputError, match="exists, and is no earlier output of this recipe" if other else "exists"):
            check_writable(path, force=False, provenance=other)
        check_writable(path, force=True, provenance=other)
