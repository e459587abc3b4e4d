"""Record the torch calls that a plan makes on inputs of one signature, as a `torch.fx` function.

What depends on nothing but shapes and constants is computed while recording and becomes a constant: shape arithmetic
costs nothing afterwards. The function calls the very torch functions that the plan called, in the same order.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from types import GetSetDescriptorType, MethodWrapperType
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

_PLAIN = (bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.Size, type(None))
_SHAPED_BY_VALUES = frozenset(
    (
        "nonzero",
        "masked_select",
        "unique",
        "unique_consecutive",
        "_unique2",
        "repeat_interleave",
        "argwhere",
        "bincount",
    )
)
_RANDOM = frozenset(("rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "bernoulli", "multinomial"))


class ValueDependent(Exception):  # noqa: N818 - not an error: the graph is interpreted instead
    """What runs next depends on the values of tensors, not only on their shapes."""


class Recorder(TorchFunctionMode):
    """While active, records every torch function that is called on a live tensor.

    Args:
        live: name -> tensor, which differ from call to call: inputs, weights, running statistics.
    """

    def __init__(self, live: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._root = torch.nn.Module()
        self._graph = fx.Graph()
        self._nodes: Any = WeakTensorKeyDictionary()  # tensor -> what recomputes it; keeps no tensor alive
        for index, tensor in enumerate(live.values()):
            self._remember(tensor, self._graph.placeholder(f"live_{index}"))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`; record the call where it is given a live tensor."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, Tensor)]
        live = any(tensor in self._nodes for tensor in given) or name in _RANDOM
        if not live:
            if any(tensor.requires_grad for tensor in given):
                raise ValueDependent(f"{name} meets a tensor of unknown origin")
            return func(*args, **kwargs)
        if (
            name in _SHAPED_BY_VALUES
            or (name == "__getitem__" and _masks(args[1]))
            or (name == "where" and len(args) == 1)
        ):
            raise ValueDependent(f"the shape that {name} gives depends on values")
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            raise ValueDependent(f"{name} writes in place")
        result = func(*args, **kwargs)
        leaves = tree_flatten(result)[0]
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if tensors:
            self._record(func, args, kwargs, result)
        elif name in ("tolist", "item", "__bool__", "__int__", "__float__", "__index__", "equal", "allclose") or any(
            not isinstance(leaf, _PLAIN) for leaf in leaves
        ):
            raise ValueDependent(f"{name} reads values")
        return result

    def finish(self, outputs: Iterable[Any]) -> fx.GraphModule:
        """Return the recorded function: live tensors in their order -> tuple of `outputs`."""
        self._graph.output(tuple(tree_map(self._argument, output) for output in outputs))
        self._graph.eliminate_dead_code()
        self._nodes.clear()
        return fx.GraphModule(self._root, self._graph)

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        arguments = tree_map(self._argument, (tuple(args), dict(kwargs)))
        if isinstance(func, MethodWrapperType):  # the getter of a property: Tensor.T.__get__
            owner: Any = func.__self__
            assert isinstance(owner, GetSetDescriptorType | property)
            attribute = owner.__name__ if isinstance(owner, GetSetDescriptorType) else owner.fget.__name__  # type: ignore[union-attr]
            node = self._graph.call_function(getattr, (arguments[0][0], attribute))
        else:
            node = self._graph.call_function(func, *arguments)
        self._remember_all(result, node)

    def _remember_all(self, result: Any, node: fx.Node) -> None:
        if isinstance(result, Tensor):
            self._remember(result, node)
        elif isinstance(result, tuple | list):
            for index, item in enumerate(result):
                if isinstance(item, Tensor | tuple | list):
                    self._remember_all(item, self._graph.call_function(operator.getitem, (node, index)))

    def _remember(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[tensor] = node

    def _argument(self, item: Any) -> Any:
        if not isinstance(item, Tensor):
            return tuple(item) if isinstance(item, torch.Size) else item
        if item not in self._nodes:
            name = f"constant_{len(self._root._buffers)}"
            self._root.register_buffer(name, item.detach(), persistent=False)
            self._remember(item, self._graph.get_attr(name))
        return self._nodes[item]


def _masks(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(item, Tensor) and item.dtype in (torch.bool, torch.uint8) for item in items)
