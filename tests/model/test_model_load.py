import hashlib
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import external_data_helper, helper, numpy_helper, printer

from compressctl.errors import CompressctlError, ModelError, UsageError
from compressctl.model.load import Loaded, interface, load_model
from compressctl.model.save import save_model, serialize
from compressctl.model.verify import verify_graph
from compressctl.tensorspec import TensorSpec
from tests.graphs import parse
from tests.model.texts import BRANCHES, CNN, answer, cnn, cnn_weights, image


def load(model: onnx.ModelProto | str | bytes, folder: Path, **options: Any) -> Loaded:
    path = folder / "m.onnx"
    model = parse(model) if isinstance(model, str) else model
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return load_model(path, **options)


def texts(loaded: Loaded) -> str:
    return " | ".join(f"{note.kind}: {note.text} @{note.node}" for note in loaded.notes)


def with_external_data(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    path = folder / "m.onnx"
    onnx.save(model or cnn(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


# What is brought to the common form

OLD = {
    "upsample_9": (
        9,
        """u = Unsqueeze <axes = [0, 1]> (h)
           up = Upsample <mode = "nearest"> (u, scales)
           y = Squeeze <axes = [0, 1]> (up)""",
    ),
    "dropout_batchnorm_7": (
        7,
        """d, mask = Dropout <ratio = 0.3> (h)
           t = Transpose (d)
           n = BatchNormalization (t, s, s, s, s)
           y = Softmax <axis = 1> (n)""",
    ),
    "pad_clip_slice_10": (
        10,
        """p = Pad <pads = [0, 1, 0, 1], value = 2.5> (h)
           c = Clip <min = -0.5, max = 1.5> (p)
           starts = Constant <value = int64[1] {1}> ()
           ends = Constant <value = int64[1] {5}> ()
           axes = Constant <value = int64[1] {1}> ()
           l = Slice (c, starts, ends, axes)
           y = ReduceSum <axes = [0], keepdims = 0> (l)""",
    ),
    "split_argmax_12": (
        12,
        """a, b = Split <axis = 1, split = [1, 3]> (h)
           y = Add (a, b)""",
    ),
    "branch_11": (
        11,
        """flag = Constant <value = bool {1}> ()
           y = If (flag) <
               then_branch = yes () => (float[2, 4] t) { u = Unsqueeze <axes = [0]> (h) t = Squeeze <axes = [0]> (u) },
               else_branch = no () => (float[2, 4] e) { e = Neg (h) }
           >""",
    ),
}


@pytest.mark.parametrize("case", OLD)
def test_old_opsets_are_converted_and_compute_the_same(case: str, tmp_path: Path) -> None:
    version, body = OLD[case]
    text = f"""<ir_version: 6, opset_import: ["" : {version}]>
    old (float[2, 4] x) => (float y) {{ h = MatMul (x, w) {body} }}"""
    weights = {
        "w": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32),
        "s": np.array([0.5, 2.0], np.float32),
        "scales": np.array([1, 1, 2, 3], np.float32),
    }
    old = parse(text, **weights)
    old.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="y"))
    loaded = load(old, tmp_path)
    assert loaded.model.opset_imports[""] == 17
    assert f"converted from opset {version} to 17" in texts(loaded)
    assert np.array_equal(loaded.model.graph.initializers["w"].const_value.numpy(), weights["w"])
    verify_graph(loaded.model, where="load")
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    typed = onnx.shape_inference.infer_shapes(old)  # onnxruntime wants no type of an output, or a right one
    np.testing.assert_array_equal(answer(loaded.model, x=x)[0], answer(typed, x=x)[0])


def test_current_opsets_are_left_alone(tmp_path: Path) -> None:
    loaded = load(
        """<ir_version: 7, opset_import: ["" : 13]>
        m (float[2] x) => (float[2] y) { y = Relu (x) }""",
        tmp_path,
    )
    assert loaded.model.opset_imports == {"": 13}
    assert loaded.model.ir_version == 7
    assert not loaded.notes


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    model = parse("""<ir_version: 4, opset_import: ["" : 6]>
    m (float[2, 4] x, float[2] s) => (float[2, 4] y) {
        a = Relu (x)
        [norm] b = BatchNormalization <is_test = 0> (a, s, s, s, s)
        y = Relu (b)
    }""")
    with pytest.raises(ModelError, match=r"node 'norm' \(BatchNormalization\) cannot be converted from opset 6 to 17"):
        load(model, tmp_path)


