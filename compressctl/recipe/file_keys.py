"""The keys of a recipe file that are resolved before there is a recipe."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from compressctl.recipe.variables import NAME

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
