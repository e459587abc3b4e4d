"""What work may use, handed from the command line down to whatever computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from compressctl.progress import Progress, Silent


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What work may use, and what must be the same for it to give the same again; nothing is global.

    Attributes:
        workdir: an existing folder for temporary files; whoever made it removes it.
        threads: for onnxruntime, numpy and torch; 0 for the default of each.
        seed: of everything random.
        device: where torch computes: cpu, cuda or auto.
        progress: where to show progress.
    """

    workdir: Path
    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