def test_weights_listed_as_inputs_become_plain_initializers(tmp_path: Path) -> None:
    model = cnn()
    model.ir_version = 3
    model.opset_import[0].version = 9
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    loaded = load(model, tmp_path)
    assert [value.name for value in loaded.model.graph.inputs] == ["image"]
    assert set(loaded.model.graph.initializers) == {"kernel", "bias", "weight", "offset"}
    assert "weights that were listed as inputs are so no longer: 4" in texts(loaded)
    np.testing.assert_array_equal(answer(loaded.model, image=image())[0], answer(model, image=image())[0])


def test_constant_weights_are_lifted_and_scalars_and_shapes_stay(tmp_path: Path) -> None:
    loaded = load(
        """m (float[2, 2] x) => (float[4] y, float[2] out) {
        w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()
        half = Constant <value = float {0.5}> ()
        shape = Constant <value = int64[1] {4}> ()
        out = Constant <value = float[2] {7, 8}> ()
        h = MatMul (x, w)
        i = Mul (h, half)
        y = Reshape (i, shape)
    }""",
        tmp_path,
    )
    graph = loaded.model.graph
    assert list(graph.initializers) == ["w"]
    np.testing.assert_array_equal(graph.initializers["w"].const_value.numpy(), [[1, 2], [3, 4]])
    assert [node.outputs[0].name for node in graph if node.op_type == "Constant"] == ["half", "shape", "out"]
    assert "Constant nodes lifted to initializers: 1" in texts(loaded)
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(answer(loaded.model, x=x)[0], (x @ x / 2).reshape(4))


def test_functions_are_inlined(tmp_path: Path) -> None:
    loaded = load(
        """<ir_version: 9, opset_import: ["" : 17, "local" : 1]>
    m (float[N, 2] x) => (float[N, 2] y, float[N, 2] z) {
        h = local.scaled <alpha = 3.0> (x)
        [call] y = local.scaled (h)
        z = local.through (x)
    }
    <domain: "local", opset_import: ["" : 17]>
    scaled <alpha: float = 2.0> (a) => (b) { k = Constant <value_float: float = @alpha> () b = Mul (a, k) }
    <domain: "local", opset_import: ["" : 17]>
    through (a) => (a) { }""",
        tmp_path,
    )
    assert not loaded.model.functions
    assert [value.name for value in loaded.model.graph.inputs] == ["x"]
    assert [value.name for value in loaded.model.graph.outputs] == ["y", "z"]
    verify_graph(loaded.model, where="load")
    x = np.array([[1, -2]], np.float32)
    y, z = answer(loaded.model, x=x)
    np.testing.assert_array_equal(y, 6 * x)
    np.testing.assert_array_equal(z, x)


def test_bodies_keep_their_nodes_and_are_told_of(tmp_path: Path) -> None:
    source = parse(BRANCHES)
    loaded = load(source, tmp_path)
    assert printer.to_text(ir.to_proto(loaded.model).graph.node[2]) == printer.to_text(source.graph.node[2])
    told = "what If holds is not cut, nor fitted to samples; its weights are compressed like others"
    assert f"skipped: {told} @choice" in texts(loaded)


