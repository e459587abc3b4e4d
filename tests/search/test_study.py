"""The storage: what it keeps, and what it refuses."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compressctl.errors import MissingExtraError, UsageError
from compressctl.passes.space import Format, Space
from compressctl.search import search
from compressctl.search.record import Record, read
from compressctl.search.study import abandoned, ask, keep_space, open_study, space_of

WANTED = {
    "input": "1",
    "samples": {"data": "2"},
    "recipe": {"metric": "top1", "search": {"objective": "size"}},
    "grammar": 1,
}


@pytest.fixture(params=["file", "sqlite"])
def storage(request, tmp_path):
    return str(tmp_path / "s.journal") if request.param == "file" else f"sqlite:///{tmp_path / 's.db'}"


def test_a_study_is_found_again_with_its_space_and_records(storage):
    study = open_study(storage, WANTED, 2)
    space = Space((Format("float", "float"),), ("", "prune"), {"smooth": (False, True)}, False, False, ("a", "b"))
    keep_space(study, space)
    trial = ask(study, 0)
    record = Record({"x": 1}, [{"type": "simplify"}], 10, None, (0.1, 0.0, 0.2), 64, missed=(1, 2.5), costs={"a": 1.0})
    trial.set_user_attr(*record.keep())
    again = open_study(storage, WANTED, 2)
    assert space_of(again) == space
    assert [read(found) for found in again.trials] == [record]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"input": "9"}, "the input model"),
        ({"samples": {"data": "9"}}, "what the samples hold"),
        ({"recipe": {**WANTED["recipe"], "metric": "top5"}}, "metric of the recipe"),
        ({"recipe": {**WANTED["recipe"], "search": {"objective": "both"}}}, "search of the recipe"),
        ({"grammar": 2}, "the version of compressctl"),
    ],
)
def test_the_storage_of_another_search_is_refused(storage, changes, what):
    open_study(storage, WANTED, 2)
    with pytest.raises(UsageError, match=f"belongs to another search: {what} differs"):
        open_study(storage, {**WANTED, **changes}, 2)


@pytest.mark.parametrize("content", [b"no journal\n" * 3, b"\x00\xff" * 20, b'{"a": 1}\n{"b": 2}\n'])
def test_a_file_that_is_no_storage_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"notes\.txt.* (cannot be used|is no storage)"):
        open_study(str(path), WANTED, 2)
    assert path.read_bytes() == content


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    path = tmp_path / "s"
    ask(open_study(str(path), WANTED, 2), 0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":5,"work')
    study = open_study(str(path), WANTED, 2)
    assert path.read_bytes() == whole
    ask(study, 0)
    assert len(open_study(str(path), WANTED, 2).trials) == 2


@pytest.mark.parametrize("url", ["nosuch://x", "sqlite:////no/such/folder/s.db"])
def test_a_database_that_cannot_be_opened_is_one_line(url):
    with pytest.raises(UsageError, match="cannot be used") as caught:
        open_study(url, WANTED, 2)
    assert "\n" not in caught.value.message


def test_the_same_history_and_seed_give_the_same_choice(tmp_path):
    chosen = []
    for name in ("a", "b"):
        study = open_study(str(tmp_path / name), WANTED, 2)
        found = []
        for _ in range(14):
            trial = ask(study, 7)
            value = trial.suggest_float("x", 0, 1)
            found.append(value)
            study.tell(trial, [value, 1 - value])
            study = open_study(str(tmp_path / name), WANTED, 2)  # as a search that goes on
        chosen.append(found)
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 14


def test_trials_of_processes_that_are_gone_are_told_from_those_of_others(tmp_path):
    study = open_study(str(tmp_path / "s"), WANTED, 2)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    workers = [
        f"{socket.gethostname()}:{gone.stdout.strip()}",
        f"{socket.gethostname()}:{os.getpid()}",
        f"{socket.gethostname()}:{os.getppid()}",
        f"elsewhere:{gone.stdout.strip()}",
    ]
    for name in workers:
        study.ask().set_user_attr("worker", name)
    assert [trial.number for trial in abandoned(study)] == [0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a system without /proc")
def test_a_process_that_ended_is_gone_though_nobody_took_note(tmp_path):
    study = open_study(str(tmp_path / "s"), WANTED, 2)
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    study.ask().set_user_attr("worker", f"{socket.gethostname()}:{process.pid}")
    assert [trial.number for trial in abandoned(study)] == [0]
    process.wait()


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"compressctl\[search\]"):
        search(None)
