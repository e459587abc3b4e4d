"""Where a run keeps the checkpoints of its passes: a folder beside the output. Cheap to import: no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from compressctl.distributed import this_process
from compressctl.errors import OutputError
from compressctl.guard import beside
from compressctl.model.staging import reported
from compressctl.scratch import discard

_OURS = re.compile(r"\d+-\w+\.pt")  # as `of_pass` names them; what else is there is not ours to delete
_SCRATCH = ".compressctl-"  # begins the names of folders of `scratch`


@dataclass(frozen=True)
class CheckpointPath:
    """Where one pass keeps its state.

    Attributes:
        path: the file.
        key: of what the run depends on; a checkpoint with another one is refused.
        resume: go on from the file, if it is there.
    """

    path: Path
    key: str
    resume: bool


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: beside the output; it is there while a run has not ended.
        key: of what the run depends on.
        resume: go on from what is there.
    """

    folder: Path
    key: str
    resume: bool

    @classmethod
    def beside(cls, output: Path, depends_on: tuple[str, ...], *, resume: bool, force: bool) -> Checkpoints:
        """Return the checkpoints of the run that writes `output`.

        Args:
            output: the file to be written.
            depends_on: what decides its bytes.
            resume: go on from what an interrupted run left.
            force: delete what an interrupted run left.

        Raises:
            OutputError: an interrupted run left checkpoints, and it was not said what is to become of them.
        """
        folder = beside(output, ".checkpoints")
        place = this_process()
        if place.is_main and not resume and _kept(folder):
            if not force:
                raise OutputError(
                    f"{folder} holds the checkpoints of an interrupted run",
                    "--resume goes on from there, --force deletes them and starts again",
                )
            _clear(folder)
        key = sha256("\n".join((*depends_on, str(place.size))).encode()).hexdigest()
        return cls(folder, key, resume)

    def of_pass(self, index: int, name: str) -> CheckpointPath:
        """Return the place of pass number `index`, of type `name`."""
        return CheckpointPath(self.folder / f"{index}-{name}.pt", self.key, self.resume)

    def remove(self) -> None:
        """Delete the checkpoints: the run has ended."""
        if self.folder.exists():
            _clear(self.folder)


def _clear(folder: Path) -> None:
    """Delete the checkpoints in a folder, and the folder where nothing else is in it."""
    with reported(folder):
        if all(_OURS.fullmatch(file.name) or file.name.startswith(_SCRATCH) for file in folder.iterdir()):
            discard(folder)
            return
        for file in _kept(folder):
            file.unlink(missing_ok=True)


def _kept(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.pt") if _OURS.fullmatch(file.name)]
