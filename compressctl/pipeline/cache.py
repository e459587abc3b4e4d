"""Results of passes, kept under a key of all that they depend on, so that a pass runs once.

An entry is a folder: the model after the pass and what the pass had to say, with the hashes of both. An entry that is
not as its hashes say is dropped, and the pass runs again.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any

from compressctl.errors import CompressctlError, OutputError
from compressctl.model.load import restore_model
from compressctl.model.read import sha256
from compressctl.model.save import save_model
from compressctl.notes import Note
from compressctl.passes.base import Outcome, Target
from compressctl.report.write import write_text
from compressctl.scratch import discard, temporary_folder

_MODEL, _OUTCOME, _SEAL = "model.onnx", "outcome.json", "sha256"
_EMBEDDED = 2**20  # bytes of weights above which they stay on disk, mapped
_MOST = 10 * 2**30  # bytes that a cache holds after a run
_KEY = re.compile("[0-9a-f]{64}")
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# The results of passes of compressctl; may be deleted.\n"
_MARKS = {".gitignore": "*\n", "CACHEDIR.TAG": _TAG}  # by which git and backups leave the folder out


def key_of(*parts: Any) -> str:
    """Return the key of what depends on these JSON-able parts."""
    return hash_of(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Cached:
    """What an entry holds: the outcome of a pass, and the seconds that it took when it ran."""

    outcome: Outcome
    seconds: float


class Cache:
    """A folder of results.

    Args:
        folder: made where it is missing, by the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, key: str) -> bool:
        """Whether there is an entry, not looked into."""
        return (self.folder / key / _SEAL).is_file()

    def get(self, key: str) -> Cached | None:
        """Return the entry of a key; None where there is none, or where it was changed since it was made."""
        entry = self.folder / key
        try:
            if (entry / _SEAL).read_text() != self._seal(entry):
                discard(entry)
                return None
            told = json.loads((entry / _OUTCOME).read_text())
            model = restore_model(entry / _MODEL)
            os.utime(entry)
        except (OSError, ValueError, CompressctlError):  # missing, or damaged in a way that was hashed: made by others
            return None
        notes = tuple(Note(**note) for note in told["notes"])
        targets = tuple(Target(**target) for target in told["targets"])
        return Cached(Outcome(model, notes, told["facts"], targets), told["seconds"])

    def put(self, key: str, outcome: Outcome, seconds: float) -> Cached:
        """Keep an outcome; return it as `get` will.

        Raises:
            OutputError: the folder cannot be written; there is no entry then.
        """
        entry = self.folder / key
        try:
            self._make()
            with temporary_folder(self.folder) as made:
                staged = made / key
                staged.mkdir()
                save_model(outcome.model, staged / _MODEL, overwrite=False, embed_limit=_EMBEDDED)
                told = {
                    "notes": [asdict(note) for note in outcome.notes],
                    "facts": outcome.facts,
                    "targets": [asdict(target) for target in outcome.targets],
                    "seconds": seconds,
                }
                (staged / _OUTCOME).write_text(json.dumps(told))
                (staged / _SEAL).write_text(self._seal(staged))
                if entry.exists():
                    entry.rename(made / "former")
                staged.rename(entry)
        except OSError as error:
            raise OutputError(f"{self.folder}: the cache cannot be written: {error.strerror or error}") from error
        found = self.get(key)
        if found is None:
            raise OutputError(f"{self.folder}: the cache changed while it was written")
        return found

    def trim(self, most: int = _MOST) -> None:
        """Drop the entries that were used least recently, down to `most` bytes."""
        if not self.folder.is_dir():
            return
        entries = [entry for entry in self.folder.iterdir() if _KEY.fullmatch(entry.name)]
        held = 0
        for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True):
            held += sum(file.stat().st_size for file in entry.iterdir())
            if held > most:
                discard(entry)

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not all(entry.name in _MARKS or _KEY.fullmatch(entry.name) for entry in self.folder.iterdir()):
            return  # others' files lie there, too: git and backups are to see them
        for name, text in _MARKS.items():
            if not (self.folder / name).exists():
                write_text(self.folder / name, text)

    @staticmethod
    def _seal(entry: Path) -> str:
        files = sorted(file for file in entry.iterdir() if file.name != _SEAL)
        return "".join(f"{sha256([file])}  {file.name}\n" for file in files)
