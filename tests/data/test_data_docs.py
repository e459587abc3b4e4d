"""The Python in docs/data.md runs, from top to bottom."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_run(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("sample_models").symlink_to(ROOT / "sample_models")
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 5
