"""Opening and running a model file in a process of its own: a crash of onnxruntime there is an error message here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compressctl
from compressctl.arrays import Array
from compressctl.errors import DataError, ModelError, UsageError
from compressctl.measure.worker import load_arrays, save_arrays
from compressctl.scratch import temporary_folder

TIMEOUT = 900.0  # seconds
RUNS = 3  # the first run allocates, the second plans its memory by the first, the third is as all that follow


@dataclass(frozen=True)
class Finished:
    """What a worker process saw.

    Attributes:
        outputs: of the last run.
        empty_bytes: peak resident memory before the model was opened; None where the system does not tell.
        peak_bytes: the same after the last run.
    """

    outputs: dict[str, Array]
    empty_bytes: int | None
    peak_bytes: int | None


def check_file(
    path: Path, feeds: Mapping[str, Array] | None, *, threads: int = 0, timeout: float = TIMEOUT, lean: bool = False
) -> dict[str, Array]:
    """Open a model file in a fresh process, run it once if there are feeds, and return its outputs.

    `lean`: with as little memory as can be, by running the graph as it is written.

    Raises:
        ModelError: onnxruntime cannot open or run it, crashes, or takes longer than `timeout` seconds.
        DataError: the feeds do not fit the model.
    """
    runs = 0 if feeds is None else 1
    return run_isolated(path, feeds or {}, threads=threads, runs=runs, timeout=timeout, lean=lean).outputs


def run_isolated(
    path: Path, feeds: Mapping[str, Array], *, threads: int, runs: int, timeout: float = TIMEOUT, lean: bool = False
) -> Finished:
    """Open a model file in a fresh process and run it `runs` times; errors as `check_file`."""
    with temporary_folder() as folder:
        request, inputs, outputs = (folder / name for name in ("request.json", "feeds.npz", "outputs.npz"))
        dtypes = save_arrays(inputs, feeds)
        settings = {"model": str(path), "feeds": str(inputs), "outputs": str(outputs), "dtypes": dtypes}
        request.write_text(json.dumps({**settings, "threads": threads, "runs": runs, "lean": lean}))
        reply = _ask(path, request, timeout)
        if "error" in reply:
            kind = {"DataError": DataError}.get(reply["error"], ModelError)
            raise kind(reply["message"], reply["hint"])
        return Finished(load_arrays(outputs, reply["dtypes"]), reply["empty_bytes"], reply["peak_bytes"])


def _ask(path: Path, request: Path, timeout: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "compressctl.measure.worker", str(request)]
    home = str(Path(compressctl.__file__).parents[1])  # found by the worker even where the package is not installed
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}
    reading, writing = os.pipe()  # the worker ends when its input does: with this process, however that ends
    try:
        done = subprocess.run(
            command, env=environment, stdin=reading, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"onnxruntime did not finish with {path} within {timeout:g} seconds") from None
    finally:
        os.close(reading)
        os.close(writing)
    if done.returncode != 0:
        raise ModelError(*_crash(done.returncode, done.stderr, path))
    reply: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reply


def _crash(code: int, stderr: str, path: Path) -> tuple[str, str | None]:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = "the system may have run out of memory" if name == "SIGKILL" else None
        return f"onnxruntime crashed ({name}) on {path}", hint
    last = next(reversed(stderr.strip().splitlines()), f"exit code {code}")
    return f"onnxruntime crashed on {path}: {last}", None


@dataclass(frozen=True)
class PeakMemory:
    """Most memory that was resident, in bytes.

    Attributes:
        peak_bytes: of the process that loaded and ran the model.
        empty_bytes: of the same process just before: Python, numpy, onnxruntime and the feeds.
    """

    peak_bytes: int
    empty_bytes: int

    @property
    def model_bytes(self) -> int:
        """What loading and running the model added."""
        return self.peak_bytes - self.empty_bytes


def peak_memory(path: Path, feeds: Mapping[str, Array], *, threads: int = 0, timeout: float = TIMEOUT) -> PeakMemory:
    """Load a model file in a fresh process, run it three times, and return the memory that took.

    Raises:
        ModelError, DataError: as `isolated.check_file`.
        UsageError: the system does not tell how much memory a process uses.
    """
    finished = run_isolated(path, feeds, threads=threads, runs=RUNS, timeout=timeout)
    if finished.peak_bytes is None or finished.empty_bytes is None:
        raise UsageError("peak memory cannot be measured on this system", "it can on Linux and macOS")
    return PeakMemory(finished.peak_bytes, finished.empty_bytes)
