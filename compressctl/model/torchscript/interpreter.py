"""Run a TorchScript graph operator by operator, so that torch.export can trace it as if it were Python.

`torch.export` rejects a ScriptModule. Its inlined graph, though, is a plain list of ATen operators between a few `prim`
nodes: attributes, constants, containers, If and Loop. Values are tensors, and Python's (or torch's symbolic) numbers,
strings, lists and dicts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from typing import Any

import torch

from compressctl.errors import ModelError
from compressctl.model.torchscript import attention, spectra

_PLAIN: dict[str, Callable[..., Any]] = {  # on numbers, strings and lists; ATen computes where one is a tensor
    "aten::add": lambda a, b, alpha=1: a + b if alpha == 1 else a + alpha * b,
    "aten::sub": lambda a, b, alpha=1: a - alpha * b,
    "aten::rsub": lambda a, b, alpha=1: b - alpha * a,
    "aten::mul": operator.mul,
    "aten::div": lambda a, b, rounding=None: a / b if rounding is None else a // b,  # sizes: floor is truncation
    "aten::floordiv": operator.floordiv,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::pow": operator.pow,
    "aten::neg": operator.neg,
    "aten::abs": abs,
    "prim::abs": abs,
    "aten::sqrt": lambda a: a**0.5,
    "aten::floor": math.floor,
    "aten::ceil": math.ceil,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__xor__": operator.xor,
    "aten::__not__": operator.not_,
    "aten::to": lambda number, *_: number,
    "aten::slice": lambda items, start, end, step: items[start:end:step],
    "aten::any": any,
    "aten::all": all,
    "prim::min": min,
    "prim::max": max,
}

_PYTHON: dict[str, Callable[..., Any]] = {
    "prim::ListConstruct": lambda *items: list(items),
    "prim::TupleConstruct": lambda *items: items,
    "prim::TupleIndex": operator.getitem,
    "prim::TupleSlice": lambda items, start, end: items[start:end],
    "prim::DictConstruct": lambda *items: dict(zip(items[::2], items[1::2], strict=True)),
    "prim::unchecked_cast": lambda value: value,
    "prim::unchecked_unwrap_optional": lambda value: value,
    "aten::_unwrap_optional": lambda value: value,
    "prim::NumToTensor": lambda number: number,
    "prim::data": lambda tensor: tensor,
    "prim::Uninitialized": lambda: None,
    "prim::is_cuda": lambda tensor: False,
    "prim::is_nested": lambda tensor: False,
    "prim::device": lambda tensor: tensor.device,
    "prim::type": lambda device: device.type,
    "aten::is_autocast_enabled": lambda: False,
    "aten::is_grad_enabled": lambda: True,  # so that attention does not take its fused path, which ONNX cannot express
    "prim::requires_grad": lambda tensor: True,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__getitem__": operator.getitem,
    "aten::__contains__": operator.contains,
    "aten::_set_item": operator.setitem,
    "aten::append": list.append,
    "aten::extend": list.extend,
    "aten::insert": list.insert,
    "aten::pop": lambda items, *place: items.pop(*place),
    "aten::list": list,
    "aten::copy": lambda items: items.copy(),
    "aten::keys": list,
    "aten::values": lambda items: list(items.values()),
    "aten::items": lambda items: list(items.items()),
    "aten::get": lambda items, key, default=None: items.get(key, default),
    "aten::len": lambda items: len(items) if isinstance(items, (list, tuple, dict, str)) else items.shape[0],
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::size": lambda tensor, axis=None: list(tensor.shape) if axis is None else tensor.shape[axis],
    "aten::__range_length": lambda start, stop, step: len(range(start, stop, step)),
    "aten::__derive_index": lambda index, start, step: start + index * step,
    "aten::format": lambda text, *values: text.format(*values),
    "aten::tensor": lambda data, dtype, *_: torch.tensor(data, dtype=_ENUMERATIONS["ScalarType"].get(dtype)),
    "aten::warn": lambda *message: None,
}

# What TorchScript's numbers stand for (c10/core: ScalarType.h, MemoryFormat.h, Layout.h).
_ENUMERATIONS: dict[str, dict[int, Any]] = {
    "ScalarType": {
        **dict(enumerate((torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64))),
        **dict(enumerate((torch.float16, torch.float32, torch.float64), 5)),
        **dict(enumerate((torch.complex32, torch.complex64, torch.complex128, torch.bool), 8)),
        15: torch.bfloat16,
    },
    "MemoryFormat": dict(
        enumerate((torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d))
    ),
    "Layout": {0: torch.strided},
}
_DTYPE_NUMBERS = {dtype: number for number, dtype in _ENUMERATIONS["ScalarType"].items()}

_DRAWS = "rand rand_like randn randn_like randint randint_like randperm normal normal_ uniform_ bernoulli multinomial"
_RANDOM = {f"aten::{name}" for name in _DRAWS.split()}

_TO_NUMBER = {"aten::Int", "aten::Float", "aten::Bool", "aten::IntImplicit", "aten::FloatImplicit", "aten::item"}


def _convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Return a convolution as the operator to which torch.onnx adds no bias of zeros; None where it does not fit."""
    if isinstance(padding, str) or x.dim() != weight.dim():
        return None
    return torch.ops.aten.convolution.default(x, weight, bias, stride, padding, dilation, False, [0], groups)


