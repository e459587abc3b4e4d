"""What CONTRIBUTING.md tells to add is added to a copy of the code, to the letter, and works."""

import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import compressctl
from tests.commands import bash
from tests.samples import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"(?:^`(?P<file>\S+)`(?P<new>, new)?\n\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
LISTS = {
    "compressctl/cli/__init__.py": "commands",
    "compressctl/data/notation.py": "sources",
    "compressctl/measure/metrics/__init__.py": "metrics",
    "compressctl/model/ops.py": "operators",
    "compressctl/passes/__init__.py": "passes",
    "compressctl/passes/searched.py": "spaces",
    "compressctl/structure/rules/__init__.py": "rules",
}
_LISTED = re.compile(
    r'from \S+ import \w+|    ([\w.]+(\(\))?|pass_command\("\w+", "[^"]+"\)'
    r'|\("\S*", "\w+"\): [\w.]+|"\w+": "[\w.]+"|"\w+"|"\w+": Operands\([^"]+\)),'
)


@dataclass(frozen=True)
class Example:
    """A section that adds something.

    Attributes:
        title: of the section.
        edits: file -> the blocks that change it, each its lines with a sign; a new file is one of lines that are added.
        commands: to run.
        output: lines that they print among others, spaces and what `…` stands for aside.
    """

    title: str
    edits: dict[str, list[list[str]]]
    commands: str
    output: list[str]

    @property
    def files(self) -> set[str]:
        """The files of code that are touched, but for the lists."""
        return {file for file in self.edits if file.startswith("compressctl/") and file not in LISTS}

    @property
    def lists(self) -> set[str]:
        return {LISTS[file] for file in self.edits if file in LISTS}

    @property
    def tests(self) -> list[str]:
        return [file for file in self.edits if file.startswith("tests/")]


def example(section: str) -> Example:
    title, body = section.split("\n", 1)
    edits: dict[str, list[list[str]]] = {}
    commands, output, file = "", [], ""
    for found in _BLOCK.finditer(body):
        text, file = found["body"], found["file"] or file
        if found["language"] == "sh":
            commands += text
        elif found["language"] == "text":
            output += text.splitlines()
        else:
            assert (found["language"] == "python") == bool(found["new"]), f"{title}: {file}"
            lines = text.splitlines()
            edits.setdefault(file, []).append([f"+{line}" for line in lines] if found["new"] else lines)
    return Example(title, edits, commands, output)


EXAMPLES = {
    one.title: one for one in map(example, re.split(r"^### ", TEXT.partition("\n## How a release")[0], flags=re.M)[1:])
}
QUICK = ("A budget",)


def edit(path: Path, blocks: list[list[str]]) -> None:
    """Make changes, each at the one place where its lines stand."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for lines in blocks:
        assert all(line[:1] in "+- " for line in lines), f"{path}: {lines}"
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] != sign) for sign in "+-")
        assert text.count(before) == 1 if before else not text, f"{path} has not one place where this stands:\n{before}"
        text = text.replace(before, after, 1) if before else after
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def copy(folder: Path, *examples: Example) -> None:
    """Copy the code into a folder, compiled as it is, with these examples."""
    shutil.copytree(ROOT / "compressctl", folder / "compressctl")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "sample_models").symlink_to(ROOT / "sample_models")
    for one in examples:
        for file, blocks in one.edits.items():
            edit(folder / file, blocks)


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=() if title in QUICK else pytest.mark.long) for title in EXAMPLES]
)
def test_an_example_works(title, tmp_path):
    one = EXAMPLES[title]
    copy(tmp_path, one)
    tests = f"python -m pytest -p no:cacheprovider {' '.join(one.tests)}\n" if one.tests else ""
    printed = bash(
        tests + re.sub(r"^compressctl ", "python -m compressctl ", one.commands, flags=re.M),
        tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    parts = [part for line in one.output for part in line.split("…")]
    squeezed = "".join(printed.split())
    assert [part for part in parts if "".join(part.split()) not in squeezed] == [], printed
    assert tests or one.output


def test_all_examples_go_together_in_the_style_of_the_house(tmp_path):
    copy(tmp_path, *EXAMPLES.values())
    bash("ruff check --no-cache . && ruff format --no-cache --check .", tmp_path)


@pytest.mark.long
def test_their_types_and_imports_are_sound(tmp_path):
    copy(tmp_path, *EXAMPLES.values())
    if (kept := ROOT / ".mypy_cache").is_dir():  # of the lint before: what is the same need not be checked again
        shutil.copytree(kept, tmp_path / ".mypy_cache")
    bash("mypy && lint-imports --no-cache", tmp_path)


def test_an_example_touches_as_many_files_as_the_table_says():
    told = {}
    for name, files, lists in re.findall(r"^\| \[([^]]*)\]\(#\S*\)[^|]*\| (\d+) \|([^|]*)\|$", TEXT, re.M):
        told[name.capitalize()] = (int(files), {each.strip() for each in lists.split(",") if each.strip()})
    assert told == {title.capitalize(): (len(one.files), one.lists) for title, one in EXAMPLES.items()}


def test_lists_get_nothing_but_members():
    changed = [
        line[1:]
        for one in EXAMPLES.values()
        for file in one.edits.keys() & LISTS.keys()
        for block in one.edits[file]
        for line in block
        if line[0] in "+-"
    ]
    assert [line for line in changed if not _LISTED.fullmatch(line)] == []


def test_what_it_says_of_the_repository_is_so():
    make = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", TEXT):
        assert f"\n{target}:" in make, target
    files = [
        str(path.relative_to(ROOT))
        for folder in ("compressctl", "tests", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.*")
    ]
    files += [path.name for path in ROOT.iterdir()] + [file for one in EXAMPLES.values() for file in one.edits]
    for path in re.findall(r"[ `(]([\w/.-]+\.(?:md|py|toml|txt))\b", TEXT):
        assert any(f"/{file}".endswith(f"/{path}") for file in files), path
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == compressctl.__version__
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
