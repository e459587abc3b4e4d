"""The helps of the commands: their examples run as they stand, and they name what there is."""

import re
import shlex

import numpy as np
import pytest

from compressctl.__main__ import run
from compressctl.cli import Commands
from compressctl.cli.help import Command
from compressctl.data.notation import open_source
from compressctl.tensorspec import TensorSpec
from tests.samples import ROOT, SAMPLES

COMMANDS = dict(Commands())
EXAMPLES = [
    pytest.param(line, id=f"{name}-{index}", marks=pytest.mark.long if index else ())
    for name, command in COMMANDS.items()
    for index, example in enumerate(command.examples)
    for line in example.replace("\\\n", " ").splitlines()
    if line.startswith("compressctl ")
]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Write the files that the examples name: models, samples with labels, a recipe."""
    folder = tmp_path_factory.mktemp("examples")
    for split in ("train", "test"):
        source = open_source(f"digits:{split}[:300]", [TensorSpec("input", "float32", ("N", 1, 8, 8))])
        (batch,) = source.batches(len(source))
        np.savez(folder / f"{split}.npz", input=batch.feeds["input"], labels=batch.labels)
    sources = {"model.onnx": "mlp.onnx", "model.pt": "cnn_traced.pt", "student.onnx": "cnn_student.onnx"}
    for name, source_name in (sources | {"packed.ccz": "mlp.ccz"}).items():
        (folder / name).write_bytes((SAMPLES / source_name).read_bytes())
    recipe = (ROOT / "recipes" / "int8.yaml").read_text()
    recipe = recipe.replace("sample_models/cnn.onnx", "model.onnx").replace("build/recipes/cnn_int8.onnx", "small.onnx")
    (folder / "recipe.yaml").write_text(recipe)
    for day, scheme in (("monday", "int8-dynamic"), ("tuesday", "int4")):
        output = folder / "runs" / f"{day}.onnx"
        output.parent.mkdir(exist_ok=True)
        assert run(["quantize", str(folder / "model.onnx"), "-o", str(output), "--scheme", scheme, "-q"]) == 0
        (folder / f"{day}.report.json").write_bytes(output.with_suffix(".report.json").read_bytes())
    (folder / "quantized.onnx").write_bytes((folder / "runs" / "monday.onnx").read_bytes())
    return folder


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_run(line, files, tmp_path, monkeypatch, capsys):
    if ".pt" in line or "--epochs" in line:
        pytest.importorskip("torch")
    for file in files.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.split(" > ")[0].split(" | ")[0])
    less = ["--seconds", "0.2"] if words[1] == "bench" else []
    assert run([*words[1:], *less]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_helps_are_whole(name, capsys):
    assert run([name, "--help"]) == 0
    text = capsys.readouterr().out
    command = COMMANDS[name]
    assert isinstance(command, Command) and len(command.examples) >= 2
    for example in command.examples:
        comment, first, *_ = example.splitlines()
        assert comment.startswith("# ") and first.startswith(f"compressctl {name} ")
        assert all(f"\n  {line}\n" in text for line in example.splitlines())
    sections = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(sections) == len(set(sections)) and sections[-2:] == ["Examples:", "Exit codes:"]
    codes = text.partition("Exit codes:\n")[2]
    assert ("  4    a budget missed" in codes) == ("--max-accuracy-drop" in text)
    for code in ("0  ", "2  ", "3  ", "130"):
        assert f"\n  {code}  " in f"\n{codes}"


def helped(capsys, *arguments):
    assert run([*arguments]) == 0
    return capsys.readouterr().out


def flags(text):
    return re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text.partition("More, with")[0], re.M)


def test_options_stand_in_groups(capsys):
    text = helped(capsys, "quantize", "--help-all")
    order = ["\nArguments:", "--scheme", "\nSamples:", "--calibrate", "\nBudgets:", "--size-ratio"]
    order += ["\nTraining:", "--epochs", "\nRun:", "--threads", "\nReport:", "--json", "\nExamples:"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


@pytest.mark.parametrize(("name", "most"), [("quantize", 20), ("prune", 25), ("cluster", 21), ("pipeline", 20)])
def test_help_shows_everyday_options_and_counts_the_others(name, most, capsys):
    brief, whole = helped(capsys, name, "--help"), helped(capsys, name, "--help-all")
    assert len(flags(brief)) <= most
    assert set(flags(brief)) < set(flags(whole))
    assert {"--output", "--calibrate", "--max-accuracy-drop", "--force", "--json", "--help-all"} <= {*flags(brief)}
    left = re.findall(r"^  \w+ +(\d+): --", brief.partition("More, with --help-all:")[2], re.M)
    assert sum(map(int, left)) == len(flags(whole)) - len(flags(brief))


@pytest.mark.parametrize("name", ["schema", "inspect", "init"])
def test_a_command_of_few_options_shows_them_all(name, capsys):
    assert "--help-all" not in helped(capsys, name, "--help")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_helps_keep_to_eighty_columns(name, option, capsys, monkeypatch):
    if option == "--help-all" and "--help-all" not in helped(capsys, name, "--help"):
        return
    monkeypatch.setenv("COLUMNS", "80")
    text = helped(capsys, name, option)
    assert max(map(len, text.partition("\nExamples:")[0].splitlines())) <= 80
