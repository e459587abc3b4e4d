"""No command destroys a file that it reads, writes besides, or did not make."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from compressctl.__main__ import run
from tests.samples import SAMPLES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all kinds of files that commands read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("m.onnx").write_bytes((SAMPLES / "mlp.onnx").read_bytes())
    np.savez("d.npz", input=np.zeros((4, 1, 8, 8), np.float32), labels=np.zeros(4, np.int64))
    Path("own.py").write_text("def f(): return []\n")
    recipe = {
        "model": "m.onnx",
        "output": "o.onnx",
        "calibrate": "d.npz",
        "threads": 1,
        "passes": [{"type": "simplify"}],
    }
    Path("r.yaml").write_text(json.dumps(recipe))
    Path("mine.json").write_text('{"my": "data"}')
    Path("link.onnx").symlink_to("m.onnx")
    os.link("d.npz", "hard.npz")
    Path("dangling").symlink_to("nowhere")
    return tmp_path


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


PIPELINE = ("pipeline", "r.yaml", "-q", "--no-cache")


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize(
    ("command", "named"),
    [
        ((*PIPELINE, "--junit", "m.onnx"), "m.onnx"),
        ((*PIPELINE, "--junit", "link.onnx"), "link.onnx"),
        ((*PIPELINE, "--junit", "hard.npz"), "hard.npz"),
        ((*PIPELINE, "--junit", "../{}/r.yaml"), "r.yaml"),
        ((*PIPELINE, "--junit", "o.onnx"), "o.onnx"),
        ((*PIPELINE, "--junit", "o.report.html"), "o.report.html"),
        ((*PIPELINE, "--depfile", "r.yaml"), "r.yaml"),
        ((*PIPELINE, "--depfile", "x", "--junit", "x"), "x"),
        ((*PIPELINE, "--calibrate", "python:own:f", "--allow-python", "--junit", "own.py"), "own.py"),
        ((*PIPELINE, "--set", "output=r.onnx", "--report", "r", "--junit", "r.html"), "r.html"),
        (("bench", "m.onnx", "-q", "--report", "m.onnx"), "m.onnx"),
        (("bench", "m.onnx", "-q", "--data", "d.npz", "--report", "d.npz"), "d.npz"),
        (("init", "m.onnx", "--data", "d.npz", "-o", "d.npz"), "d.npz"),
        (("pack", "m.onnx", "-o", "m.onnx"), "m.onnx"),
        (("quantize", "m.onnx", "-o", "link.onnx", "-q"), "link.onnx"),
    ],
)
def test_inputs_and_other_outputs_stay(folder, capfd, command, named, force):
    before = _content(folder)
    arguments = [part.format(folder.name) for part in command]
    assert run([*arguments, *force]) == 2
    assert named in capfd.readouterr().err
    assert _content(folder) == before


@pytest.mark.parametrize(
    "command",
    [
        (*PIPELINE, "--report", "mine.json"),
        (*PIPELINE, "--junit", "mine.json"),
        (*PIPELINE, "--depfile", "own.py"),
        (*PIPELINE, "--junit", "dangling"),
        ("bench", "m.onnx", "-q", "--seconds", "0.01", "--report", "mine.json"),
    ],
)
def test_files_of_others_need_force(folder, capfd, command):
    before = _content(folder)
    assert run(list(command)) == 2
    assert "--force replaces it" in capfd.readouterr().err
    assert _content(folder) == before and os.path.lexists("dangling")
    assert run([*command, "--force"]) == 0
    assert run(list(command)) == 0  # now it is ours


def test_the_step_summary_is_no_input(folder, monkeypatch, capfd):
    before = _content(folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "m.onnx")
    assert run([*PIPELINE]) == 2 and "GITHUB_STEP_SUMMARY" in capfd.readouterr().err
    assert _content(folder) == before


def test_devices_are_written_to(folder, capfd):
    assert run([*PIPELINE, "--junit", "/dev/stdout", "--depfile", os.devnull]) == 0
    assert "<testsuites>" in capfd.readouterr().out
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("path", ["", ".", "/"])
@pytest.mark.parametrize("option", ["-o", "--report"])
def test_a_path_without_a_name_is_no_file(folder, capfd, option, path):
    assert run([*PIPELINE, option, path]) == 2
    assert "is a folder; give the name of a file" in capfd.readouterr().err


def test_a_cache_among_files_of_others_hides_them_from_nobody(folder):
    assert run(["pipeline", "r.yaml", "-q", "--cache", "."]) == 0
    assert not any(Path(name).exists() for name in (".gitignore", "CACHEDIR.TAG"))
    assert run(["pipeline", "r.yaml", "-q", "--force", "--cache", "own"]) == 0
    assert Path("own/.gitignore").exists() and Path("own/CACHEDIR.TAG").exists()


def test_other_folders_in_a_cache_and_among_checkpoints_stay(folder):
    from compressctl.pipeline.cache import Cache
    from compressctl.training.checkpoint_paths import Checkpoints

    kept = [Path("cache/photos/a.png"), Path("o.checkpoints/epoch.ckpt")]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    Cache(Path("cache")).trim(most=0)
    Path("o.checkpoints/0-qat.pt").write_text("state")
    Checkpoints.beside(Path("o.onnx"), (), resume=False, force=True).remove()
    assert all(path.exists() for path in kept) and not Path("o.checkpoints/0-qat.pt").exists()


@pytest.mark.parametrize("command", [("simplify",), ("pack",), ("quantize", "--scheme", "int4")])
def test_names_too_long_for_the_files_beside_them_are_refused(call, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suffix = "ccz" if command[0] == "pack" else "onnx"
    code, _, stderr = call(command[0], SAMPLES / "mlp.onnx", "-o", f"{'a' * 230}.{suffix}", *command[1:])
    assert code == 2
    assert stderr.startswith("error: the name of the ") and "error: ." not in stderr and not list(tmp_path.iterdir())
