"""A command that is killed at any of its file events leaves the old files or the new ones; the next run tidies up."""

import shutil
from pathlib import Path

import pytest
from states import at_home, leftovers, states, visible

from compressctl.__main__ import run
from compressctl.model.save import save_model

QUIET = ["--threads", "1", "-q"]
TRAINING = ["--data", "digits:train[:64]", "--metric", "top1", "--steps", "4", "--checkpoint-every", "2"]
COMMANDS = {  # what makes the old files, and the new ones in their place: of models a and b
    "simplify": ["simplify", "{}.onnx", "-o", "out.onnx", "--force", *QUIET],
    "pack": ["pack", "{}.onnx", "-o", "out.ccz", "--force"],
    "unpack": ["unpack", "{}.ccz", "-o", "out.onnx", "--force"],
    "pipeline": ["pipeline", "{}.yaml", "--junit", "out.xml", "--depfile", "out.d", "--force", *QUIET],
    "init": ["init", "{}.onnx", "-o", "out.yaml", "--force"],
    "quantize": ["quantize", "{}.onnx", "-o", "out.onnx", "--scheme", "int8-dynamic", "--force", *QUIET],
    "packed": ["quantize", "{}.onnx", "-o", "out.ccz", "--scheme", "int4", "--force", *QUIET],
    "store": ["store", "{}.onnx", "-o", "out.onnx", "--force", *QUIET],
    "cluster": ["cluster", "{}.onnx", "-o", "out.onnx", "--clusters", "8", "--force", *QUIET],
    "prune": ["prune", "{}.onnx", "-o", "out.onnx", "--ratio", "0.3", "--force", *QUIET],
    "bench": ["bench", "{}.onnx", "--report", "out.json", "--seconds", "0.1", "--threads", "1", "-q"],
    "train": ["finetune", "{}.onnx", "-o", "out.onnx", *TRAINING, "--force", *QUIET],
}
_AGAIN = 2  # states from which a command runs again
QUICK = ["simplify", "pack", "unpack", "pipeline", "init"]


def check(state: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes]) -> None:
    """Every file is an old or a new one, and a model is there with all of its data."""
    assert all(data in (old.get(name), new.get(name)) for name, data in state.items())
    assert state.keys() >= {name for name in old.keys() & new.keys() if old[name] == new[name]}
    assert state.keys() >= {name for name in old.keys() & new.keys() if not name.endswith(".data")} - {"out.xml"}
    whole = old if "out.onnx" not in state or state["out.onnx"] == old["out.onnx"] else new
    assert state.keys() >= {name for name in whole if name.endswith(".data")}


def told_apart(found: list[Path], most: int) -> list[Path]:
    """Return states, spread over the run, that differ in more than how far a temporary folder was filled."""
    states = list({(repr(visible(state)), bool(leftovers(state))): state for state in found}.values())
    return states[:: -(-len(states) // most)]


def cases() -> list[object]:
    """Each command, with data beside its models where it writes any."""
    found = []
    for name in COMMANDS:
        for external in (False, True):
            quick = name in QUICK and external == (name in ("simplify", "unpack"))
            if not quick and external == (name in ("bench", "init")):
                continue
            marks = [] if quick else [pytest.mark.long]
            found.append(pytest.param(name, external, quick, id=f"{name}-external" if external else name, marks=marks))
    return found


@pytest.mark.parametrize(("command", "external", "quick"), cases())
def test_killed_at_any_file_event(command, external, quick, inputs, tmp_path, monkeypatch, record_property):
    if external:
        monkeypatch.setitem(save_model.__kwdefaults__, "embed_limit", 100)
    begin, run_in, taken = tmp_path / "begin", tmp_path / "run", tmp_path / "taken"
    shutil.copytree(inputs, begin)
    first, second = ([argument.format(name) for argument in COMMANDS[command]] for name in "ab")
    with at_home(begin):
        assert run(first) == 0
    shutil.copytree(begin, run_in)
    events, found = states(run_in, second, taken)
    assert not leftovers(run_in)
    old, new = visible(begin), visible(run_in)
    assert old != new and len(found) > 3
    for state in found:
        check(visible(state), old, new)
    record_property("killed", (events, len(found)))
    for state in [found[len(found) // 2]] if quick else told_apart(found, _AGAIN):
        with at_home(state):
            assert run([*second, *(["--resume"] if command == "train" else [])]) == 0
        assert not leftovers(state)
        again = visible(state)
        assert again.keys() == new.keys()
        assert all(again[name] == new[name] for name in new if name.endswith((".onnx", ".data", ".ccz")))
