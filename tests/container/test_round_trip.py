"""What is packed comes back byte for byte, whatever the files hold."""

from pathlib import Path

import ccz_decoder
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from compressctl.container.pack import pack
from compressctl.container.streams import Coder
from compressctl.container.unpack import unpack
from compressctl.errors import ModelError, OutputError
from compressctl.model import wire

SAMPLES = sorted((Path(__file__).parents[2] / "sample_models").glob("*.onnx"))
RNG = np.random.default_rng


def model_of(*tensors: TensorProto) -> onnx.ModelProto:
    """A model that returns its input, and holds `tensors`."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [other], list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def write(folder: Path, content: onnx.ModelProto | bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def round_trip(path: Path, **options):
    """Pack and unpack beside `path`, compare, and return what packing reports."""
    packing = pack(path, path.with_suffix(".ccz"), **options)
    unpack(path.with_suffix(".ccz"), path.with_name("again.onnx"), force=True)
    assert path.with_name("again.onnx").read_bytes() == path.read_bytes()
    assert packing.packed_bytes == path.with_suffix(".ccz").stat().st_size
    assert packing.directory_bytes + sum(part.packed_bytes for part in packing.parts) == packing.packed_bytes
    return packing


def part(packing, name: str):
    return next(part for part in packing.parts if part.name == name)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Tensors of any type, of none to many elements; uniform, skewed, constant or of few values."""
    dtype = np.dtype(draw(st.sampled_from("?bBhHiIqQefdFD")))
    shape = tuple(draw(st.lists(st.integers(0, 30), max_size=3)))
    rng = RNG(draw(st.integers(0, 2**32 - 1)))
    size = int(np.prod(shape))
    match draw(st.sampled_from(["any", "small", "few", "constant"])):
        case "any":
            flat = np.frombuffer(rng.bytes(size * dtype.itemsize), dtype)
        case "small":
            flat = rng.normal(0, 3, size).astype(np.int8).astype(dtype)
        case "few":
            flat = rng.choice(np.frombuffer(rng.bytes(20 * dtype.itemsize), dtype), size)
        case _:
            flat = np.ones(size, dtype)
    return flat.reshape(shape)


@settings(max_examples=40, deadline=None)
@given(tensors=st.lists(arrays(), max_size=4), coder=st.sampled_from([None, *list(Coder)[1:]]))
def test_any_types_and_shapes(tmp_path_factory, tensors, coder):
    path = tmp_path_factory.mktemp("t")
    protos = [numpy_helper.from_array(array, f"t{number}") for number, array in enumerate(tensors)]
    round_trip(write(path, model_of(*protos)), coder=coder)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_models(path, tmp_path):
    assert round_trip(write(tmp_path, path.read_bytes())).ratio > 1.1


@pytest.mark.parametrize(
    ("dtype", "values", "width"),
    [
        (TensorProto.FLOAT, RNG(0).standard_normal(2000), 4),
        (TensorProto.DOUBLE, RNG(0).standard_normal(2000), 8),
        (TensorProto.INT32, RNG(0).integers(-100, 100, 2000), 1),
        (TensorProto.INT8, RNG(0).integers(-8, 8, 2000), 1),
        (TensorProto.INT64, RNG(0).integers(0, 1 << 40, 2000), 1),
        (TensorProto.UINT64, RNG(0).integers(0, 1 << 40, 2000), 1),
    ],
)
def test_typed_fields_are_coded_as_well_as_raw_data(dtype, values, width, tmp_path):
    tensor = helper.make_tensor("w", dtype, [2000], values.tolist())
    assert not tensor.raw_data
    packed = part(round_trip(write(tmp_path, model_of(tensor))), "w")
    assert packed.elements == 2000 and packed.bytes >= 2000 and packed.packed_bytes < packed.bytes
    assert ("planes" in packed.coder) == (width > 1)


def test_strings_and_unpacked_floats_stay_where_they_are(tmp_path):
    strings = helper.make_tensor("s", TensorProto.STRING, [3000], [b"word"] * 3000)
    head = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2000]).SerializeToString()
    floats = b"".join(b"\x25" + value.tobytes() for value in RNG(0).standard_normal(2000).astype("<f4"))
    content = with_initializer(model_of(strings), head + floats)
    assert len(onnx.load_from_string(content).graph.initializer[1].float_data) == 2000
    assert [part.name for part in round_trip(write(tmp_path, content)).parts] == ["structure"]


def with_initializer(model: onnx.ModelProto, tensor: bytes) -> bytes:
    """Append an initializer, given as bytes, to the graph."""
    graph = model.graph.SerializeToString() + b"\x2a" + wire.varint(len(tensor)) + tensor
    model.ClearField("graph")
    return b"\x3a" + wire.varint(len(graph)) + graph + model.SerializeToString()


