"""The keys of a search in a recipe."""

import pytest

from compressctl.errors import RecipeError
from compressctl.recipe.load import build_recipe
from compressctl.recipe.schema import json_schema
from compressctl.recipe.search import SearchOptions

MINIMAL = {"model": "a.onnx", "output": "b.onnx"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("0.5h", 1800), (" 1 m ", 60), (7, 7)],
)
def test_durations(text, seconds):
    assert SearchOptions(time_limit=text).time_limit == seconds


@pytest.mark.parametrize("text", ["soon", "", "20 min", "1m-", "-5", "0", 0, float("inf")])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(RecipeError, match=r"search\.time_limit: .*(20m|greater than 0|finite)"):
        build_recipe({**MINIMAL, "search": {"time_limit": text}}, "r.yaml")


def test_passes_may_be_left_out_of_a_search_alone():
    assert build_recipe({**MINIMAL, "search": {}}, "r.yaml").passes == ()
    with pytest.raises(RecipeError, match="passes: missing"):
        build_recipe(MINIMAL, "r.yaml")
    schema = json_schema()
    assert "passes" not in schema["required"]
    assert {"required": ["search"]} in schema["anyOf"] and {"required": ["passes"]} in schema["anyOf"]


def test_an_unknown_key_of_a_search_names_the_nearest_one():
    with pytest.raises(RecipeError, match=r"search\.trails: unknown key.*'trials'"):
        build_recipe({**MINIMAL, "search": {"trails": 3}}, "r.yaml")


def test_effort_is_no_part_of_the_question():
    one = SearchOptions(objective="size", time_limit="20m", trials=3, storage="a", workers=2)
    assert one.question() == SearchOptions(objective="size").question() != SearchOptions(objective="both").question()
