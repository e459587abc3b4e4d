"""The machine: what is not detected is not claimed."""

import pytest

from compressctl.measure.machine import _instructions, _physical_cores, describe, int8_target

X86 = """processor\t: 0
model name\t: Some CPU
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni amx_int8

processor\t: 1
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni amx_int8

processor\t: 2
physical id\t: 0
core id\t\t: 1
flags\t\t: fpu sse2 avx avx2 avx512f avx512_vnni amx_int8
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes asimddp i8mm\nCPU implementer\t: 0x41\n"


def test_linux_x86() -> None:
    assert _instructions(X86) == ("avx2", "avx512", "avx512_vnni", "amx_int8")
    assert _physical_cores(X86) == 2


def test_linux_arm() -> None:
    assert _instructions(ARM) == ("neon", "dotprod", "i8mm")


@pytest.mark.parametrize(
    ("instructions", "target"),
    [
        (["avx2", "avx_vnni"], "vnni"),
        (["avx2", "avx512", "avx512_vnni"], "vnni"),
        (["avx2", "avx512"], "avx2"),
        (["neon", "dotprod"], "arm64"),
        ([], "unknown"),
    ],
)
def test_int8_target(instructions: list[str], target: str) -> None:
    assert int8_target(instructions) == target


def test_this_machine() -> None:
    machine = describe()
    assert int8_target() == int8_target(machine.instructions)
    assert machine.onnxruntime.count(".") == 2
    assert (
        machine.usable_cores is None or machine.logical_cores is None or machine.usable_cores <= machine.logical_cores
    )
    assert machine.memory_bytes is None or machine.memory_bytes > 2**28
