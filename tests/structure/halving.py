"""What the tests of structure share: halve the groups of a model, and compare the cut with the masked model."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from compressctl.structure.cut import cut
from compressctl.structure.groups import find_groups
from compressctl.structure.masked import masked
from compressctl.structure.shapes import Shapes
from tests import graphs

EXACT = ("channel", "neuron", "head")


def run(model, feeds):
    """Run a model in onnxruntime without its optimisations, on each of the feeds."""
    proto = ir.to_proto(model)
    return [graphs.run(proto, each) for each in feeds]


def half(groups, kinds=EXACT, seed=0):
    """Choose half of the units of each group, at random, among those that may go."""
    rng = np.random.default_rng(seed)
    removed = {}
    for group in groups:
        free = np.flatnonzero(~group.fixed)
        number = min(group.size // 2, len(free) - (len(free) == group.size))
        if group.kind in kinds and number:
            removed[group.name] = np.sort(rng.permutation(free)[:number])
    return removed


def shrunk(model, groups, removed, shapes=None):
    """Cut a clone, which must pass onnx's checker."""
    small = model.clone()
    cut(small, groups, removed, shapes)
    onnx.checker.check_model(ir.to_proto(small))
    return small


def error(model, groups, removed, feeds, shapes=None):
    """Return the largest difference of cut and masked outputs, over the largest masked output (or 0.01)."""
    expected = run(masked(model, groups, removed, shapes), feeds)
    found = run(shrunk(model, groups, removed, shapes), feeds)
    worst = 0.0
    for many, others in zip(expected, found, strict=True):
        for one, other in zip(many, others, strict=True):
            assert one.shape == other.shape and one.dtype == other.dtype
            assert not one.size or np.isfinite(one.astype(float)).all()
            scale = max(1e-2, float(np.abs(one.astype(float)).max(initial=0)))
            worst = max(worst, float(np.abs(one.astype(float) - other.astype(float)).max(initial=0)) / scale)
    return worst


def halved(model, feeds, kinds=EXACT, seed=0):
    """Halve all groups of the kinds and compare; return (groups, units removed by group, error)."""
    shapes = Shapes(model)
    groups = find_groups(model, shapes)
    removed = half(groups, kinds, seed)
    return groups, removed, error(model, groups, removed, feeds, shapes)