def test_fields_in_unusual_order(tmp_path):
    values = RNG(0).standard_normal(4000).astype("<f4").tobytes()
    data = b"\x4a" + wire.varint(len(values)) + values
    unknown = b"\xfa\x7f\x03abc"
    tail = TensorProto(data_type=TensorProto.FLOAT, dims=[4000], name="w").SerializeToString()
    content = with_initializer(model_of(), data + unknown + tail)
    assert onnx.load_from_string(content).graph.initializer[0].name == "w"
    packed = part(round_trip(write(tmp_path, content)), "w")
    assert packed.elements == 4000 and packed.bytes == 16000 and packed.coder.startswith("planes")


def test_tensors_are_found_everywhere(tmp_path):
    """In constants, in bodies, in functions, in sparse tensors; a Constant is called what it computes."""
    rng = RNG(0)

    def tensor(name: str) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(3000).astype(np.float32), name)

    def constant(output: str, value: TensorProto) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [output], value=value)

    body = helper.make_graph([constant("inside", tensor(""))], "b", [], [], [tensor("in_body")])
    model = model_of(tensor("outer"))
    choice = helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body)
    model.graph.node.extend([constant("outside", tensor("")), choice])
    coordinates = numpy_helper.from_array(np.arange(3000), "at")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor("sparse"), coordinates, [9000]))
    function = helper.make_function("d", "f", [], ["r"], [constant("in_function", tensor(""))], [])
    model.functions.append(function)
    listed = AttributeProto(name="values", type=AttributeProto.TENSORS)
    listed.tensors.append(tensor("in_list"))
    model.graph.node[0].attribute.append(listed)
    names = {part.name for part in round_trip(write(tmp_path, model)).parts}
    expected = {"outer", "outside", "inside", "in_body", "sparse", "at", "in_function", "in_list"}
    assert names == expected | {"structure"}


def external(folder: Path, name: str = "weights.bin", size: int = 3000, seed: int = 0) -> Path:
    tensors = {f"w{i}": RNG(seed + i).standard_normal(size).astype(np.float32) for i in range(2)}
    model = model_of(*(numpy_helper.from_array(array, key) for key, array in tensors.items()))
    path = folder / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location=name, size_threshold=0)
    return path


def test_external_data_come_back_under_their_name(tmp_path):
    path = external(tmp_path)
    data = (tmp_path / "weights.bin").read_bytes() + b"a tail that no tensor uses"
    (tmp_path / "weights.bin").write_bytes(data)
    packing = pack(path, tmp_path / "m.ccz")
    assert packing.bytes == path.stat().st_size + len(data)
    assert {part.name for part in packing.parts} == {"structure", "w0", "w1"}
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    unpacking = unpack(tmp_path / "m.ccz", folder / "other.onnx")
    assert unpacking.data == (str(folder / "weights.bin"),) and unpacking.bytes == packing.bytes
    assert (folder / "weights.bin").read_bytes() == data
    assert (folder / "other.onnx").read_bytes() == path.read_bytes()
    assert sorted(file.name for file in folder.iterdir()) == ["other.onnx", "weights.bin"]


