"""Networks exported with random weights: size, latency and fidelity of ours beside onnxruntime.quantization.

Decoders with caches or merged branches, an encoder and decoder, recurrence both ways, grouped convolutions, a detector.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.public import Subject, table
from benchmarks.settings import Settings

MODELS = (
    *("llama_cache", "whisper_merged", "t5", "bigru"),
    *("regnety_002", "fastvit_t8", "ghostnet_100", "detector"),
)
NEEDS = (("torch==2.13.0",), ("torchvision==0.28.0", "transformers==5.24.0", "timm==1.0.31", "onnx==1.23.0"))


def run(settings: Settings) -> list[str]:
    return [table(map(Subject, models(settings.cache)), settings.cache)]


def models(cache: Path) -> Iterator[Path]:
    """Yield the exported files; a virtual environment in the cache makes those that are missing."""
    folder = cache / "exports"
    folder.mkdir(exist_ok=True)
    for name in MODELS:
        path = folder / f"{name}.onnx"
        if not path.exists():
            script = Path(__file__).parent / "workers" / "export.py"
            subprocess.run([exporter(cache), script, name, path], check=True, capture_output=True)
        yield path


def exporter(cache: Path) -> Path:
    """Return the interpreter that exports; make its environment where it is missing."""
    folder = cache / "exporters"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in NEEDS:  # torch first and alone: others would bring another build of it
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python
