"""What the documents say is what the code does."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from compressctl.__main__ import run
from compressctl.cli import Commands
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
    """The parameters of a test: long where `text`, a recipe or command, trains or times layers, or is not `quick`."""
    slow = re.search(r"distill|finetune|qat|adaround|compressctl quantize (?!.*--scheme).*--calibrate", text)
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


def test_every_recipe_key_is_described():
    assert all(info.description for info in Recipe.model_fields.values())
