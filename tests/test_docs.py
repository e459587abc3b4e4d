"""What the documents say is what the code does."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from sklearn.datasets import load_digits

from compressctl.__main__ import run
from compressctl.cli import Commands
from compressctl.data.parse import parse_notation
from compressctl.data.tones import draw_clip
from compressctl.measure.metrics import parse_metric
from compressctl.recipe.model import Recipe
from compressctl.recipe.schema import json_schema
from docs import generate
from tests.commands import blocks
from tests.samples import ROOT

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "text"), [("cli.md", generate.cli_page), ("recipe.md", generate.recipe_page)])
def test_reference_pages_are_current(page, text):
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == text(), "run `make docs`"


def unless_quick(text: str, *values: object, quick: bool = True, **keys: object):
    """The parameters of a test: long where `text`, a recipe or command, trains, times layers, detects, or is slow."""
    slow = re.search(r"distill|finetune|qat|adaround|scenes:|compressctl quantize (?!.*--scheme).*--calibrate", text)
    return pytest.param(*values, marks=pytest.mark.long if slow or not quick else (), **keys)


@pytest.mark.parametrize(
    "path", [unless_quick(path.read_text(), path, id=path.stem) for path in RECIPES if path.stem != "search"]
)
def test_recipes_run(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    content = yaml.safe_load(path.read_text())
    output = tmp_path / Path(content["output"]).name
    assert run(["pipeline", str(path), "-o", str(output), "--json", "-q", "--no-cache"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [item["type"] for item in report["passes"]] == [item["type"] for item in content["passes"]]
    budgets = {key for key in ("max_accuracy_drop", "size_ratio", "latency_ratio") if key in content}
    budgets |= {key for item in content["passes"] for key in item if key.startswith("target_")}
    assert {verdict["budget"] for verdict in report["budgets"]} == budgets
    assert output.exists()


def test_recipes_keys_are_in_the_schema():
    known = set(json_schema()["properties"])
    for path in RECIPES:
        assert set(yaml.safe_load(path.read_text())) <= known


def test_readme_names_every_command_and_recipe():
    for name in Commands():
        assert f"compressctl {name}" in README
    for path in RECIPES:
        assert path.name in README


PAGES = "\n".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("pruning.md", "storage.md", "ccz.md"))


def _commands(text: str) -> list[str]:
    """The one-liners of a text that run on what the repository holds."""
    lines = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("compressctl ") and "sample_models/" in line]


SHOWN = _commands(README)


@pytest.mark.parametrize(
    "line",
    [
        *(unless_quick(line, line) for line in SHOWN),
        *(unless_quick(line, line, quick=False) for line in _commands(PAGES) if line not in SHOWN),
    ],
)
def test_readme_commands_run(line, tmp_path, monkeypatch, capsys):
    if ".pt" in line:
        pytest.importorskip("torch")
    for name in ("sample_models", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.split("#")[0].split(" | ")[0])
    assert run(words[1:]) == 0, capsys.readouterr().err


def _by_job(word: str) -> list[str]:
    """The words of the one-liner for the user's own models that has this one."""
    lines = "\n".join(blocks(README, "sh")).replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if word in line]
    return shlex.split(line)[1:]


def test_a_classifier_is_judged_on_a_table_of_files(tmp_path, monkeypatch, capsys):
    pixels, digits = load_digits(return_X_y=True)
    monkeypatch.chdir(tmp_path)
    Path("classifier.onnx").symlink_to(ROOT / "sample_models/cnn.onnx")
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    Path("classes.txt").write_text("\n".join(names))
    for row in range(0, 600, 5):
        np.save(f"{row}.npy", (pixels[row] / 16).astype(np.float32).reshape(1, 8, 8))
    rows = (f"{row}.npy,{names[digits[row]]}\n" for row in range(0, 600, 5))
    Path("labels.csv").write_text("file,label\n" + "".join(rows))
    assert run(_by_job("classifier.onnx")) == 0, capsys.readouterr().err


@pytest.mark.long
def test_a_denoiser_is_judged_on_folders_of_sounds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("denoiser.onnx").symlink_to(ROOT / "sample_models/denoiser.onnx")
    for number in range(3):
        for folder, clip in zip(("noisy", "clean"), draw_clip((1, number)), strict=True):
            Path(folder).mkdir(exist_ok=True)
            soundfile.write(f"{folder}/{number}.wav", clip, 8000, subtype="FLOAT")
    assert run([*_by_job(" denoiser.onnx"), "--json", "-q"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["models"]
    command = ["bench", "denoiser.onnx", "--data", "tones:test[:3]", "--metric", "si_sdr", "--json", "-q"]
    assert run(command) == 0
    (same,) = json.loads(capsys.readouterr().out)["models"]
    assert found["score"]["value"] == pytest.approx(same["score"]["value"])


@pytest.mark.parametrize("word", ["sts.jsonl", "corpus.jsonl", "book.txt", "said.csv", "noisy,"])
def test_commands_by_job_name_metrics_and_data(word):
    words = _by_job(word)
    parse_metric(words[words.index("--metric") + 1])
    parse_notation(words[words.index("--data") + 1])


def test_every_recipe_key_is_described():
    assert all(info.description for info in Recipe.model_fields.values())
