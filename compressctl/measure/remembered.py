"""What a model answers, kept on disk: it need not stay open while others are compared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from compressctl.arrays import Array
from compressctl.measure.session import Session
from compressctl.measure.worker import load_arrays, save_arrays
from compressctl.tensorspec import TensorSpec


class Remembered:
    """Runs a model once on what it is fed, and later answers from memory where it is fed the same.

    Args:
        session: the model.
        folder: an existing folder, which must outlive this.

    Attributes:
        name, inputs, outputs: of the session.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, session: Session, folder: Path) -> None:
        self.name, self.inputs, self.outputs = session.name, session.inputs, session.outputs
        self._session: Session | None = session
        self._folder = folder
        self._dtypes: dict[str, dict[str, str]] = {}  # of the outputs, by what was fed

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return all outputs; errors as `Session.run`."""
        key = _key(feeds)
        if key in self._dtypes:
            return load_arrays(self._folder / f"{key}.npz", self._dtypes[key])
        if self._session is None:
            raise ValueError(f"{self.name} was closed before it was fed this")
        outputs = self._session.run(feeds)
        self._dtypes[key] = save_arrays(self._folder / f"{key}.npz", outputs)
        return outputs

    def close(self) -> None:
        """Close the session."""
        self._session = None


def _key(feeds: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(feeds.items()):
        digest.update(f"{name}:{array.dtype}:{array.shape}:".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return digest.hexdigest()