def test_weights_of_bodies_are_lifted_under_names_of_their_own(tmp_path: Path) -> None:
    source = parse("""m (float[n, 2] x, bool flag) => (float[n, 2] y) {
        y = If (flag) <
            then_branch = yes () => (float[n, 2] t) { w = Constant <value = float[2] {1, 2}> () t = Add (x, w) },
            else_branch = no () => (float[n, 2] e) { a = Add (x, w) b = Mul (a, one) e = If (flag) <
                then_branch = inner () => (float[n, 2] i) { i = Identity (b) },
                else_branch = last () => (float[2] w_2) { w_2 = Constant <value = float[2] {7, 8}> () }
            > }
        >
    }""")
    branch = source.graph.node[0].attribute[1].g
    for name, array in {"w": [3, 4], "one": 1}.items():
        branch.initializer.append(numpy_helper.from_array(np.array(array, np.float32), name))
    loaded = load(source, tmp_path)
    assert "done: constants of bodies lifted to the main graph: 2" in texts(loaded)
    assert sorted(loaded.model.graph.initializers) == ["w", "w_1"]
    assert list(loaded.model.graph[0].attributes["else_branch"].as_graph().initializers) == ["one"]
    verify_graph(loaded.model, where="load")
    x = np.ones((1, 2), np.float32)
    for flag, expected in ((True, [[2, 3]]), (False, [7, 8])):
        feeds = {"x": x, "flag": np.array(flag)}
        for model in (source, serialize(loaded.model, tmp_path)):
            np.testing.assert_array_equal(answer(model, **feeds)[0], expected)


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_weights_read_as_dense_and_stay_sparse_in_the_file(linear: bool, tmp_path: Path) -> None:
    dense = np.zeros((4, 3), np.float32)
    dense[[0, 2, 3], [1, 0, 2]] = [5, -6, 7]
    places = np.flatnonzero(dense) if linear else np.argwhere(dense)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(dense[dense != 0], "w"), numpy_helper.from_array(places.astype(np.int64)), dense.shape
    )
    model = parse("""m (float[2, 4] x) => (float[2, 3] y) { y = MatMul (x, w) }""")
    model.graph.sparse_initializer.append(sparse)
    loaded = load(model, tmp_path)
    np.testing.assert_array_equal(loaded.model.graph.initializers["w"].const_value.numpy(), dense)
    save_model(loaded.model, tmp_path / "again.onnx", overwrite=False)
    (kept,) = onnx.load(tmp_path / "again.onnx").graph.sparse_initializer
    np.testing.assert_array_equal(numpy_helper.to_array(kept.values), [5, -6, 7])
    np.testing.assert_array_equal(numpy_helper.to_array(kept.indices), [1, 6, 11])
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(answer((tmp_path / "again.onnx").read_bytes(), x=x)[0], x @ dense)


@pytest.mark.parametrize("places", [[6, 1, 11], [1, 1, 6], [1, 6, 12], [-1, 6, 11], [1, 6]])
def test_sparse_weights_whose_places_are_wrong_are_refused(places: list[int], tmp_path: Path) -> None:
    sparse = onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.ones(3, np.float32), "w"),
        indices=numpy_helper.from_array(np.array(places, np.int64)),
        dims=(4, 3),
    )
    model = parse("""m (float[2, 4] x) => (float[2, 3] y) { y = MatMul (x, w) }""")
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError, match="sparse tensor 'w'"):
        load(model, tmp_path)


def test_sparse_constants_become_dense(tmp_path: Path) -> None:
    values, places = np.array([3, 4], np.float32), np.array([0, 2], np.int64)
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(values), numpy_helper.from_array(places), [3])
    model = parse("""m (float[3] x) => (float[3] y) { y = Add (x, w) }""")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    np.testing.assert_array_equal(load(model, tmp_path).model.graph.initializers["w"].const_value.numpy(), [3, 0, 4])


def test_nodes_get_unique_names(tmp_path: Path) -> None:
    model = parse("""m (float[2] x) => (float[2] y) {
        a = Relu (x)
        [same] b = Neg (a)
        [same] c = Abs (b)
        [Relu_1] d = Neg (c)
        e = Relu (d)
        y = Relu (e)
    }""")
    names = [node.name for node in load(model, tmp_path).model.graph]
    assert names == ["Relu_0", "same", "same_0", "Relu_1", "Relu_2", "Relu_3"]


def test_shapes_are_inferred_with_their_symbols(tmp_path: Path) -> None:
    shapes = {value.name: value.shape for node in load(cnn(), tmp_path).model.graph for value in node.outputs}
    assert shapes == {
        "a": ir.Shape(["batch", 16, 4, 4]),
        "b": ir.Shape(["batch", 16, 4, 4]),
        "c": ir.Shape(["batch", 16, 1, 1]),
        "d": ir.Shape(["batch", 16]),
        "logits": ir.Shape(["batch", 5]),
    }


def test_shapes_follow_shape_arithmetic(tmp_path: Path) -> None:
    model = parse("""m (float[batch, 4] x) => (float[batch, 7] y) {
        zero = Constant <value = int64[1] {0}> ()
        right = Constant <value = int64[1] {3}> ()
        two = Constant <value = int64[1] {2}> ()
        shape = Shape (two)
        some = ConstantOfShape <value = int64[1] {0}> (shape)
        left = Concat <axis = 0> (zero, some)
        pads = Concat <axis = 0> (left, zero, right)
        p = Pad (x, pads)
        y = Relu (p)
    }""")
    values = ir.convenience.create_value_mapping(load(model, tmp_path).model.graph)
    assert values["p"].shape == ir.Shape(["batch", 7])


