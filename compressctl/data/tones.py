"""Clips of tones in noise, and the same without it: sounds for denoisers, made up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from compressctl.arrays import Array, Floats32
from compressctl.data.fit import check
from compressctl.data.named import NamedSource, Request
from compressctl.data.parse import Notation
from compressctl.data.source import Feeds
from compressctl.errors import UsageError
from compressctl.tensorspec import TensorSpec

LENGTH = 1024
"""Samples of a clip, 8,000 a second."""

_RATE = 8000
_SPLITS = {"train": 800, "test": 200}  # clips of each
_MOST = 3  # tones of a clip
_HARMONICS = 4
_SNR = (0.0, 10.0)  # dB: from, to


class TonesSource(NamedSource):
    """`tones:train` (800) or `tones:test` (200): each clip drawn by its number; the label is the clip without noise.

    Raises:
        UsageError: an unknown split or option.
        DataError: the model's input does not take sounds [N, 1, 1024] or [N, 1024].
    """

    scheme = named = "tones"

    def __init__(self, notation: Notation, request: Request) -> None:
        split = notation.rest or "test"
        if split not in _SPLITS:
            raise UsageError(f"data {notation.text!r}: tones have no split {split!r}", "tones:train or tones:test")
        notation.options.finish()
        super().__init__(notation.text, request.inputs)
        self._spec = self._one_input()
        self._shape = _shape(self._spec)
        check((1, *self._shape), np.dtype(np.float32), self._spec, notation.text)
        self._split = list(_SPLITS).index(split)
        self._rows = notation.select(_SPLITS[split])

    @classmethod
    def open(cls, notation: Notation, request: Request) -> Self:
        """See `NamedSource`."""
        return cls(notation, request)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_labels(self) -> bool:
        """Every clip has a clean one."""
        return True

    def _row_name(self, row: int) -> str:
        return f"clip {self._rows[row]}"

    def _read(self, size: int) -> Iterator[tuple[Feeds, Array | None]]:
        for start in range(0, len(self), size):
            drawn = [draw_clip((self._split, number)) for number in self._rows[start : start + size]]
            noisy, clean = (np.stack(clips).reshape(-1, *self._shape) for clips in zip(*drawn, strict=True))
            yield {self._spec.name: noisy}, clean


def draw_clip(seed: Sequence[int]) -> tuple[Floats32, Floats32]:
    """Draw 1 to 3 tones with harmonics, which fade in and out, in white noise.

    Args:
        seed: numbers that decide what is drawn.

    Returns:
        The noisy clip [1024], at 0 to 10 dB of signal to noise, and the clean one, of at most 1.
    """
    rng = np.random.default_rng(seed)
    time, clean = np.arange(LENGTH) / _RATE, np.zeros(LENGTH)
    for _ in range(rng.integers(1, _MOST + 1)):
        pitch, middle, width = rng.uniform(80, 600), rng.uniform(0, time[-1]), rng.uniform(0.03, 0.1)
        envelope = np.exp(-(((time - middle) / width) ** 2))
        for harmonic in range(1, _HARMONICS + 1):
            phase = rng.uniform(0, 2 * np.pi)
            clean += envelope * np.sin(2 * np.pi * harmonic * pitch * time + phase) / harmonic
    clean *= rng.uniform(0.3, 1.0) / np.abs(clean).max()
    power = np.mean(clean**2) / 10 ** (rng.uniform(*_SNR) / 10)
    noisy = clean + rng.standard_normal(LENGTH) * np.sqrt(power)
    return noisy.astype(np.float32), clean.astype(np.float32)


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return (LENGTH,) if len(spec.shape) == 2 else (1, LENGTH)
