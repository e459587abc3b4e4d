"""Which layers a pass may touch, as the user said: globs of names, and types of operators. Cheap to import."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from compressctl.errors import UsageError

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Selection:
    """Which nodes may be touched; by default, all.

    Attributes:
        include: globs of which a name must match one, where there are any.
        exclude: globs of which a name must match none.
        include_op: operator types of which a node must have one, where there are any.
        exclude_op: operator types of which a node must have none.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_op: tuple[str, ...] = ()
    exclude_op: tuple[str, ...] = ()

    def allows(self, *nodes: ir.Node) -> bool:
        """Whether what these nodes share may be touched: one is included, and none is excluded."""
        operators = {node.op_type for node in nodes}
        return (
            self.allows_names([node.name or "" for node in nodes])
            and (not self.include_op or not operators.isdisjoint(self.include_op))
            and operators.isdisjoint(self.exclude_op)
        )

    def allows_names(self, names: Collection[str]) -> bool:
        """The same of nodes of these names, whatever their operators."""
        return (not self.include or matches(self.include, names)) and not matches(self.exclude, names)

    def check(self, graph: ir.Graph) -> None:
        """Refuse globs and operator types that match nothing: they are typing errors.

        Raises:
            UsageError: names the first that matches nothing.
        """
        check_globs(graph, include=self.include, exclude=self.exclude)
        operators = {node.op_type for node in graph.all_nodes()}
        for key, given in (("include_op", self.include_op), ("exclude_op", self.exclude_op)):
            for operator in given:
                if operator not in operators:
                    hint = f"the model has {', '.join(sorted(operators))}"
                    raise UsageError(f"{key} {operator!r} matches no node", hint)


def check_globs(graph: ir.Graph, **options: Iterable[str]) -> None:
    """Refuse globs, by the option that they were given for, that match the name of no node of `graph`.

    Raises:
        UsageError: names the first.
    """
    names = [node.name or "" for node in graph.all_nodes()]
    for key, globs in options.items():
        for glob in globs:
            if not matches([glob], names):
                raise UsageError(f"{key} {glob!r} matches no node", "list the names with `compressctl inspect`")


def matches(globs: Iterable[str], names: Collection[str]) -> bool:
    """Whether one of the names matches one of the globs."""
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
