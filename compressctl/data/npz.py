"""The arrays of .npz and .npy files as columns that are read row by row. Nothing is unpickled.

The formats: NEP 1 (`numpy.lib.format`) inside a zip archive (PKWARE APPNOTE).
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from compressctl.data.columns import ArrayColumn, Column, StreamColumn, reading
from compressctl.errors import DataError

_WHOLE = 1 << 30  # bytes that are unpacked at once: a row, or in Fortran order all of an array
_LOCAL_HEADER = 30  # bytes before the name in a zip archive's local file header


def is_npz(path: Path) -> bool:
    """Say whether a file begins as a zip archive."""
    return _magic(path) in (b"PK\x03\x04", b"PK\x05\x06")


def is_npy(path: Path) -> bool:
    """Say whether a file begins as a .npy array."""
    return _magic(path) == b"\x93NUM"


def open_npy(path: Path) -> Column:
    """Open a .npy file.

    Raises:
        DataError: it is damaged, holds Python objects or a single number.
    """
    with reading(str(path)):
        with path.open("rb") as stream:
            shape, fortran, dtype = _header(stream, str(path))
            offset = stream.tell()
        if not shape:
            raise DataError(f"{path} is a single number", "arrays need one row a sample")
        if path.stat().st_size < offset + dtype.itemsize * math.prod(shape):
            raise EOFError("it ends too early")
        return _in_file(str(path), path, offset, shape, dtype, fortran)


def open_npz(path: Path) -> dict[str, Column | DataError]:
    """Open a .npz file: array name -> column, or the error that whoever needs that array should raise.

    Raises:
        DataError: the archive is damaged or holds no arrays.
    """
    with reading(str(path)), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        columns = {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in members}
    if not columns:
        raise DataError(f"{path} holds no arrays", "write it with numpy.savez")
    return columns


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Column | DataError:
    where = f"{path}: array {info.filename.removesuffix('.npy')!r}"
    try:
        with reading(where):
            return _column(path, archive, info, where)
    except DataError as error:
        return error


def _column(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Column:
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream, where)
        offset = stream.tell()
    if info.file_size != offset + dtype.itemsize * math.prod(shape):
        raise EOFError("its size is not what its header says")
    if not shape:
        with archive.open(info) as stream:
            return ArrayColumn(where, npy_format.read_array(stream, allow_pickle=False))
    if info.compress_type == zipfile.ZIP_STORED:
        start = _data_offset(path, info)
        _check_crc(path, start, info)
        return _in_file(where, path, start + offset, shape, dtype, fortran)
    if dtype.itemsize * math.prod(shape if fortran else shape[1:]) > _WHOLE:
        raise ValueError("it is compressed, and more than 1 GB of it would be read at once: save it with numpy.savez")
    if fortran:  # the values of a row are scattered over the stream: the array is read whole
        with archive.open(info) as stream:
            return ArrayColumn(where, npy_format.read_array(stream, allow_pickle=False))
    return StreamColumn(where, partial(_open_member, path, info.filename), offset, shape, dtype)


def _in_file(
    where: str, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool
) -> Column:
    """Return a column whose values lie uncompressed in a file."""
    if fortran and 0 not in shape:
        return ArrayColumn(where, np.memmap(path, dtype, "r", offset, shape, "F"))
    return StreamColumn(where, lambda: path.open("rb"), offset, shape, dtype)


@contextmanager
def _open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
        yield stream


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{where} is of .npy version {version[0]}.{version[1]}, which is for records, not tensors")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise DataError(f"{where} holds pickled Python objects, which are not loaded", "save a plain numeric array")
    if min(shape, default=0) < 0:
        raise ValueError(f"it claims the shape {shape}")
    return shape, fortran, dtype


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    return int(info.header_offset + _LOCAL_HEADER + name + extra)


def _check_crc(path: Path, start: int, info: zipfile.ZipInfo) -> None:
    """Check bytes that are read around zipfile, which would have checked them."""
    crc, left = 0, info.file_size
    with path.open("rb") as file:
        file.seek(start)
        while left and (block := file.read(min(left, 1 << 20))):
            crc = zlib.crc32(block, crc)
            left -= len(block)
    if left or crc != info.CRC:
        raise EOFError("its checksum is wrong")


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
