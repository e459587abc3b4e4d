"""What the fields of a recipe say of themselves."""

from pathlib import Path

import pytest

from compressctl.pipeline.up_to_date import _content
from compressctl.recipe.model import PERMISSIONS, WRITTEN, Recipe
from compressctl.recipe.search import SearchOptions

BARE = Recipe(model="in.onnx", output="out.onnx", passes=())
NOT_IN_THE_BYTES = {
    "model": Path("other.onnx"),  # its hash stands beside the recipe
    "output": Path("elsewhere.onnx"),
    "report": Path("r.json"),
    "explain": True,
    "robustness": True,
    "cache": Path("cache"),
    "force": True,
    "resume": True,
}
OTHERS = {"calibrate": "random", "seed": 1, "threads": 1, "max_size": 5, "strict": True, "on_regression": "keep"}


@pytest.mark.parametrize("key", [*NOT_IN_THE_BYTES, *OTHERS])
def test_provenance_tells_recipes_apart_by_what_decides_the_bytes(key):
    changed = BARE.model_copy(update={key: (NOT_IN_THE_BYTES | OTHERS)[key]})
    assert (changed.canonical() == BARE.canonical()) == (key in NOT_IN_THE_BYTES)


def test_an_output_is_up_to_date_whatever_decides_nothing():
    assert Recipe.deciding("nothing") == {"cache", "force", "resume"}
    assert Recipe.deciding("bytes").isdisjoint(NOT_IN_THE_BYTES)
    changed = BARE.model_copy(update={"force": True, "resume": True, "cache": Path("cache")})
    assert _content(changed.model_dump(mode="json")) == _content(BARE.model_dump(mode="json"))
    explained = BARE.model_copy(update={"explain": True})
    assert _content(explained.model_dump(mode="json")) != _content(BARE.model_dump(mode="json"))


def test_a_search_is_told_apart_by_its_question_not_its_effort():
    effort = SearchOptions(time_limit=5, trials=2, storage="s", workers=2)
    assert effort.question() == SearchOptions().question() == {"objective": "both"}


def test_what_is_written_and_what_is_leave():
    assert WRITTEN == ("output", "report") and PERMISSIONS == ("allow_python",)
