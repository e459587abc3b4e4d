"""Sound files as samples: a whole clip each, or cut into frames that a streaming model is fed one after the other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressctl.arrays import Array, Floats32
from compressctl.data.fit import numpy_dtype
from compressctl.data.opened import Files, Opened
from compressctl.data.options import Options
from compressctl.errors import DataError, MissingExtraError, UsageError
from compressctl.notes import Note, warning
from compressctl.numerics.resample import resample
from compressctl.tensorspec import Dim, TensorSpec

SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"))
_RATE = re.compile(r"[0-9]{1,7}", re.ASCII)


@dataclass(frozen=True)
class Header:
    """What a sound file says of itself: samples a channel, samples a second, channels."""

    frames: int
    rate: int
    channels: int


@dataclass(frozen=True)
class _Form:
    """How the input takes a clip: [samples], [channels, samples] or [samples, channels]."""

    channels: int
    axis: int | None  # of the channels in a sample; None: there is none
    length: int | None

    def shaped(self, clip: Floats32) -> Array:
        """Return a clip [samples, channels] as the input takes it."""
        if self.axis is None:
            return clip[:, 0]
        return clip.T if self.axis == 0 else clip


def read_header(path: Path) -> Header:
    """Return what a file says of itself.

    Raises:
        DataError: it is missing, or no sound.
        MissingExtraError: soundfile is not installed.
    """
    soundfile = _library()
    try:
        found = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise _damage(path, error) from error
    return Header(found.frames, found.samplerate, found.channels)


def read_sound(path: Path) -> Floats32:
    """Return the samples of a file, [samples, channels], in -1 to 1.

    Raises:
        DataError: it is missing, damaged, or has no samples.
        MissingExtraError: soundfile is not installed.
    """
    soundfile = _library()
    try:
        samples, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, MemoryError, TypeError, ValueError) as error:
        raise _damage(path, error) from error
    if not len(samples):
        raise DataError(f"{path} has no samples", "leave it out")
    found: Floats32 = samples
    return found


def open_sounds(files: Files) -> Opened:
    """Return sounds as samples of one length: that of the input, `length=`, or of the longest file, filled up by zeros.

    `frames=N[,hop=M]` cuts each into frames of N samples, one every M (by default N), which are fed one after the
    other; it is the default where the model has states and its input a fixed size.

    Options: `rate=`, `resample=`, `channels=mean|first`, `length=`, `frames=`, `hop=`.

    Raises:
        DataError: sampling rates or channels differ from what is wanted, or the input takes no sound.
        UsageError: an option has a bad value.
    """
    options = files.options
    headers = {path: read_header(path) for path in files.paths}
    rate, change = _rate(options, files.rate, headers), options.flag("resample")
    mix = options.choice("channels", ("mean", "first"))
    length, size, hop = options.size("length"), options.size("frames"), options.size("hop")
    form = _form(files.spec, min(header.channels for header in headers.values()))
    if size is None and files.stateful:
        size = form.length
    if hop is not None and size is None:
        raise UsageError(f"data {options.notation!r}: hop={hop} needs frames", "add frames=N")
    if size is not None and form.length not in (None, size):
        raise DataError(f"{options.notation}: frames of {size} samples do not fit the model's input {files.spec}")
    for path, header in headers.items():
        _check(path, header, rate, form, change=change, mix=mix)
    lengths = {path: -(-header.frames * rate // header.rate) for path, header in headers.items()}
    whole = length or (form.length if size is None else None) or max(lengths.values())
    steps = 1
    if size is not None:
        hop = hop or size
        steps = max(1, -(-(whole - size) // hop) + 1)
        whole = size + (steps - 1) * hop

    def load(path: Path) -> Array:
        header = headers.get(path) or _checked_header(path, rate, form, change=change, mix=mix)
        clip = read_sound(path)
        if clip.shape[1] > form.channels:
            clip = clip.mean(axis=1, keepdims=True) if mix == "mean" else clip[:, : form.channels]
        if header.rate != rate:
            clip = resample(clip, header.rate, rate).astype(np.float32)
        fitted = np.zeros((whole, clip.shape[1]), np.float32)
        fitted[: len(clip)] = clip[:whole]
        if size is None or hop is None:
            return form.shaped(fitted)
        return np.stack([form.shaped(fitted[start : start + size]) for start in range(0, steps * hop, hop)])

    return Opened(load, steps, _cut(lengths.values(), whole, options.notation))


def _rate(options: Options, known: int | None, headers: dict[Path, Header]) -> int:
    """Return the rate that is fed: `rate=`, that which the model is told, or that of all files."""
    text = options.text("rate")
    if text is not None and (not _RATE.fullmatch(text) or not int(text)):
        raise options.error("rate", "samples a second", text)
    if text is not None or known is not None:
        return int(text) if text is not None else int(known or 0)
    (path, header), *others = headers.items()
    for other, its in others:
        if its.rate != header.rate:
            text = f"{other} has {its.rate} samples a second, but {path} has {header.rate}"
            raise DataError(text, f"add rate={header.rate},resample=true, with the rate that the model wants")
    return header.rate


def _form(spec: TensorSpec, channels: int) -> _Form:
    if numpy_dtype(spec).kind != "f" or len(spec.shape) not in (2, 3):
        raise DataError(f"the model's input {spec} takes no sound: floats [N, samples] or [N, channels, samples]")
    if len(spec.shape) == 2:
        return _Form(1, None, _fixed(spec.shape[1]))
    _, second, third = map(_fixed, spec.shape)
    last = third is not None and (second is None or third < second)
    own, length = (third, second) if last else (second, third)
    return _Form(own or channels, 1 if last else 0, length)


def _fixed(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) else None


def _check(path: Path, header: Header, rate: int, form: _Form, *, change: bool, mix: str | None) -> None:
    """Refuse what would have to be changed, unless that was asked for."""
    if header.rate != rate and not change:
        raise DataError(f"{path} has {header.rate} samples a second, but {rate} are wanted", "add resample=true")
    many = header.channels > form.channels
    if header.channels < form.channels or (many and mix is None) or (many and mix == "mean" and form.channels > 1):
        text = f"{path} has {header.channels} channels, but the model takes {form.channels}"
        raise DataError(text, "add channels=mean or channels=first" if many and form.channels == 1 else None)


def _checked_header(path: Path, rate: int, form: _Form, *, change: bool, mix: str | None) -> Header:
    header = read_header(path)
    _check(path, header, rate, form, change=change, mix=mix)
    return header


def _cut(lengths: Iterable[int], whole: int, notation: str) -> tuple[Note, ...]:
    counted = Counter(length > whole for length in lengths)
    if not counted[True]:
        return ()
    text = f"{counted[True]} of {counted.total()} sounds are longer than {whole} samples, and are cut there"
    return (warning(text, notation),)


def _library() -> Any:
    try:
        import soundfile
    except ImportError:
        raise MissingExtraError("sound files", "audio") from None
    return soundfile


def _damage(path: Path, error: Exception) -> DataError:
    if not path.is_file():
        return DataError(f"there is no file {path}")
    reason = getattr(error, "error_string", None) or str(error)
    return DataError(f"{path} is no sound that can be read: {' '.join(reason.split())}")
