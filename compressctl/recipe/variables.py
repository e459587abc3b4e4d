"""Variables of a recipe file: the keys that define them, and `${name}` in its strings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from compressctl.errors import RecipeError, nearest
from compressctl.recipe.read import joined

NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_LONGEST = 1 << 16  # characters of a text with variables in the place of their names; paths have at most 4096
_FARTHEST = 100  # variables that each refer to the next
_REFERENCE = re.compile(rf"(?P<escaped>\$\$\{{)|\$\{{(?:(?P<name>{NAME})\}})?")

Scalar = str | int | float | bool | None
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]


class FileKeys(BaseModel):
    """What makes one recipe file stand for several runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    vars: dict[Name, Scalar | list[Any]] = {}
    """Values by name. `${name}` in any string of the file stands for one; a string that is nothing else takes the value
    with its type. `$${` is `${` itself. `--set name=value` gives another value."""
    sweep: dict[Name, Annotated[list[Scalar | list[Any]], Field(min_length=1)]] = {}
    """Values to try by name of a variable: one run for each combination. `output` must contain the variables."""


class Variables:
    """The variables of a recipe file, each put together from the others.

    Args:
        values: name -> scalar or list, in which `${name}` stands for another variable.
        fixed: names with values that are taken as they are; they win.
        origin: begins each error.

    Raises:
        RecipeError: a reference to a variable that there is not, or a cycle of references.
    """

    def __init__(self, values: Mapping[str, Any], fixed: Mapping[str, Any], origin: str) -> None:
        self._values, self._known, self._origin = values, dict(fixed), origin

    def check(self) -> None:
        """Put every variable together, also those that nothing refers to."""
        for name in self._values:
            self._value(name, f"vars.{name}", ())

    def fill(self, value: Any, where: str = "") -> Any:
        """Return `value` with variables in place of their names; `where` is its path in the recipe."""
        return self._fill(value, where, ())

    def _fill(self, value: Any, where: str, names: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self._fill(item, joined(where, str(key)), names) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item, joined(where, index), names) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole is not None and whole["name"]:
            return self._value(whole["name"], where, names)
        length = 0

        def text(found: re.Match[str]) -> str:
            nonlocal length
            part = self._text(found, value, where, names)
            length += len(part)
            if length > _LONGEST:
                raise RecipeError(f"{self._origin}: {where}: longer than {_LONGEST:,} characters", "variables multiply")
            return part

        return _REFERENCE.sub(text, value)

    def _text(self, found: re.Match[str], text: str, where: str, names: tuple[str, ...]) -> str:
        if found["escaped"]:
            return "${"
        if not found["name"]:
            hint = "a name has letters, digits, _ and -; write $${ for ${ itself"
            raise RecipeError(f"{self._origin}: {where}: {text!r}: no name between ${{ and }}", hint)
        value = self._value(found["name"], where, names)
        if isinstance(value, list):
            hint = f"a list takes the place of a whole value, '${{{found['name']}}}'"
            raise RecipeError(f"{self._origin}: {where}: {text!r}: {found['name']} is a list", hint)
        return value if isinstance(value, str) else json.dumps(value, default=str)

    def _value(self, name: str, where: str, names: tuple[str, ...]) -> Any:
        """Return the value of a variable that `names`, each by the next, refer to."""
        if name in names:
            cycle = " -> ".join([*names[names.index(name) :], name])
            raise RecipeError(f"{self._origin}: vars.{name}: a cycle: {cycle}", "give one of them a value of its own")
        if len(names) > _FARTHEST:
            raise RecipeError(f"{self._origin}: vars.{name}: more than {_FARTHEST} variables refer to each other")
        if name not in self._known:
            if name not in self._values:
                hint = nearest(name, [*self._values, *self._known]) or "add it to vars; write $${ for ${ itself"
                raise RecipeError(f"{self._origin}: {where}: there is no variable {name!r}", hint)
            self._known[name] = self._fill(self._values[name], f"vars.{name}", (*names, name))
        return self._known[name]
