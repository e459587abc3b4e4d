"""Layers that calibration samples tell nothing of: an expert that none chose, a gate that stayed shut, an empty slice.

What is fitted to samples goes by the weights alone there, as it does without samples. And layers that do get rows, but
other ones in a changed model than in the original.
"""

from __future__ import annotations

import onnx_ir as ir

from compressctl.model.graph import is_plain_constant, reads
from compressctl.model.ops import PICKING, SCATTERS
from compressctl.model.tensors import FLOATS
from compressctl.notes import Note, warning

REASON = "no calibration sample reaches it, unless with zeros"


def unseen(name: str, instead: str) -> Note:
    """Return the warning that a layer is treated as without samples; `instead` says what was done."""
    return warning(f"{REASON}: {instead}, as without samples; add samples that reach it", name)


def picked(graph: ir.Graph) -> set[ir.Value]:
    """Return the values of a graph whose rows are picked by what weights gave, such as the tokens sent to an expert.

    With other weights other rows may be picked; row i is then not the row i of the original any more.
    """
    weighed, found = set[ir.Value](), set[ir.Value]()
    for node in graph:
        sources = set(reads(node))
        if sources & weighed or any(_is_matrix(value) for value in sources):
            weighed.update(node.outputs)
        moved = {node.inputs[0]} & found if node.op_type in SCATTERS else sources & found
        if moved or (node.op_type in PICKING and sources & weighed):
            found.update(node.outputs)
    return found


def _is_matrix(value: ir.Value) -> bool:
    """Whether it is a constant that a pass may change: a weight, or a table of embeddings."""
    tensor = ir.convenience.get_const_tensor(value) if is_plain_constant(value) else None
    return tensor is not None and len(tensor.shape) > 1 and tensor.dtype in FLOATS
