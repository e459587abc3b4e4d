"""Run a command and say what it cost, its threads and children included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a command used.

    Attributes:
        cpu_s: user and system CPU seconds.
        wall_s: seconds from start to end.
        peak_bytes: largest resident set of the process and all its children together, looked at 50 times a second.
        failure: None, or the last line that the command wrote on stderr before it failed.
    """

    cpu_s: float
    wall_s: float
    peak_bytes: int
    failure: str | None = None


def run(command: Sequence[str]) -> Cost:
    """Run `command` to its end; its output is swallowed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "cost.json"
        # Through a bare interpreter, because Linux counts the memory of the process that forks as the child's own.
        wrapper = [sys.executable, "-I", "-S", __file__, str(report)]
        done = subprocess.run([*wrapper, *command], capture_output=True, text=True, check=False)
        cost = json.loads(report.read_text())
    status = cost.pop("status")
    if status == 0:
        return Cost(**cost)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Cost(**cost, failure=f"killed by signal {-status}" if status < 0 else last)


def python(module: str, *arguments: str | Path) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def _measure(report: str, command: list[str]) -> None:
    start = time.perf_counter()
    child, peak = os.posix_spawnp(command[0], command, os.environ), 0
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        peak = max(peak, _resident(child))
        time.sleep(0.02)
    _, status, usage = ended
    cost = {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - start,
        "peak_bytes": max(peak, usage.ru_maxrss * 1024),
        "status": os.waitstatus_to_exitcode(status),
    }
    Path(report).write_text(json.dumps(cost))


def _resident(process: int) -> int:
    """Return the resident bytes of a process and of those that it began; 0 of one that ended."""
    try:
        total = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for thread in Path(f"/proc/{process}/task").iterdir():
            total += sum(map(_resident, map(int, (thread / "children").read_text().split())))
    except (OSError, IndexError):
        return 0
    return total


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2:])
