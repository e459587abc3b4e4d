"""What the code in a TorchScript file may do: compute, and nothing else.

A TorchScript file is a program. Some of its operators write or map files, send to other machines or call Python; the
whole program is looked through for them before any of it runs. Loading alone runs only `__setstate__` of its classes
(torch/csrc/jit/serialization/import.cpp), so files that have one are not loaded at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from compressctl.errors import ModelError

# Of all schemas that torch registers (`torch._C._jit_get_all_schemas()`), the namespaces whose operators compute, and
# those operators in them that do more. Others, such as c10d and symm_mem, and what extensions bring, are refused whole.
_COMPUTING = ("aten", "prim", "quantized")
_FORBIDDEN = {
    "aten::save": "writes files",
    "aten::from_file": "reads and writes files",
    "prim::rpc_async": "calls other machines",
    "prim::rpc_sync": "calls other machines",
    "prim::rpc_remote": "calls other machines",
    "prim::PythonOp": "calls Python",
    "prim::IgnoredPythonOp": "calls Python",
}
_HINT = "export the model to ONNX from Python, where you trust it"
_RUN_AT_LOAD = b"__setstate__"
_NATIVE = "torch.classes"  # classes in C++, whose methods may do anything


def load_trusted(path: Path) -> torch.jit.ScriptModule:
    """Load a TorchScript file onto the CPU, after a look through all of its code, none of which has run.

    Raises:
        ModelError: the code does more than compute; names the operator and the function that calls it.
        RuntimeError, ValueError, OSError: torch cannot read the file.
    """
    _refuse_code_at_load(path)
    program = torch._C.CompilationUnit()
    module = torch._C.import_ir_module(program, str(path), torch.device("cpu"), {}, False)  # type: ignore[call-arg]
    for name, graph in _functions(program):
        for node in _every_node(graph):
            _refuse(node, name, path)
    script: torch.jit.ScriptModule = torch.jit._recursive.wrap_cpp_module(module)  # type: ignore[no-untyped-call]
    return script


def _refuse_code_at_load(path: Path) -> None:
    """Read what will be loaded through the same reader as torch, so that both see the same members of the archive."""
    reader = torch._C.PyTorchFileReader(str(path))
    for name in reader.get_all_records():
        suffix = Path(name.lower()).suffix  # torch finds members whatever their case
        if suffix == ".py" and _RUN_AT_LOAD in reader.get_record(name):
            raise ModelError(f"{path}: {name} has a __setstate__, which would run while the file is loaded", _HINT)
        if suffix == ".pkl" and _NATIVE.encode() in reader.get_record(name):
            raise ModelError(f"{path}: {name} holds an object of {_NATIVE}, which runs while the file is loaded", _HINT)


def _functions(program: Any) -> Iterator[tuple[str, Any]]:
    """Yield every function of a program with its graph; compiling one may bring in others."""
    seen: set[str] = set()
    while new := [function for function in program.get_functions() if function.qualified_name not in seen]:
        for function in new:
            seen.add(function.qualified_name)
            yield function.qualified_name, function.graph


def _every_node(block: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, of its blocks, and of the graphs that nodes hold as attributes (`fork`)."""
    for node in block.nodes():
        yield node
        inner = [node.g(name) for name in node.attributeNames() if node.kindOf(name) == "g"]
        for one in (*node.blocks(), *inner):
            yield from _every_node(one)


def _refuse(node: Any, function: str, path: Path) -> None:
    kind = node.kind()
    where = f"{path}: its code ({function.removeprefix('__torch__.')})"
    if (does := _FORBIDDEN.get(kind)) is not None:
        raise ModelError(f"{where} calls {kind}, which {does}", _HINT)
    if kind.partition("::")[0] not in _COMPUTING:
        raise ModelError(f"{where} calls {kind}, and nothing is known of that namespace", _HINT)
    if any(_NATIVE in str(value.type()) for value in node.outputs()):
        raise ModelError(f"{where} uses a class of {_NATIVE}, of which nothing is known", _HINT)
