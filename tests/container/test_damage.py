"""Files that are damaged, forged, of a newer version or no packed models: one line, and nothing is written."""

import hashlib
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressctl.container import directory
from compressctl.container.chunks import ChunkForm
from compressctl.container.directory import Directory, Entry, Member, Section, Span
from compressctl.container.layout import CHUNK, Piece
from compressctl.container.opened import opened
from compressctl.container.pack import pack
from compressctl.container.signature import MAGIC, is_packed
from compressctl.container.streams import Coder, decode, encode, zstd
from compressctl.container.unpack import unpack
from compressctl.errors import ModelError, OutputError
from compressctl.model.wire import varint
from tests.samples import MLP


@cache
def packed() -> bytes:
    """A file in which every coder and every form takes part."""
    rng = np.random.default_rng(0)
    arrays = {
        "floats": rng.standard_normal(1500).astype(np.float32),
        "codes": np.where(rng.random(5000) < 0.9, 0, rng.integers(0, 30, 5000)).astype(np.uint8),
        "levels": rng.choice(4, 5000, p=[0.5, 0.25, 0.125, 0.125]).astype(np.uint8),
        "clustered": rng.standard_normal(8)[rng.integers(0, 8, 1500)],
        "small": rng.standard_normal(64).astype(np.float32),
        "repeated": np.tile(rng.integers(0, 256, 500), 8).astype(np.uint8),
    }
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], tensors)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        parts = pack(path, Path(folder) / "m.ccz").parts
        assert {word for part in parts for word in part.coder.split()} >= {"planes", "palette", "zstd", "rans", "raw"}
        assert any("huffman" in part.coder for part in parts)
        return (Path(folder) / "m.ccz").read_bytes()


def refused(path: Path, content: bytes, match: str) -> None:
    """Unpacking `content` is refused, and nothing changes in its folder."""
    path.write_bytes(content)
    before = sorted(path.parent.iterdir())
    with pytest.raises(ModelError, match=match):
        unpack(path, path.with_name("new.onnx"))
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_damaged_files(seed, tmp_path):
    rng = np.random.default_rng(seed)
    whole = packed()
    (tmp_path / "old.onnx").write_text("mine")
    for number in range(100):
        content = bytearray(whole)
        match number % 5:
            case 0:  # a flipped bit anywhere
                content[rng.integers(len(MAGIC) + 1, len(content))] ^= 1 << int(rng.integers(8))
            case 1:  # a flipped bit in what is read first
                content[rng.integers(len(MAGIC) + 1, 200)] ^= 1 << int(rng.integers(8))
            case 2:  # truncated
                del content[rng.integers(1, len(content)) :]
            case 3:  # some bytes of noise
                start = int(rng.integers(len(MAGIC) + 1, len(content) - 20))
                content[start : start + 20] = rng.bytes(20)
            case _:  # bytes lost or added
                start = int(rng.integers(len(MAGIC) + 1, len(content)))
                content[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(9)))
        if content != whole:
            refused(tmp_path / "m.ccz", bytes(content), "is damaged: |is truncated")
    assert (tmp_path / "old.onnx").read_text() == "mine"


def test_damage_leaves_what_was_there(tmp_path):
    (tmp_path / "new.onnx").write_text("mine")
    (tmp_path / "m.ccz").write_bytes(packed()[:-1] + bytes([packed()[-1] ^ 1]))
    with pytest.raises(ModelError, match="is damaged"):
        unpack(tmp_path / "m.ccz", tmp_path / "new.onnx", force=True)
    assert (tmp_path / "new.onnx").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x89CC", "is truncated"),
        (MAGIC, "is damaged: truncated"),
        (b"hello, this is text", "is no .ccz file"),
        (MLP.read_bytes(), "is no .ccz file"),
        (b"", "is empty"),
        (MAGIC + varint(2) + bytes(50), r"written by a newer compressctl \(format 2\)"),
        (MAGIC + varint(0) + bytes(50), "impossible size"),
        (MAGIC + varint(1) + varint(1 << 60) + varint(1 << 60), "impossible size"),
        (MAGIC + varint(1) + varint(20) + varint(1 << 40) + bytes(40), "impossible size"),
    ],
)
def test_files_that_are_something_else(content, match, tmp_path):
    refused(tmp_path / "m.ccz", content, match)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        unpack(tmp_path / "m.ccz", tmp_path / "m.onnx")


def raw(*lengths: int) -> Section:
    """A part of bytes that are stored as they are."""
    return Section(1, tuple(Entry(ChunkForm.PLAIN, 0, (Span(Coder.RAW, 0, length),), length) for length in lengths))


def forged(sections: tuple[Section, ...], pieces: tuple[Piece, ...], names=("",), chunk=CHUNK, body=b"") -> bytes:
    """A file with true checksums over a directory that lies."""
    digest = hashlib.sha256(body).digest()
    members = tuple(Member(name, digest, pieces) for name in names)
    return directory.write(Directory(members, sections, chunk, digest[:8])) + body


