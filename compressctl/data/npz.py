"""The arrays of .npz and .npy files as columns: mapped where they lie uncompressed, else streamed. Never unpickled.

The formats: NEP 1 (`numpy.lib.format`) inside a zip archive (PKWARE APPNOTE).
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from compressctl.data.columns import Column, MappedColumn, StreamedColumn, reading
from compressctl.errors import DataError

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
        return MappedColumn(str(path), _map(path, offset, shape, dtype, fortran))


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
    if info.compress_type == zipfile.ZIP_STORED:
        start = _data_offset(path, info)
        _check_crc(path, start, info)
        return MappedColumn(where, _map(path, start + offset, shape, dtype, fortran))
    if fortran:  # the values of a row are scattered over the stream: the array is read whole
        with archive.open(info) as stream:
            return MappedColumn(where, npy_format.read_array(stream, allow_pickle=False))
    return StreamedColumn(where, path, info.filename, offset, shape, dtype)


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{where} is of .npy version {version[0]}.{version[1]}, which is for records, not tensors")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise DataError(f"{where} holds pickled Python objects, which are not loaded", "save a plain numeric array")
    if not shape:
        raise DataError(f"{where} is a single number", "arrays need one row a sample")
    if min(shape) < 0:
        raise ValueError(f"it claims the shape {shape}")
    return shape, fortran, dtype


def _map(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool) -> Any:
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    return int(info.header_offset + _LOCAL_HEADER + name + extra)


def _check_crc(path: Path, start: int, info: zipfile.ZipInfo) -> None:
    """Check the bytes that a memory map would otherwise take on trust."""
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