def _attention(
    query: Any, key: Any, value: Any, mask: Any, dropout: float, causal: bool, scale: Any, grouped: bool
) -> Any:
    plain = mask is None and not causal and not grouped and dropout == 0
    return attention.scaled_dot_product(query, key, value, scale) if plain else None


_REPLACED: dict[str, Callable[..., Any]] = {  # what gives None runs as it is
    "aten::conv1d": _convolution,
    "aten::conv2d": _convolution,
    "aten::conv3d": _convolution,
    "aten::_convolution": lambda *arguments: torch.ops.aten.convolution.default(
        *arguments[:9]
    ),  # the rest is for cuDNN
    "aten::scaled_dot_product_attention": _attention,
    "aten::_native_multi_head_attention": attention.multi_head,
    "aten::_transformer_encoder_layer_fwd": attention.encoder_layer,
}


def all_nodes(block: Any) -> Iterator[Any]:
    """Yield every node of a TorchScript graph, those inside If and Loop included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from all_nodes(inner)


class Interpreter:
    """Evaluates the inlined graph of a ScriptModule.

    Args:
        script: the module.
        tensor: returns the tensor to use for a tensor attribute of `script`, such as a parameter of the caller's own.
    """

    def __init__(self, script: torch.jit.ScriptModule, tensor: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._script, self._tensor = script, tensor
        self._graph = script.inlined_graph
        self._attributes: dict[str, Any] = {}
        tensors = chain(script.named_parameters(), script.named_buffers())
        self._parted = {tensor.data_ptr(): spectra.parted(tensor) for _, tensor in tensors if tensor.is_complex()}
        self._constants: dict[str, Any] = {}
        self._numbers: dict[int, Any] = {}  # id of a constant tensor without dimensions -> its number
        for node in all_nodes(self._graph):
            if node.kind() == "prim::Constant":
                value = node.output().toIValue()
                # Traces hold the device they were made on; the model is on the CPU now.
                value = torch.device("cpu") if isinstance(value, torch.device) else value
                self._constants[node.output().debugName()] = spectra.parted(value)
                if isinstance(value, torch.Tensor) and value.dim() == 0:
                    self._numbers[id(value)] = value.item()

    def run(self, inputs: Sequence[Any], attributes: dict[str, Any] | None = None) -> Any:
        """Return what forward returns for all its arguments, defaults included.

        Args:
            inputs: the arguments.
            attributes: by path, what takes the place of attributes of the module; forward's assignments are added.

        Raises:
            NotImplementedError: an operator that is not known here; the message names it.
            ModelError: forward draws random numbers.
        """
        self._attributes = {} if attributes is None else attributes
        own, *names = [value.debugName() for value in self._graph.inputs()]
        values = {**self._constants, own: "", **dict(zip(names, inputs, strict=True))}
        return self._block(self._graph, values)[0]

    def _block(self, block: Any, values: dict[str, Any]) -> list[Any]:
        for node in block.nodes():
            if node.kind() == "prim::Constant":
                continue
            results = self._node(node, [values[value.debugName()] for value in node.inputs()], values)
            values.update(zip((value.debugName() for value in node.outputs()), results, strict=True))
        return [values[value.debugName()] for value in block.outputs()]

    def _node(self, node: Any, arguments: list[Any], values: dict[str, Any]) -> Sequence[Any]:
        kind = node.kind()
        if kind == "prim::GetAttr":
            return [self._attribute(arguments[0], node)]
        if kind == "prim::SetAttr":
            self._attributes[f"{arguments[0]}.{node.s('name')}".lstrip(".")] = arguments[1]
            return []
        if kind == "prim::If":
            then, otherwise = node.blocks()
            return self._block(then if arguments[0] else otherwise, values)
        if kind == "prim::Loop":
            return self._loop(node, arguments, values)
        if kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            return list(arguments[0])
        result = self._call(node, arguments)
        outputs = node.outputsSize()
        return [result] if outputs == 1 else result if outputs else []

    def _loop(self, node: Any, arguments: list[Any], values: dict[str, Any]) -> list[Any]:
        (body,) = node.blocks()
        index, *carried = [value.debugName() for value in body.inputs()]
        limit, proceed, *state = arguments
        for step in count():
            if not proceed or step >= limit:
                break
            values.update({index: step, **dict(zip(carried, state, strict=True))})
            proceed, *state = self._block(body, values)
        return state

    def _attribute(self, path: str, node: Any) -> Any:
        path = f"{path}.{node.s('name')}".lstrip(".")
        if node.output().type().kind() in ("ClassType", "InterfaceType"):
            return path
        if path in self._attributes:
            return self._attributes[path]
        return self._own(operator.attrgetter(path)(self._script))

    def _own(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._parted.get(value.data_ptr()) or self._tensor(value)
        return [self._own(item) for item in value] if isinstance(value, list) else value

    def _call(self, node: Any, arguments: list[Any]) -> Any:
        kind = node.kind()
        if kind in _PYTHON:
            return _PYTHON[kind](*arguments)
        if spectra.concerns(kind, arguments):
            schema = node.schema()
            return spectra.compute(kind, arguments, lambda parts: self._dispatch(schema, kind, parts))
        plain = [self._numbers.get(id(value), value) for value in arguments]
        if kind in _PLAIN and not any(isinstance(value, torch.Tensor) for value in plain):
            return _PLAIN[kind](*plain)
        if kind in _TO_NUMBER:
            number = plain[0].item() if isinstance(plain[0], torch.Tensor) else plain[0]
            cast = {"aten::Int": torch.sym_int, "aten::Float": torch.sym_float}.get(kind)
            return cast(number) if cast else number  # type: ignore[no-untyped-call]
        if kind == "prim::dtype":
            return _DTYPE_NUMBERS[arguments[0].dtype]
        if kind in _REPLACED and (result := _REPLACED[kind](*arguments)) is not None:
            return result
        if kind in _RANDOM:
            raise ModelError(f"forward draws random numbers ({kind}): no two runs agree", "hand them over as an input")
        if kind == "prim::RaiseException":
            raise ValueError(f"forward raises {arguments[0]!r}")
        return self._dispatch(node.schema(), kind, arguments)

    def _dispatch(self, schema: str, kind: str, arguments: list[Any]) -> Any:
        """Call the ATen operator that `schema` declares, for example aten::add.Tensor(Tensor self, …) -> Tensor."""
        if not kind.startswith("aten::") or not schema.startswith("aten::"):
            raise NotImplementedError(f"operator {kind} is not supported")
        name, _, overload = schema.partition("(")[0].removeprefix("aten::").partition(".")
        function = getattr(getattr(torch.ops.aten, name), overload or "default")
        positional, named = [], {}
        for declared, value in zip(function._schema.arguments, arguments, strict=True):
            if declared.kwarg_only:
                named[declared.name] = self._converted(declared, value)
            else:
                positional.append(self._converted(declared, value))
        return function(*positional, **named)

    def _converted(self, declared: Any, value: Any) -> Any:
        kind = str(declared.real_type).removeprefix("Optional[").removesuffix("]")
        if kind in _ENUMERATIONS and value is not None:
            return _ENUMERATIONS[kind].get(value, value)
        if kind == "Tensor" and isinstance(value, (int, float, torch.SymInt, torch.SymFloat)):
            # A traced size: a number here, a tensor without dimensions in TorchScript.
            dtype = {bool: torch.bool, int: torch.int64, torch.SymInt: torch.int64}.get(type(value), torch.float32)
            return torch.scalar_tensor(value, dtype=dtype)  # type: ignore[arg-type]
        return value
