"""Completion in a real shell: the script that `--show-completion` prints, asked by the shell itself."""

import functools
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT as INHERITED
from tests.commands import INSTALLED
from tests.deadlines import HUNG

pytestmark = INSTALLED
ENVIRONMENT = {**INHERITED, "TERM": "dumb", "PS1": "$ "}


def shell(name: str, script: str) -> list[str]:
    """Run a script in a shell that may be missing; return the lines of its stdout."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    script += " || exit"  # so that the shell stays, as the parent by which it is recognised
    done = subprocess.run(
        [name, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=HUNG
    )
    return done.stdout.splitlines()


@functools.cache
def completion() -> str:
    """Return the script that bash is given."""
    return "\n".join(shell("bash", "compressctl --show-completion"))


def complete(*words: str) -> list[str]:
    """Return what bash is offered for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    return shell(
        "bash",
        f"""{completion()}
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        _compressctl_completion compressctl && printf '%s\\n' "${{COMPREPLY[@]}}" """,
    )


def test_commands_are_completed():
    assert complete("compressctl", "s") == ["simplify", "store", "schema"]
    assert "init" in complete("compressctl", "")


def test_options_are_completed():
    assert sorted(complete("compressctl", "quantize", "--calib")) == ["--calibrate", "--calibration-method"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("quantize", "--scheme", "int8"), ["int8", "int8-dynamic", "int8-weights"]),
        (("quantize", "--scheme", "t"), ["ternary-a8", "ternary"]),
        (("quantize", "--calibration-method", "m"), ["minmax", "mse"]),
        (("prune", "--scope", ""), ["layer", "global"]),
        (("prune", "--structure", "h"), ["head"]),
        (("init", "--goal", ""), ["fast", "small", "both"]),
        (("store", "--format", "co"), ["codebook", "coo"]),
        (("bench", "--metric", "top"), ["top1", "top5"]),
        (("pipeline", "--on-regression", ""), ["rollback", "keep"]),
        (("finetune", "--optimizer", "s"), ["sgd"]),
    ],
)
def test_words_of_a_list_are_completed(words, expected):
    assert complete("compressctl", *words) == expected


@pytest.mark.parametrize("words", [("quantize", ""), ("quantize", "--data", "te"), ("pipeline", "--model", "m")])
def test_files_are_left_to_the_shell(words):
    assert complete("compressctl", *words) == [""]


def typed(folder: Path, keys: str, wanted: str) -> str:
    """Type into an interactive bash that has the completion; return the screen once `wanted` is on it."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], ENVIRONMENT)
    try:
        os.write(terminal, b"bind 'set bell-style none'; eval \"$(compressctl --show-completion)\"; echo rea''dy\n")
        screen = read_until(terminal, "ready\r\n")
        assert "ready\r\n" in screen
        os.write(terminal, keys.encode())
        return read_until(terminal, wanted)
    finally:
        os.write(terminal, b"\x15exit\n")
        os.close(terminal)
        os.waitpid(child, 0)


def read_until(terminal: int, wanted: str) -> str:
    screen, end = "", time.monotonic() + HUNG
    while wanted not in screen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            screen += os.read(terminal, 4096).decode(errors="replace")
    return screen


def test_a_terminal_completes_commands_words_and_names_with_spaces(tmp_path):
    (tmp_path / "my model.onnx").touch()
    (tmp_path / "folder").mkdir()
    assert "compressctl quantize " in typed(tmp_path, "compressctl quan\t", "compressctl quantize ")
    wanted = "compressctl quantize my\\ model.onnx "
    assert wanted in typed(tmp_path, "compressctl quantize my\t", wanted)
    assert "compressctl bench folder/" in typed(tmp_path, "compressctl bench fo\t", "bench folder/")


def test_zsh_and_fish_scripts_are_theirs():
    for name, words in (("zsh", "#compdef compressctl"), ("fish", "complete --command compressctl")):
        if shutil.which(name):
            assert shell(name, "compressctl --show-completion")[0].startswith(words)


def test_installing_adds_a_script_and_keeps_the_startup_file(tmp_path):
    (tmp_path / ".bashrc").write_text("alias mine=true")
    script = "compressctl --install-completion && compressctl --install-completion || exit"
    done = subprocess.run(
        ["bash", "-c", script], env={**ENVIRONMENT, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "bash completion installed" in done.stdout
    startup = (tmp_path / ".bashrc").read_text().split("\n")
    assert startup[0] == "alias mine=true"
    assert [line for line in startup if line][1:] == [f"source '{tmp_path}/.bash_completions/compressctl.sh'"]
    assert (tmp_path / ".bash_completions" / "compressctl.sh").read_text().startswith("_compressctl_completion()")