@pytest.mark.parametrize(
    "bomb",
    [
        "shape = Constant <value = int64[2] {4294967296, 4294967296}> () big = ConstantOfShape (shape)",
        "s = Constant <value_ints = [100000, 100000]> () one = Constant <value_int = 1> () big = Expand (one, s)",
        "zero = Constant <value_int = 0> () one = Constant <value_int = 1> () "
        "end = Constant <value_int = 1000000000000> () big = Range (zero, end, one)",
    ],
)
def test_shape_arithmetic_makes_nothing_large(bomb: str, tmp_path: Path) -> None:
    load(
        parse(f"""m (float[2] x) => (float[2] y) {{ {bomb} y = Relu (x) }}"""),
        tmp_path,
    )


def test_undeclared_outputs_are_inferred(tmp_path: Path) -> None:
    model = cnn()
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="logits"))
    assert interface(load(model, tmp_path).model)[1] == (TensorSpec("logits", "float32", ("batch", 5)),)


def test_interface(tmp_path: Path) -> None:
    model = parse("""m (float16[batch, 3] a, int64 b, string[2] c, bool[?] d) => (float16[batch, 3] e, int64 f) {
        e = Relu (a) f = Neg (b) g = Identity (c) h = Not (d)
    }""")
    inputs, outputs = interface(load(model, tmp_path).model)
    assert inputs == (
        TensorSpec("a", "float16", ("batch", 3)),
        TensorSpec("b", "int64", (), axis=None),
        TensorSpec("c", "string", (2,), axis=None),
        TensorSpec("d", "bool", (None,)),
    )
    assert outputs == (TensorSpec("e", "float16", ("batch", 3)), TensorSpec("f", "int64", (), axis=None))


def test_loading_what_was_saved_changes_nothing(tmp_path: Path) -> None:
    first = load(cnn(), tmp_path).model
    saved = save_model(first, tmp_path / "a.onnx", overwrite=False)[0]
    again = save_model(load_model(saved).model, tmp_path / "b.onnx", overwrite=False)[0]
    assert saved.read_bytes() == again.read_bytes()


# External data


@pytest.mark.parametrize("opset", [9, 17])
def test_external_data_stay_on_disk(opset: int, tmp_path: Path) -> None:
    model = cnn()
    model.opset_import[0].version = opset
    path = with_external_data(tmp_path, model)
    loaded = load_model(path)
    assert isinstance(loaded.model.graph.initializers["kernel"].const_value, ir.ExternalTensor)
    np.testing.assert_array_equal(answer(loaded.model, image=image())[0], answer(cnn(), image=image())[0])
    both = path.read_bytes() + (tmp_path / "weights.bin").read_bytes()
    assert loaded.sha256 == hashlib.sha256(both).hexdigest()


