"""Options that several commands share, added to a command as a group."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def add_group(
    command: Callable[..., int], name: str, group: Callable[..., None], collect: Callable[[Mapping[str, Any]], Any]
) -> Callable[..., int]:
    """Return `command` with the parameters of `group` in place of its own parameter `name`.

    Args:
        command: a function whose parameters are command-line options.
        name: its keyword parameter that takes what `collect` makes of the group's arguments.
        group: a function whose parameters are the group's options.
        collect: argument name -> value, as given on the command line.
    """
    own, added = (inspect.signature(function, eval_str=True).parameters for function in (command, group))

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> int:
        return command(**{name: collect({key: arguments.pop(key) for key in added})}, **arguments)

    parameters = [*(parameter for key, parameter in own.items() if key != name), *added.values()]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    wrapper.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
