"""What this machine is: its processor, the instructions that matter to INT8, its memory, onnxruntime's version."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compressctl.measure.session import VERSION
from compressctl.numerics.parallel import usable_cores

Int8Target = Literal["vnni", "avx2", "arm64", "unknown"]

# Names as Linux (x86, then ARM) lists them in /proc/cpuinfo, with the name by which they go here.
_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
}
# The same as macOS lists them: `sysctl` names that answer 1.
_SYSCTL = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.neon": "neon",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}


@dataclass(frozen=True)
class Machine:
    """The machine, as far as the system tells; what it does not tell is None, or missing from `instructions`.

    Attributes:
        system: operating system and architecture, such as "Linux x86_64".
        cpu: the processor's name.
        physical_cores: cores; hyper-threads share one.
        logical_cores: what the system schedules on.
        usable_cores: the logical cores that this process may run on.
        instructions: out of avx2, avx512, avx_vnni, avx512_vnni, amx_int8, neon, dotprod, i8mm.
        memory_bytes: physical memory.
        onnxruntime: its version.
    """

    system: str
    cpu: str | None
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int | None
    instructions: tuple[str, ...]
    memory_bytes: int | None
    onnxruntime: str


def describe() -> Machine:
    """Describe this machine."""
    cpuinfo = _cpuinfo()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(cpuinfo),
        physical_cores=_physical_cores(cpuinfo),
        logical_cores=os.cpu_count(),
        usable_cores=usable_cores(),
        instructions=_instructions(cpuinfo),
        memory_bytes=_memory_bytes(),
        onnxruntime=VERSION,
    )


def processor() -> str:
    """Name what the speed of kernels depends on: the processor, and its instructions that matter to INT8."""
    cpuinfo = _cpuinfo()
    return f"{_cpu_name(cpuinfo)} {' '.join(_instructions(cpuinfo))}"


def int8_target(instructions: Collection[str] | None = None) -> Int8Target:
    """Return which INT8 kernels onnxruntime has for these instructions, by default for this machine's.

    "vnni": products of 8-bit integers are summed in 32 bits; "avx2": in pairs in 16 bits, which saturate, as AVX512
    does without VNNI; "arm64": NEON, which does not saturate.
    """
    found = set(_instructions(_cpuinfo()) if instructions is None else instructions)
    if found & {"avx_vnni", "avx512_vnni", "amx_int8"}:
        return "vnni"
    if "avx2" in found:
        return "avx2"
    return "arm64" if "neon" in found else "unknown"


def _instructions(cpuinfo: str) -> tuple[str, ...]:
    """Return the instruction sets that the text of /proc/cpuinfo names, or that macOS's sysctl does."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if line:
        present = set(line[1].split())
        return tuple(name for flag, name in _FLAGS.items() if flag in present)
    return tuple(name for key, name in _SYSCTL.items() if _sysctl(key) == "1")


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _cpu_name(cpuinfo: str) -> str | None:
    line = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return line[1].strip() if line else _sysctl("machdep.cpu.brand_string") or platform.processor() or None


def _physical_cores(cpuinfo: str) -> int | None:
    cores = set(re.findall(r"^physical id\s*:\s*(\d+)$.*?^core id\s*:\s*(\d+)$", cpuinfo, re.MULTILINE | re.DOTALL))
    told = _sysctl("hw.physicalcpu")
    return len(cores) or (int(told) if told else None)


def _memory_bytes() -> int | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _sysctl(key: str) -> str | None:
    if platform.system() != "Darwin":
        return None
    done = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
