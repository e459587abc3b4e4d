"""No module imports one that imports it, directly or through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "compressctl"


@pytest.mark.parametrize("in_functions", [False, True])
def test_no_circle_of_imports(in_functions):
    check(package(), in_functions=in_functions)


@pytest.mark.parametrize("c", ["import a", "from a import f", "from p import a as one", "def f():\n    import a"])
def test_a_circle_is_found(c):
    modules = {"a": "from p import b", "p.b": "class B:\n    import c", "c": c, "p": "", "p.a": "import a"}
    trees = {name: ast.parse(text) for name, text in modules.items()}
    with pytest.raises(CycleError):
        check(trees, in_functions=True)


def package() -> dict[str, ast.Module]:
    """Return the modules of the package by name, `__init__` under that of its folder."""
    parts = {path: path.relative_to(ROOT.parent).with_suffix("").parts for path in ROOT.rglob("*.py")}
    return {".".join(name).removesuffix(".__init__"): ast.parse(path.read_text()) for path, name in parts.items()}


def check(modules: Mapping[str, ast.Module], *, in_functions: bool) -> None:
    """Raise CycleError where modules import each other in a circle."""
    needs = {}
    for name, tree in modules.items():
        found = [[name for name in names if name in modules] for names in imports(tree, in_functions=in_functions)]
        needs[name] = {names[-1] for names in found if names}
        if in_functions and name.startswith("compressctl.passes."):
            needs[name].discard(f"{name}.run")  # the options of a pass import its work as it runs
    TopologicalSorter(needs).prepare()


def imports(tree: ast.AST, *, in_functions: bool) -> Iterator[list[str]]:
    """Yield what a module imports, though not for types alone: a folder, perhaps, and the module in it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ([name.name] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ([str(node.module), f"{node.module}.{name.name}"] for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports(ast.Module(node.orelse, []), in_functions=in_functions)
        elif in_functions or not isinstance(node, ast.FunctionDef):
            yield from imports(node, in_functions=in_functions)
