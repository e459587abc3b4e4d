"""A disk that is full or read-only: one line, and all that was there is as it was."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from states import at_home, leftovers, visible

from compressctl.__main__ import run
from tests.disk import files_up_to

QUIET = ["--threads", "1", "-q"]
COMMANDS = {
    "simplify": ["simplify", "b.onnx", "-o", "out.onnx", "--force", *QUIET],
    "pack": ["pack", "b.onnx", "-o", "out.ccz", "--force"],
    "unpack": ["unpack", "b.ccz", "-o", "out.onnx", "--force"],
    "init": ["init", "b.onnx", "-o", "out.yaml", "--force"],
    "bench": ["bench", "b.onnx", "--report", "out.json", "--force", "--seconds", "0.1", *QUIET],
    "pipeline": ["pipeline", "b.yaml", "--force", "--junit", "out.xml", *QUIET],
}
QUICK = ["simplify", "unpack", "init"]


def commands() -> list[object]:
    return [pytest.param(COMMANDS[name], id=name, marks=[] if name in QUICK else pytest.mark.long) for name in COMMANDS]


@contextmanager
def disk(place: Path, options: str) -> Iterator[None]:
    """Mount a disk in memory, where this process may."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def home(inputs, tmp_path) -> Path:
    """A folder of models, and of an output that is there already."""
    folder = tmp_path / "home"
    shutil.copytree(inputs, folder)
    for name in ("out.onnx", "out.ccz", "out.yaml", "out.json", "out.xml"):
        (folder / name).write_bytes(b"precious")
    return folder


def refused(command: list[str], home: Path, capsys: pytest.CaptureFixture[str], before: dict[str, bytes]) -> str:
    """Run a command that must fail; return what it said."""
    capsys.readouterr()
    with at_home(home):
        code = run(command)
    stderr = capsys.readouterr().err
    assert code in (2, 3), stderr
    assert stderr.startswith("error: ") and len(stderr.splitlines()) <= 2, stderr
    assert visible(home) == before and not leftovers(home)
    return stderr


@pytest.mark.parametrize("command", commands())
@pytest.mark.parametrize("limit", [0, 300, 1000])
def test_files_that_may_not_grow(limit, command, home, capsys):
    before = visible(home)
    with files_up_to(limit):
        refused(command, home, capsys, before)


@pytest.mark.parametrize("command", commands())
def test_a_disk_that_is_full(command, home, tmp_path, capsys):
    small = tmp_path / "small"
    small.mkdir()
    with disk(small, "size=1m"):
        shutil.copytree(home, small, dirs_exist_ok=True)
        before = visible(small)
        (small / "tmp").mkdir()
        with (small / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space") as full:
            while True:
                file.write(bytes(4096))
        assert full.value.errno == errno.ENOSPC
        before["filler"] = (small / "filler").read_bytes()
        assert " left" in refused(command, small, capsys, before)  # no space, or 0 bytes


@pytest.mark.parametrize("command", commands())
def test_a_disk_that_is_read_only(command, home, tmp_path, capsys):
    place = tmp_path / "place"
    place.mkdir()
    with disk(place, "size=1m"):
        shutil.copytree(home, place, dirs_exist_ok=True)
        (place / "tmp").mkdir()
        before = visible(place)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        refused(command, place, capsys, before)
