"""Recipe files, read in a folder of their own."""

from pathlib import Path

import pytest

from compressctl.recipe.load import load_recipes


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write a recipe and read it with settings and flags."""
    monkeypatch.chdir(tmp_path)

    def _load(text, *settings, **overrides):
        Path("r.yaml").write_text(text)
        return load_recipes(Path("r.yaml"), overrides, settings)

    return _load