def test_external_data_of_constant_nodes(tmp_path: Path) -> None:
    model = parse("""m (float[4] x) => (float[2, 2] y) { y = Reshape (x, s) }""")
    constant = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([2, 2]), "s"))
    external_data_helper.set_external_data(constant.attribute[0].t, "weights.bin", length=16)
    constant.attribute[0].t.ClearField("raw_data")
    model.graph.node.insert(0, constant)
    (tmp_path / "weights.bin").write_bytes(np.array([2, 2]).tobytes())
    loaded = load(model, tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert answer(loaded.model, x=np.zeros(4, np.float32))[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (Path.unlink, r"m\.onnx: tensor 'kernel' keeps its data in 'weights\.bin', which is missing"),
        (lambda data: os.link(data, data.with_name("other.bin")), "is hard-linked from elsewhere"),
        (lambda data: os.truncate(data, 2000), r"needs bytes up to \d+, weights\.bin ends at 2000"),
    ],
)
def test_external_data_that_cannot_be_used(harm: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    harm(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match=message):
        load_model(path)


@pytest.mark.parametrize("way", ["parent", "absolute", "link", "none"])
def test_external_data_may_not_leave_the_folder(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = with_external_data(folder)
    outside = (folder / "weights.bin").rename(tmp_path / "weights.bin")
    locations = {"parent": "../weights.bin", "absolute": str(outside), "link": "link.bin", "none": ""}
    (folder / "link.bin").symlink_to(outside)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = locations[way]
    with pytest.raises(ModelError, match=r"'kernel' keeps its data in .*, which is outside the model's folder"):
        load(model, folder)


def test_external_data_may_be_linked_inside_the_folder(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "real.bin")
    (tmp_path / "weights.bin").symlink_to("real.bin")
    np.testing.assert_array_equal(answer(load_model(path).model, image=image())[0], answer(cnn(), image=image())[0])


@pytest.mark.parametrize(("key", "value"), [("length", "7"), ("offset", "-4"), ("offset", "many")])
def test_external_data_with_a_wrong_entry(key: str, value: str, tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    model = onnx.load(path, load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == key).value = value
    with pytest.raises(ModelError, match="external tensor 'kernel'"):
        load(model, tmp_path)


# What cannot be used


def zipped(path: Path, *members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"this is no model, but a text of several words\n", "is not an ONNX model, or is truncated"),
        (random.Random(0).randbytes(5000), "is not an ONNX model, or is truncated"),
        (pickle.dumps({"weight": [1.0]}), "is a Python pickle"),
        (b"PK\x03\x04 and then nothing", "starts like a zip archive, but is damaged"),
        (onnx.ModelProto().SerializeToString() or b"\x08\x08", "holds no graph"),
        (cnn().SerializeToString()[:2000], "is not an ONNX model, or is truncated"),
    ],
)
def test_files_that_are_no_model(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(content, tmp_path)
    assert "m.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx does not exist"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        load_model(tmp_path)


def test_archives_that_are_no_torchscript(tmp_path: Path) -> None:
    zipped(tmp_path / "a.pt", "m/data.pkl", "m/data/0")
    with pytest.raises(ModelError, match="is a PyTorch checkpoint of weights alone"):
        load_model(tmp_path / "a.pt")
    zipped(tmp_path / "b.pt", "readme.txt")
    with pytest.raises(ModelError, match="is a zip archive that holds no model"):
        load_model(tmp_path / "b.pt")


def test_torchscript_needs_its_inputs(tmp_path: Path) -> None:
    zipped(tmp_path / "m.onnx", "m/data.pkl", "m/code/__torch__.py", "m/constants.pkl")  # told by content, not by name
    with pytest.raises(UsageError, match="--input name:1x3x32x32"):
        load_model(tmp_path / "m.onnx")


def test_a_graph_without_outputs(tmp_path: Path) -> None:
    model = cnn()
    del model.graph.output[:]
    with pytest.raises(ModelError, match="the graph has no outputs"):
        load(model, tmp_path)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("[one] y = Frobnicate (x)", "node 'one': No Op registered for Frobnicate"),
        ("[one] y = Relu (missing)", "input 'missing' of node: name: one"),
        ("y = Relu (x) [two] y = Neg (x)", "single static assignment"),
        ("[one] y = Gemm (x)", "input size 1 not in range"),
        ("h = Relu (x)", "Graph output 'y' is not an output of any node"),
        ("[one] y = own.Thing (x)", "No opset import for domain 'own'"),
    ],
)
def test_invalid_graphs(nodes: str, message: str, tmp_path: Path) -> None:
    text = f"""m (float[2, 2] x) => (float[2, 2] y) {{ {nodes} }}"""
    with pytest.raises(ModelError, match=message):
        load(text, tmp_path)


CUSTOM = """<ir_version: 8, opset_import: ["" : 17, "own" : 1, "com.microsoft" : 1, "ai.onnx.ml" : 2]>
m (float[2, 2] x) => (float[2, 2] y) {
    a = com.microsoft.FastGelu (x)
    b = ai.onnx.ml.Scaler <offset = [0.0], scale = [1.0]> (a)
    [mine] y = own.Thing (b)
}"""


def test_custom_operators(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="node 'mine' is operator Thing of the custom domain 'own'"):
        load(CUSTOM, tmp_path)
    assert load(CUSTOM.replace("own.Thing", "Relu"), tmp_path).notes == ()


def test_an_attribute_of_no_function_is_refused(tmp_path: Path) -> None:
    model = parse(CUSTOM.replace("own.Thing", "Softmax"))
    model.graph.node[2].attribute.append(onnx.AttributeProto(name="axis", type="INT", ref_attr_name="other"))
    with pytest.raises(ModelError, match="node 'mine' has the attribute 'axis' refer to one of a function"):
        load(model, tmp_path)


@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
def test_nan_is_refused(dtype: int, tmp_path: Path) -> None:
    model = parse("""m (float[3] x) => (float[3] y) { y = Relu (x) }""")
    model.graph.initializer.append(helper.make_tensor("sick", dtype, [3], [1.0, float("nan"), 2.0]))
    with pytest.raises(ModelError, match=r"m\.onnx: weight 'sick' holds NaN"):
        load(model, tmp_path)


