"""What GPTQ starts from in a layer: the weight as it is, or the one that also makes up for errors that reach the layer.

Layers whose rows are patches of images, or one a sample, get the weight and bias of least squared error to what they
gave in the original model. Where rows are the tokens of sequences, weights and biases stay, as in the paper: such a
layer sees just the sentences that happen to be calibrated on, and fitted to these, sentences of another kind suffer
more than rounding itself costs (2-bit MiniLM, 128 short captions: Spearman of longer texts 0.55 against 0.80 without).
"""

from __future__ import annotations

import numpy as np

from compressctl.arrays import Floats
from compressctl.layers.layerwise import Fit, Pair
from compressctl.layers.linear import LinearLayer
from compressctl.model.ops import CONVOLUTIONS
from compressctl.numerics.obs import refit


def paired(old: LinearLayer, new: LinearLayer) -> Pair:
    """Return the pair that `fit_layers` takes, of a layer that keeps all its outputs."""
    return Pair(old, new, np.arange(new.shape[0] * new.shape[1]), bias=_fits(new))


def start(layer: LinearLayer, fit: Fit, damping: float) -> Floats:
    """Return the weight [outputs, inputs] to round."""
    return refit(fit.target, fit.moments, fit.weight, damping=damping) if _fits(layer) else fit.weight


def _fits(layer: LinearLayer) -> bool:
    shape = layer.input.shape
    return layer.node.op_type in CONVOLUTIONS or (shape is not None and len(shape) <= 2)
