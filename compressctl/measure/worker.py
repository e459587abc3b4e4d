"""The process that opens and runs one model file for `isolated`: `python -m compressctl.measure.worker REQUEST`.

REQUEST is a JSON file {model, feeds, dtypes, threads, runs, lean, outputs}; `feeds` and `outputs` are npz files. The
answer is one line of JSON on stdout. Only numpy and onnxruntime are imported: the process should start fast and be
small.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressctl.arrays import Array
from compressctl.errors import CompressctlError
from compressctl.measure.session import Session

Named = Mapping[str, Array]


def save_arrays(path: Path, arrays: Named) -> dict[str, str]:
    """Write arrays to an npz file that needs no pickle; return their types by name, which `load_arrays` needs."""
    dtypes = {name: array.dtype.name if array.dtype.kind != "O" else "str" for name, array in arrays.items()}
    plain = (array.astype(str) if array.dtype.kind == "O" else array for array in arrays.values())
    np.savez(path, *(array.view(f"u{array.itemsize}") if _foreign(array.dtype) else array for array in plain))
    return dtypes


def load_arrays(path: Path, dtypes: Mapping[str, str]) -> dict[str, Array]:
    """Read what `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return {name: _typed(file[f"arr_{i}"], dtype) for i, (name, dtype) in enumerate(dtypes.items())}


def _foreign(dtype: np.dtype[Any]) -> bool:
    """Whether numpy cannot name the type in a file: bfloat16 and what else ml_dtypes registers."""
    return dtype.isbuiltin == 2


def _typed(array: Array, dtype: str) -> Array:
    if array.dtype.name == dtype or array.dtype.kind == "U":
        return array
    import ml_dtypes

    return array.view(getattr(ml_dtypes, dtype))


def peak_rss() -> int | None:
    """Return the most memory that this process ever had resident, in bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the parent's memory, which a fork shares until it calls exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Open the model and run it `runs` times; see the module for the request."""
    feeds = load_arrays(Path(request["feeds"]), request["dtypes"])
    empty = peak_rss()
    try:
        lean = request["lean"]
        session = Session(Path(request["model"]), threads=request["threads"], optimize=not lean, arena=not lean)
        outputs: Named = {}
        for _ in range(request["runs"]):
            outputs = session.run(feeds)
    except CompressctlError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    peak = peak_rss()
    return {"empty_bytes": empty, "peak_bytes": peak, "dtypes": save_arrays(Path(request["outputs"]), outputs)}


def main(arguments: Sequence[str]) -> None:
    """Answer the request in the file that the one argument names; end early where stdin does."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(json.dumps(answer(json.loads(Path(arguments[0]).read_text()))))


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock the interpreter needs when it ends
        continue
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
