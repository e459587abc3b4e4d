"""An ONNX graph as a differentiable torch module: what trains is the loaded graph itself."""

import os
from contextlib import suppress

from compressctl.scratch import user_cache


def _keep_out_of_tmpdir() -> None:
    """Have torch keep what it compiles in the user's cache; else it leaves a folder in TMPDIR whenever it trains."""
    folder = user_cache("torch")
    if folder is None or "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    with suppress(OSError):  # read-only: torch makes the folder that it would have made
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


_keep_out_of_tmpdir()