def test_the_forger_can_write_what_is_true(tmp_path):
    (tmp_path / "m.ccz").write_bytes(forged((raw(5),), (Piece(0, 5),), body=b"hello"))
    unpack(tmp_path / "m.ccz", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"hello"


ZSTD_ENTRY = Entry(ChunkForm.PLAIN, 0, (Span(Coder.ZSTD, 0, 5),), CHUNK)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (forged((raw(5),), (Piece(0, 1 << 60),), body=b"hello"), "5 bytes stand for 8,388,608"),
        (forged((raw(*[1 << 20] * 3),), (Piece(0, 1 << 60),)), "truncated"),  # more chunks than are described
        (forged((Section(1, (ZSTD_ENTRY,)),), (Piece(0, CHUNK),), body=b"hello"), "5 bytes stand for 8,388,608"),
        (forged((raw(5),), (Piece(0, 5),), body=b"hell"), "it should take"),
        (forged((raw(5),), (Piece(1, 5),), body=b"hello"), "a part that is not there"),
        (forged((raw(5),), (Piece(0, 5),), names=("m.onnx",), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), names=("", "../x"), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), names=("", "/etc/x"), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), names=("", "a\\b"), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), names=("", "a", "a"), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), names=(), body=b"hello"), "names of its files"),
        (forged((raw(5),), (Piece(0, 5),), chunk=1 << 30, body=b"hello"), "chunks of"),
        (forged((raw(5)._replace(width=3),), (Piece(0, 5),), body=b"hello"), "numbers of 3 bytes"),
        (forged((raw(5), raw()), (Piece(0, 4),), body=b"hello"), "a stream holds 5 bytes, not 4"),
    ],
)
def test_forged_directories(content, match, tmp_path):
    refused(tmp_path / "m.ccz", content, match)


def test_lzma_may_not_claim_memory_nor_end_early():
    coded = encode(np.tile(np.arange(7, dtype=np.uint8), 1000), Coder.LZMA).coded
    assert decode(Coder.LZMA, coded, 7000).tobytes() == bytes(range(7)) * 1000
    for damaged, count in ((coded, 6999), (coded[:-1], 7000), (coded + b"x", 7000), (b"hello", 5)):
        with pytest.raises(ValueError, match="a stream of LZMA"):
            decode(Coder.LZMA, damaged, count)


def test_a_zstandard_frame_may_not_claim_memory():
    for frame in (zstd(bytes(5000)), zstd(bytes(1000))[:-1], b"hello"):
        with pytest.raises(ValueError, match="a frame of Zstandard"):
            decode(Coder.ZSTD, frame, 1000)
    import zstandard

    with pytest.raises(ValueError, match="tells a size"):
        decode(Coder.ZSTD, zstandard.ZstdCompressor().compress(bytes(1000)), 1000)


def test_damage_behind_true_checksums_is_found_while_decoding(tmp_path):
    """Each coder and form meets noise; what it makes of it is another model, if anything."""
    path, whole = tmp_path / "m.ccz", packed()
    path.write_bytes(whole)
    content = directory.read(path)
    start = min(span.offset for section in content.sections for entry in section.chunks for span in entry.spans)
    rng = np.random.default_rng(0)
    for section in content.sections:
        for span in (span for entry in section.chunks for span in entry.spans):
            for _ in range(2):
                body = bytearray(whole[start:])
                at = span.offset - start + int(rng.integers(span.length))
                body[at] ^= int(rng.integers(1, 256))
                front = directory.write(content._replace(body=hashlib.sha256(body).digest()[:8]))
                path.write_bytes(front + body)
                try:
                    unpack(path, tmp_path / "new.onnx", force=True)
                except ModelError as error:
                    assert "is damaged: " in error.message
                    assert not (tmp_path / "new.onnx").exists()
                else:  # a bit that means nothing, such as those that fill up the last byte
                    (tmp_path / "new.onnx").unlink()


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(tmp_path):
    count = shutil.disk_usage(tmp_path).total // CHUNK + 2  # what is free changes while the test runs
    coded = 1 << 8
    entry = Entry(ChunkForm.PLAIN, 0, (Span(Coder.ZSTD, 0, coded),), CHUNK)
    body = bytes(count * coded)
    content = forged((Section(1, (entry,) * count),), (Piece(0, CHUNK * count),), body=body)
    (tmp_path / "m.ccz").write_bytes(content)
    with pytest.raises(OutputError, match=f"holds {CHUNK * count:,} bytes, the disk of"):
        unpack(tmp_path / "m.ccz", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.ccz"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"hello", "is not an ONNX model"),
        (MLP.read_bytes()[:1000], "is not an ONNX model, or is truncated"),
        (b"\x08\x07", "holds no graph"),
        (b"\x80\x04.", "a Python pickle"),
    ],
)
def test_what_is_no_onnx_model_is_not_packed(content, match, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=match):
        pack(tmp_path / "m.onnx", tmp_path / "m.ccz")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_torchscript_is_not_packed(tmp_path):
    with pytest.raises(ModelError, match=r"is TorchScript; only ONNX files can be packed \(convert it first"):
        pack(MLP.with_name("cnn_traced.pt"), tmp_path / "m.ccz")


def test_a_packed_model_is_not_packed_again(tmp_path):
    pack(MLP, tmp_path / "m.ccz")
    with pytest.raises(ModelError, match="is packed already"):
        pack(tmp_path / "m.ccz", tmp_path / "n.ccz")


def test_opened_gives_the_model_and_names_the_packed_file_in_errors(tmp_path):
    path = tmp_path / "m.ccz"
    pack(MLP, path)
    with opened(path) as model:
        assert model.read_bytes() == MLP.read_bytes()
    assert not model.parent.exists()
    with pytest.raises(ModelError, match=f"^{path}: node"), opened(path) as model:
        raise ModelError(f"{model}: node 'a' is wrong")
    with opened(MLP) as same:
        assert same == MLP
    assert is_packed(path) and not is_packed(MLP)
