"""Signals that end a run, in processes of their own; and what a run leaves that could not clean up."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressctl.scratch import discard, temporary_folder
from tests.samples import MLP

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")

DEADLINE = 240.0  # seconds that a process may take to come to where the test waits for it, on a busy machine too

# A model that onnxruntime runs for ever, and what a process does that runs it, here or in a worker.
ENDLESS = """
import sys, onnx
from pathlib import Path
from compressctl import signals
from compressctl.measure.isolated import check_file
from compressctl.measure.session import Session
from compressctl.scratch import temporary_folder
signals._GRACE = 0.3
signals.handle()
text = '''<ir_version: 8, opset_import: ["" : 17]> m (float[1] x) => (float[1] y)
    <int64 n = {9223372036854775807}, bool go = {1}>
    { y = Loop (n, go, x) <body = b (int64 i, bool c, float[1] v) => (bool d, float[1] w)
        { d = Identity (c)  w = Add (v, v) }> }'''
try:
    with temporary_folder() as folder:
        model, feeds = folder / "m.onnx", {"x": __import__("numpy").ones(1, "float32")}
        onnx.save(onnx.parser.parse_model(text), model)
        print("ready", flush=True)
        check_file(model, feeds) if sys.argv[1:] == ["isolated"] else Session(model, threads=1).run(feeds)
except KeyboardInterrupt:
    signals.end(signals.tell())
"""


def heed() -> None:
    """Let signals do what they do by default: tests may run in the background, or under nohup, which ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def by(number: signal.Signals) -> str:
    return "" if number == signal.SIGINT else f" by {number.name}"


def start(tmp_path: Path, *command: str, **options: object) -> subprocess.Popen[str]:
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], env=environment, **{"preexec_fn": heed, **pipes, **options})


def wait_for(condition, process: subprocess.Popen[str] | None = None):
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.01)
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_signal_cleans_up_and_keeps_the_checkpoints(number, tmp_path):
    out = tmp_path / "out" / "m.onnx"
    out.parent.mkdir()
    options = ["--data", "digits", "--steps", "100000", "--checkpoint-every", "20", "--threads", "1", "-q"]
    process = start(tmp_path, "-m", "compressctl", "finetune", str(MLP), "-o", str(out), *options)
    try:
        wait_for(lambda: list(out.with_suffix(".checkpoints").glob("*.pt")), process)
    finally:
        process.send_signal(number)
    process.send_signal(number)  # while it cleans up
    _, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (128 + number, f"error: interrupted{by(number)}\n")
    assert [file.name for file in out.parent.iterdir()] == ["m.checkpoints"]
    assert [file.name for file in out.with_suffix(".checkpoints").iterdir()] == ["0-finetune.pt"]
    assert not list((tmp_path / "tmp").glob("*compressctl*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_native_code_is_not_waited_for(number, tmp_path):
    process = start(tmp_path, "-c", ENDLESS)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # by then it computes; and if it does not yet, the outcome is the same
    process.send_signal(number)
    _, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (128 + number, f"error: interrupted{by(number)}\n")
    assert not list((tmp_path / "tmp").iterdir())


def test_a_signal_that_the_parent_ignores_is_ignored(tmp_path):
    process = start(tmp_path, "-c", ENDLESS, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stderr) == (143, "error: interrupted by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_ends_with_its_process(number, tmp_path, monkeypatch):
    process = start(tmp_path, "-c", ENDLESS, "isolated")
    assert process.stdout.readline() == "ready\n"
    (worker,) = wait_for(lambda: children(process.pid), process)
    process.send_signal(number)
    process.communicate(timeout=DEADLINE)
    wait_for(lambda: not lives(worker))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert bool(list((tmp_path / "tmp").iterdir())) == (number == signal.SIGKILL)
    with temporary_folder() as folder:  # of the next run, which removes what the killed one left
        assert list((tmp_path / "tmp").iterdir()) == [folder]


def test_only_what_no_process_holds_and_bears_our_name_is_removed(tmp_path):
    ours, held = (tmp_path / f".compressctl-{12 * digit}.tmp" for digit in "01")
    others = [tmp_path / name for name in ("compressctl-work", ".compressctl-x.tmp", f"compressctl-{12 * '2'}.tmp.old")]
    for folder in (ours, held, *others):
        folder.mkdir()
        (folder / "file").write_text("precious")
    link = tmp_path / f".compressctl-{12 * '3'}.tmp"
    link.symlink_to(others[0])
    descriptor = os.open(held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as a process that lives does
    try:
        with temporary_folder(tmp_path) as folder:
            assert sorted(tmp_path.iterdir()) == sorted([held, folder, *others, link])
    finally:
        os.close(descriptor)
    assert all((folder / "file").read_text() == "precious" for folder in (held, *others))


def test_what_is_discarded_is_gone_and_so_is_the_way_there(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    discard(tmp_path / "folder")
    assert not list(tmp_path.iterdir())
