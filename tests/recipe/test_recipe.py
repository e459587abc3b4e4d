"""Recipes: what is read, what is refused, and how it is said."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compressctl.errors import CompressctlError, RecipeError
from compressctl.recipe.load import build_recipe, load_recipes
from compressctl.recipe.model import Recipe
from compressctl.recipe.refusal import COMMAND_LINE
from compressctl.recipe.schema import json_schema

MINIMAL = {"model": "m.onnx", "output": "o.onnx", "passes": [{"type": "simplify"}]}


def refusal(**changes) -> str:
    with pytest.raises(RecipeError) as caught:
        build_recipe({**MINIMAL, **changes}, "r.yaml")
    return str(caught.value)


def test_minimal_recipe():
    recipe = build_recipe(MINIMAL, "r.yaml")
    assert recipe.output == Path("o.onnx") and [config.type for config in recipe.passes] == ["simplify"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibrat": "x"}, ["r.yaml: calibrat: unknown key", "'calibrate'"]),
        ({"passes": [{"type": "quantise"}]}, ["passes[0].type", "'quantize'"]),
        ({"passes": [{"scheme": "int8"}]}, ["passes[0].type: missing"]),
        ({"passes": [{"type": "simplify"}, {"type": "quantize", "schema": "int8"}]}, ["passes[1].schema", "'scheme'"]),
        ({"passes": [{"type": "quantize", "scheme": "int9"}]}, ["passes[0].scheme", "'int8'", "int9"]),
        ({"size_ratio": -1}, ["size_ratio", "greater than 0"]),
        ({"threads": "many"}, ["threads", "integer"]),
        ({"passes": "simplify"}, ["passes"]),
        ({"model": None}, ["model"]),
        ({"input": ["x"]}, ["input", "NAME:SHAPE"]),
    ],
)
def test_refusals_name_the_key_and_what_to_do(changes, words):
    text = refusal(**changes)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_refusals_name_flags_on_the_command_line():
    with pytest.raises(RecipeError, match=r"--size-ratio"):
        build_recipe({**MINIMAL, "size_ratio": 0}, COMMAND_LINE)


def test_missing_key():
    with pytest.raises(RecipeError, match="output: missing"):
        build_recipe({"model": "m.onnx", "passes": []}, "r.yaml")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("model: [", "r.yaml:"),
        ("- a", "mapping"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("", "mapping"),
    ],
)
def test_files_that_are_no_recipes(tmp_path, text, word):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=word):
        load_recipes(path)


def test_missing_file(tmp_path):
    with pytest.raises(RecipeError, match=r"no\.yaml: cannot be read"):
        load_recipes(tmp_path / "no.yaml")


def test_overrides_replace_keys(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: a.onnx\noutput: b.onnx\npasses: [{type: simplify}]\nseed: 3\n")
    (recipe,) = load_recipes(path, {"seed": 4})
    assert (recipe.seed, recipe.model) == (4, Path("a.onnx"))


def test_overrides_join_a_mapping(tmp_path):
    path = tmp_path / "r.yaml"
    budget = {"max_accuracy_drop": 0.1, "data": "digits:test", "metric": "top1"}
    path.write_text(yaml.safe_dump({"model": "m", "output": "o.onnx", **budget, "search": {"trials": 9, "workers": 2}}))
    (recipe,) = load_recipes(path, {"search": {"trials": 1}}, ["search.objective=both"])
    assert (recipe.search.trials, recipe.search.workers, recipe.search.objective) == (1, 2, "both")


def test_schema_describes_every_key_and_pass():
    schema = json_schema()
    assert set(schema["properties"]) == ({*Recipe.model_fields, "vars", "sweep"} - {"allow_python"})
    assert all("description" in prop for prop in schema["properties"].values())
    assert "quantize" in json.dumps(schema)


def test_schema_takes_a_variable_for_any_value():
    schema = json_schema()
    variable = {"$ref": "#/$defs/Variable"}
    finetune = schema["$defs"][next(name for name in schema["$defs"] if "finetune" in name)]["properties"]
    for properties in (schema["properties"], finetune):
        own = {key: value for key, value in properties.items() if key not in ("vars", "sweep", "type")}
        assert all(value["anyOf"][-1] == variable for value in own.values())
    assert finetune["type"]["const"] == "finetune"
    assert re.search(schema["$defs"]["Variable"]["pattern"], "digits:train[:${n}]")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_anything_at_all_is_read_or_refused(content):
    passes = content if isinstance(content, list) else [content]
    try:
        build_recipe({**MINIMAL, "passes": passes}, "r.yaml")
    except CompressctlError as error:
        assert "r.yaml" in str(error)


def test_budgets_in_percent():
    given = {"data": "d.npz", "metric": "top1", "max_accuracy_drop": "0.7%", "min_accuracy": " 80 % "}
    recipe = build_recipe({**MINIMAL, **given, "min_agreement": "99.5%"}, "r.yaml")
    assert (recipe.max_accuracy_drop, recipe.min_accuracy, recipe.min_agreement) == (0.007, 0.8, 0.995)
    assert "psnr is no share" in refusal(data="d.npz", metric="psnr", max_accuracy_drop="1%")
    assert "for example 0.01 or 1%" in refusal(min_accuracy="x%")
    assert "min_agreement" in refusal(min_agreement="101%")
