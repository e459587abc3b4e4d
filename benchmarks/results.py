"""RESULTS.md: one section a benchmark, replaced when that benchmark has run; says on what host, not when."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

INTRODUCTION = """\
# Results

Written by `python -m benchmarks`; `$DATA` is the folder given by `--data`, `$CACHE` that given by `--cache`.
Each table comes from one run. Latency (batch 1, one thread, all files of a table timed in alternation; with its 95 %
interval) and size are ratios to the FP32 file. CPU seconds and peak memory are those of the whole command, all threads
and child processes; "of inference" is CPU time over that of running the FP32 model on the same samples.
What compressctl takes includes measuring the result against its input, which onnxruntime's quantizer leaves to others.
"""
ISA = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")


def update(path: Path, name: str, title: str, command: str, tables: Sequence[str]) -> None:
    """Write the section `name` of the file; the other sections stay."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    sections[name] = "\n".join(["", title, "", f"    {command}", "", f"Host: {_host()}.", "", *tables])
    body = "".join(f"\n## {key}\n{content.rstrip()}\n" for key, content in sorted(sections.items()))
    path.write_text(INTRODUCTION + body, encoding="utf-8")


def _host() -> str:
    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text() if cpu.exists() else ""
    named = re.search(r"model name\s*:\s*(.+)", text)
    flags = re.search(r"^flags\s*:\s*(.+)", text, flags=re.MULTILINE)
    isa = [flag for flag in ISA if flags and flag in flags[1].split()]
    parts = [named[1] if named else platform.machine(), f"{os.cpu_count()} cores", *isa, platform.system()]
    parts += [f"Python {platform.python_version()}", f"onnxruntime {version('onnxruntime')}"]
    return ", ".join(parts)
