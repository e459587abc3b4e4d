"""Where a run keeps the checkpoints of its passes: a folder beside the output. Cheap to import: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from compressctl.errors import OutputError
from compressctl.model.staging import reported
from compressctl.scratch import discard
from compressctl.world import world


@dataclass(frozen=True)
class CheckpointSlot:
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
        folder = output.with_suffix(".checkpoints")
        place = world()
        if place.leads and not resume and any(folder.glob("*.pt")):
            if not force:
                raise OutputError(
                    f"{folder} holds the checkpoints of an interrupted run",
                    "--resume goes on from there, --force deletes them and starts again",
                )
            _discard(folder)
        key = sha256("\n".join((*depends_on, str(place.size))).encode()).hexdigest()
        return cls(folder, key, resume)

    def slot(self, index: int, name: str) -> CheckpointSlot:
        """Return the place of pass number `index`, of type `name`."""
        return CheckpointSlot(self.folder / f"{index}-{name}.pt", self.key, self.resume)

    def remove(self) -> None:
        """Delete the checkpoints: the run has ended."""
        if self.folder.exists():
            _discard(self.folder)


def _discard(folder: Path) -> None:
    with reported(folder):
        discard(folder)