def test_nan_is_found_in_constants_bodies_and_external_data(tmp_path: Path) -> None:
    sick = parse(
        BRANCHES.replace("{ [add] t = Add (h, k) }", "{ s = Constant <value_float = 1.0> () [add] t = Add (h, s) }")
    )
    body = sick.graph.node[2].attribute[0].g.node[0]
    body.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(np.float32("nan"))))
    with pytest.raises(ModelError, match="weight 's' holds NaN"):
        load(sick, tmp_path)
    weights = cnn_weights()
    weights["weight"][-1, -1] = np.nan
    with pytest.raises(ModelError, match="weight 'weight' holds NaN"):
        load_model(with_external_data(tmp_path, parse(CNN, **weights)))


def test_infinite_masks_are_legal(tmp_path: Path) -> None:
    model = parse("""m (float[3] x) => (float[3] y) <float[3] mask = {0, 0, 0}> { y = Add (x, mask) }""")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([0, -np.inf, 0], np.float32), "mask"))
    assert texts(load(model, tmp_path)) == "warning: holds infinite values @mask"


def test_data_that_do_not_fit_the_shape(tmp_path: Path) -> None:
    model = cnn()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match="tensor 'kernel' holds 1724 bytes, its type and shape say 1728"):
        load(model, tmp_path)


QUANTIZED = """m (float[2] x) => (float[2] y) <float scale = {%s}, int8 zero = {0}> {
    q = QuantizeLinear (x, scale, zero)
    [dq] y = DequantizeLinear (q, scale, zero)
}"""


def test_quantized_models_get_a_note(tmp_path: Path) -> None:
    note = "the model is quantized already, at 2 nodes (DequantizeLinear, QuantizeLinear)"
    assert note in texts(load(QUANTIZED % "0.5", tmp_path))


def test_a_scale_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has a scale of 0, scales must be above zero"):
        load(QUANTIZED % "0", tmp_path)


FUZZED = """<ir_version: 6, opset_import: ["" : 11, "local" : 1]>
m (float[batch, 4] x, bool flag) => (float[batch, 4] y)
<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}>
{
    h = MatMul (x, w)
    u = Unsqueeze <axes = [0]> (h)
    c = Constant <value = float[4] {1, 2, 3, 4}> ()
    f = local.double (c)
    y = If (flag) <
        then_branch = yes () => (float[batch, 4] t) { t = Squeeze <axes = [0]> (u) },
        else_branch = no () => (float[batch, 4] e) { e = Add (h, f) }
    >
}
<domain: "local", opset_import: ["" : 11]> double (a) => (b) { b = Add (a, a) }
"""


def test_damaged_files_give_one_line_or_a_sound_model(tmp_path: Path) -> None:
    sound, choose, failures = parse(FUZZED).SerializeToString(), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(sound)
        place = choose.randrange(len(damaged))
        match choose.randrange(4):
            case 0:
                del damaged[place:]
            case 1:
                del damaged[place : place + choose.randrange(1, 20)]
            case 2:
                damaged[place] ^= 1 << choose.randrange(8)
            case _:
                damaged[place : place + 3] = choose.randbytes(3)
        try:
            verify_graph(load(bytes(damaged), tmp_path).model, where="load")
        except CompressctlError as error:
            failures += 1
            assert isinstance(error, ModelError)
            assert "m.onnx" in str(error)
            assert "\n" not in str(error)
    assert failures > 100


def test_dimensions_below_zero_are_open(tmp_path):
    model = parse("g (float[4,8] x) => (float[4,8] y) { y = Relu(x) }")
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = -1
    onnx.save(model, tmp_path / "m.onnx")
    loaded = load_model(tmp_path / "m.onnx")
    assert [spec.shape for specs in interface(loaded.model) for spec in specs] == [(None, 8), (None, 8)]


@pytest.mark.parametrize("sequence", [True, False])
def test_maps_are_refused_by_name(sequence, tmp_path):
    values = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    kind = helper.make_map_type_proto(onnx.TensorProto.INT64, values)
    kind = helper.make_sequence_type_proto(kind) if sequence else kind
    node = helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([node], "g", [x], [helper.make_value_info("p", kind)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m.onnx: 'p', which ZipMap makes, is a map.*zipmap=False"):
        load_model(tmp_path / "m.onnx")


def test_a_map_that_nothing_reads_is_carried_through(tmp_path):
    zipped = helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 2]) for name in "xy")
    graph = helper.make_graph([zipped, helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    assert [node.op_type for node in load_model(tmp_path / "m.onnx").model.graph] == ["ZipMap", "Relu"]
