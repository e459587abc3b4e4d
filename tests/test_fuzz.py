"""A few cases of `make fuzz`, always the same ones, in a process that has opened nothing yet."""

import subprocess
import sys

import pytest
import yaml

from compressctl.recipe.load import load_recipes
from fuzz import cases


def test_damaged_files_end_as_they_should():
    code = (
        "import pathlib, tempfile; from fuzz import cases, harness; harness.warm_up(torch=False)\n"
        "for number in range(16):\n"
        "    with tempfile.TemporaryDirectory() as name:\n"
        "        folder = pathlib.Path(name)\n"
        "        print(number, harness.judge(cases.make_case(2, number, cases.QUICK, folder), folder))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{number} None" for number in range(16)], done.stdout + done.stderr


@pytest.mark.parametrize("content", cases.RECIPES)
def test_recipes_are_sound_before_they_are_damaged(content, tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    assert load_recipes(tmp_path / "r.yaml")
