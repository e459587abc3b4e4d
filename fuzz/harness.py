"""Run a case as a process would run it, and judge how it ended.

Each case runs in a fork of this process, in which all that a command imports is loaded already: a start would cost more
than most cases.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from compressctl.probation import MEMORY, SECONDS

CODES = (0, 2, 3, 4)
_MEMORY, _SECONDS = 1 << 30, 10  # that a file on probation may take
_CACHES = ("torchinductor_",)  # what torch keeps in TMPDIR, for all its users
_MOST_MEMORY, _MOST_SECONDS = 3 << 30, 90  # of a whole run, of computing


def warm_up(*, torch: bool) -> None:
    """Import what commands import."""
    import PIL.Image

    import compressctl.cli
    import compressctl.comparison
    import compressctl.container.pack
    import compressctl.container.unpack
    import compressctl.inspection
    import compressctl.pipeline
    import compressctl.report.console
    import compressctl.report.model_diff
    import compressctl.search
    import compressctl.starter.build

    PIL.Image.init()
    if torch:
        import compressctl.model.torchscript.convert  # noqa: F401


def judge(arguments: list[str], folder: Path) -> str | None:
    """Run a command in `folder`; return what is wrong with how it ended, or None."""
    scratch = folder / "scratch"
    scratch.mkdir()
    before = {path.name for path in folder.iterdir()} | {"stdout", "stderr"}
    started = time.monotonic()
    worker = os.fork()
    if worker == 0:
        _run(arguments, folder, scratch)
    status, use, killed = _wait(worker, started)
    said = (folder / "stderr").read_text(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    if killed:
        return f"hangs: {time.monotonic() - started:.0f} s"
    if code not in CODES:
        return f"exit code {code}: {said.strip()[-600:]}"
    if "Traceback" in said or "internal fault" in said:
        return f"a fault of ours with exit code {code}: {said[-600:]}"
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if code in (2, 3) and len(errors) != 1:
        return f"{len(errors)} lines of error with exit code {code}: {said[-600:]}"
    if use.ru_maxrss << 10 > _MOST_MEMORY:
        return f"takes {use.ru_maxrss >> 10} MB"
    if left := sorted(path.name for path in scratch.iterdir() if not path.name.startswith(_CACHES)):
        return f"leaves {', '.join(left)} in TMPDIR"
    outputs = {path.name for path in folder.iterdir()} - before
    if code in (2, 3) and outputs - {"cache", ".compressctl"}:
        return f"exit code {code}, and writes {', '.join(sorted(outputs))}"
    if any(str(scratch) in line for line in errors):
        return f"an error names a temporary file: {errors[0]}"
    return None


def _run(arguments: list[str], folder: Path, scratch: Path) -> None:
    """Be the process of a command; never returns."""
    code = 1
    try:
        for name, stream in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), stream)
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ |= {"TMPDIR": str(scratch), MEMORY: str(_MEMORY), SECONDS: str(_SECONDS)}
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        import tempfile

        tempfile.tempdir = None
        from compressctl.__main__ import run
        from compressctl.supervisor import supervise

        supervise()
        code = run(arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _wait(worker: int, started: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for a process, and end it where it stands still."""
    while True:
        ended, status, use = os.wait4(worker, os.WNOHANG)
        if ended:
            return status, use, False
        if time.monotonic() - started > 4 * _MOST_SECONDS:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)  # what it watches goes with it
            _, status, use = os.wait4(worker, 0)
            return status, use, True
        time.sleep(0.01)


def keep(folder: Path, place: Path, arguments: list[str], fault: str, again: str) -> None:
    """Keep the files of a case that failed, with what failed and how to run it again."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, symlinks=True)
    text = f"{fault}\n\ncompressctl {' '.join(map(repr, arguments))}\nagain: {again}\n"
    (place / "FAULT.txt").write_text(text, errors="backslashreplace")