def test_external_data_that_are_there_are_kept(tmp_path):
    model = external(tmp_path)
    pack(model, tmp_path / "m.ccz")
    model.unlink()
    (tmp_path / "weights.bin").write_text("mine")
    with pytest.raises(OutputError, match=r"weights.bin exists already \(--force"):
        unpack(tmp_path / "m.ccz", tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists() and (tmp_path / "weights.bin").read_text() == "mine"
    unpack(tmp_path / "m.ccz", tmp_path / "new.onnx", force=True)
    assert (tmp_path / "weights.bin").stat().st_size == 24_000


def test_external_data_that_a_model_needs_are_never_replaced(tmp_path):
    (tmp_path / "other").mkdir()
    pack(external(tmp_path / "other", seed=1), tmp_path / "m.ccz")
    model = external(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(OutputError, match=r"weights.bin holds other data, which .* needs"):
        unpack(tmp_path / "m.ccz", model, force=True)
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_external_data_that_are_the_same_stay(tmp_path):
    path = external(tmp_path)
    pack(path, tmp_path / "m.ccz")
    place = (tmp_path / "weights.bin").stat().st_ino
    unpack(tmp_path / "m.ccz", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert (tmp_path / "weights.bin").stat().st_ino == place


def test_external_data_never_replace_the_model_or_the_packed_file(tmp_path):
    pack(external(tmp_path, "data.onnx"), tmp_path / "m.ccz")
    with pytest.raises(OutputError, match=r"holds external data called data\.onnx"):
        unpack(tmp_path / "m.ccz", tmp_path / "data.onnx", force=True)
    (tmp_path / "other").mkdir()
    pack(external(tmp_path / "other", "x.ccz"), tmp_path / "x.ccz")
    with pytest.raises(OutputError, match=r"holds external data called x\.ccz"):
        unpack(tmp_path / "x.ccz", tmp_path / "y.onnx", force=True)


def test_external_data_in_folders_and_under_strange_names_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(ModelError, match="keeps data in the folder sub"):
        pack(external(tmp_path, "sub/w.bin"), tmp_path / "m.ccz")
    with pytest.raises(ModelError, match="a name that not every system allows"):
        pack(external(tmp_path, "a:b"), tmp_path / "m.ccz")
    assert not (tmp_path / "m.ccz").exists()


def test_tensors_that_share_external_bytes(tmp_path):
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "offset").value = "0"
    assert {part.name for part in round_trip(write(tmp_path, model)).parts} == {"structure", "w0"}


def test_threads_do_not_change_the_bytes(tmp_path):
    path = write(
        tmp_path, model_of(*(numpy_helper.from_array(RNG(i).standard_normal(5000), f"w{i}") for i in range(6)))
    )
    for threads in (1, 3):
        pack(path, tmp_path / f"{threads}.ccz", threads=threads)
    assert (tmp_path / "1.ccz").read_bytes() == (tmp_path / "3.ccz").read_bytes()


def test_many_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("compressctl.container.layout.CHUNK", 4096)
    monkeypatch.setattr("compressctl.container.pack.CHUNK", 4096)
    arrays = [RNG(0).standard_normal(5001).astype(np.float32), RNG(1).integers(0, 9, 33_333).astype(np.uint8)]
    small = [RNG(i).standard_normal(500) for i in range(9)]
    tensors = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate([*arrays, *small])]
    round_trip(write(tmp_path, model_of(*tensors)), threads=2)


@pytest.mark.parametrize("zeros", [0.5, 0.95, 0.99])
def test_pruned_indices_are_within_two_percent_of_their_entropy_and_headers_are_small(zeros, tmp_path):
    rng = RNG(0)
    indices = np.where(rng.random(235_200) < zeros, 0, rng.integers(1, 33, 235_200)).astype(np.uint8)
    packing = round_trip(write(tmp_path, model_of(numpy_helper.from_array(indices, "w"))))
    share = np.bincount(indices) / indices.size
    entropy = -(share * np.log2(share)).sum()
    packed = part(packing, "w")
    assert packed.entropy_bits == pytest.approx(entropy, rel=1e-12)
    assert packed.packed_bytes - 50 < 1.02 * entropy * indices.size / 8  # 50 bytes: the table of 33 frequencies
    assert packed.excess_percent == pytest.approx(100 * (8 * packed.packed_bytes / indices.size / entropy - 1))
    assert packing.directory_bytes + packing.parts[0].packed_bytes < 250


def test_clustered_weights_take_their_indices(tmp_path):
    rng = RNG(0)
    centres = rng.standard_normal(32).astype(np.float32)
    weights = centres[rng.integers(0, 32, 100_000)]
    packed = part(round_trip(write(tmp_path, model_of(numpy_helper.from_array(weights, "w")))), "w")
    assert packed.coder.startswith("palette") and packed.bits_per_element < 5 * 1.02


def test_weights_that_repeat_take_next_to_nothing(tmp_path):
    weights = np.tile(RNG(0).standard_normal(5000).astype(np.float32), 10)
    packed = part(round_trip(write(tmp_path, model_of(numpy_helper.from_array(weights, "w")))), "w")
    assert "zstd" in packed.coder and packed.packed_bytes < 1.01 * packed.bytes / 10


@pytest.mark.parametrize("coder", [Coder.RANS, Coder.HUFFMAN, Coder.ZSTD, Coder.LZMA])
def test_one_coder_for_all_tensors(coder, tmp_path):
    weights = np.clip(RNG(0).normal(0, 9, 50_000), -128, 127).astype(np.int8)
    packed = part(round_trip(write(tmp_path, model_of(numpy_helper.from_array(weights, "w"))), coder=coder), "w")
    assert packed.coder == coder.name.lower()
    assert packed.packed_bytes < 0.75 * packed.bytes


def test_zeros_take_next_to_nothing(tmp_path):
    tensor = numpy_helper.from_array(np.zeros(3_000_000, np.float32), "w")
    for coder in (None, Coder.RANS, Coder.ZSTD):
        packed = part(round_trip(write(tmp_path, model_of(tensor)), coder=coder), "w")
        assert packed.packed_bytes < 600


@pytest.mark.parametrize(
    "coder", [None, Coder.RANS, Coder.HUFFMAN, Coder.LZMA], ids=["auto", "rans", "huffman", "lzma"]
)
def test_a_decoder_written_from_the_specification_agrees(coder, tmp_path):
    """`ccz_decoder.py` follows docs/ccz.md."""
    path = external(tmp_path)
    model = onnx.load(path, load_external_data=False)
    rng = RNG(0)
    clustered = rng.standard_normal(8)[rng.integers(0, 8, 1500)]
    skewed = np.where(rng.random(30_000) < 0.9, 0, rng.integers(0, 30, 30_000)).astype(np.uint8)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for a, n in ((clustered, "c"), (skewed, "s")))
    path.write_bytes(model.SerializeToString())
    pack(path, tmp_path / "m.ccz", coder=coder)
    files = dict(ccz_decoder.unpack((tmp_path / "m.ccz").read_bytes()))
    assert files == {"": path.read_bytes(), "weights.bin": (tmp_path / "weights.bin").read_bytes()}
