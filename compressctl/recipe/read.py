"""The YAML of a recipe file -> a mapping, finite and without surprises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressctl.errors import RecipeError
from compressctl.recipe.tree import children, joined

_MOST = 100_000  # values in a recipe with its aliases written out


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        RecipeError: the file cannot be read, is not YAML, gives a key twice, or has an alias that contains itself.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys", "see `compressctl schema`")
    _check(content, str(path))
    return content


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML; `origin` begins each error.

    Raises:
        RecipeError: it is not YAML, is nested too deeply, or gives a key twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2 wants the keys of a mapping to differ; PyYAML takes the last."""

    def mapping(loader: Loader, node: yaml.MappingNode) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)
        return (yield from loader.construct_yaml_map(node))

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark else origin
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise RecipeError(f"{where}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise RecipeError(f"{origin}: nested too deeply") from error


def _check(content: Any, origin: str) -> None:
    """Walk through all values, depth first, as far as they are finite and not far too many."""
    pending: list[tuple[str, Any, dict[int, str]]] = [("", content, {})]
    count = 0
    while pending:
        path, value, around = pending.pop()
        count += 1
        if count > _MOST:
            raise RecipeError(f"{origin}: more than {_MOST} values", "aliases of aliases multiply")
        if id(value) in around:
            start = around[id(value)]
            raise RecipeError(f"{origin}: {path}: an alias contains itself", f"a cycle: {start} -> {path} -> {start}")
        inner = {**around, id(value): path or "the recipe"}
        pending += [(joined(path, part), item, inner) for part, item in children(value)]
