"""The YAML of a recipe file -> a mapping, finite and without surprises.

Values are those of JSON: a date without quotes is text, as in YAML 1.2. `joined` names places in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from compressctl.errors import RecipeError

_MOST = 100_000  # values in a recipe with its aliases written out
_LONGEST = 1 << 20  # bytes of a file: 100,000 values fit
_DEEPEST = 100  # mappings and lists around a value; a recipe needs five
_SCALARS = (str, int, float, bool, type(None))
_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # what PyYAML raises where a tag lies


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        RecipeError: the file cannot be read, is not YAML, gives a key twice, or has an alias that contains itself.
    """
    try:
        with path.open("rb") as file:
            read = file.read(_LONGEST + 1)
        if len(read) > _LONGEST:
            raise RecipeError(f"{path}: longer than {_LONGEST:,} bytes", "this is no recipe")
        content = parse_yaml(read.decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys", "see `compressctl schema`")
    return content


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML; `origin` begins each error.

    Raises:
        RecipeError: it is not YAML, is nested too deeply, gives a key twice, has an alias that contains itself, or a
            value that JSON does not have.
    """

    class Loader(yaml.SafeLoader):
        """YAML 1.2 wants the keys of a mapping to differ; PyYAML takes the last."""

        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            """Construct what `node` stands for; tags that do not fit are errors of YAML."""
            try:
                return super().construct_object(node, deep)
            except _FAULTS as error:
                problem = f"no {node.tag.rpartition(':')[2]} can be read here"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

        def flatten_mapping(self, node: Any) -> None:
            """Merge other mappings into `node`, unless they multiply."""
            super().flatten_mapping(node)
            if len(node.value) > _MOST:
                problem = f"more than {_MOST} values are merged"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

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
        content = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark else origin
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise RecipeError(f"{where}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise RecipeError(f"{origin}: nested too deeply") from error
    check_values(content, origin)
    return content


def check_values(content: Any, origin: str) -> None:
    """Walk through all values, depth first, as far as they are finite and not far too many.

    Raises:
        RecipeError: they are not, or one is none that JSON has and a path or a number can be made of.
    """
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
        if len(around) > _DEEPEST:
            raise RecipeError(f"{origin}: nested too deeply")
        if fault := _fault(value):
            raise RecipeError(f"{origin}: {path or 'the value'}: {fault}")
        if isinstance(value, _SCALARS):
            continue
        inner = {**around, id(value): path or "the recipe"}
        pending += [(joined(path, part), item, inner) for part, item in children(value)]


def _fault(value: Any) -> str | None:
    """Return why no recipe can hold the value, or one of a mapping's keys; None where one can."""
    if isinstance(value, dict):
        return next((fault for key in value if (fault := _fault(key))), None)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a number of more than 64 bits"
    if isinstance(value, str) and not (value.isascii() or _encodes(value)):
        return f"{value!r} has a character that is none"
    if isinstance(value, str) and "\0" in value:
        return f"{value!r} has a character 0"
    return None if isinstance(value, (*_SCALARS, list)) else f"a {type(value).__name__} is of no use here"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def children(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the keys or indices of a mapping or list, each with what stands there; nothing for a scalar."""
    if isinstance(value, dict):
        yield from ((key if isinstance(key, int) else str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        yield from enumerate(value)


def joined(path: str, part: str | int) -> str:
    """Return `path` with one more key or index, as errors name it: passes[1].epochs."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part
