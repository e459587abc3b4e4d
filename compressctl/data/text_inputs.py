"""Which inputs of a model take what a tokenizer makes of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array
from compressctl.data.source import Feeds
from compressctl.errors import DataError
from compressctl.tensorspec import TensorSpec

TAKES = "input_ids, attention_mask, token_type_ids and position_ids"


@dataclass(frozen=True)
class TextInputs:
    """The names of the inputs, by what they take.

    Attributes:
        ids: token ids.
        mask: 1 where there is a token, 0 where there is padding; None: the model has no such input, and so on.
        types: 0 in the first text of a pair, 1 in the second.
        positions: 0, 1, …, from the first token that is no padding.
        length: of all sequences, where it is fixed.
    """

    ids: str
    mask: str | None = None
    types: str | None = None
    positions: str | None = None
    length: int | None = None

    def feeds(self, ids: Array, mask: Array, types: Array | None) -> Feeds:
        """Return what the model is fed for token ids [N, L], a mask, and types where there are any."""
        feeds = {self.ids: ids}
        if self.mask is not None:
            feeds[self.mask] = mask
        if self.types is not None:
            feeds[self.types] = np.zeros_like(ids) if types is None else types
        if self.positions is not None:
            feeds[self.positions] = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
        return feeds


def text_inputs(asked: Sequence[TensorSpec], notation: str) -> TextInputs:
    """Tell by their names what the inputs that data must have take.

    Raises:
        DataError: texts do not feed all of them.
    """
    found: dict[str, list[TensorSpec]] = {}
    for spec in asked:
        found.setdefault(_role(spec), []).append(spec)
    odd = [spec for spec in asked if len(spec.shape) != 2] or next((f for f in found.values() if len(f) > 1), [])
    if odd or "ids" not in found or not _integer(found["ids"][0]):
        names = ", ".join(map(str, odd or asked))
        raise DataError(f"{notation}: texts feed {TAKES}, [N, L] each, but the model has {names}")
    lengths = {spec.shape[1] for spec in asked if isinstance(spec.shape[1], int)}
    if len(lengths) > 1:
        raise DataError(f"{notation}: the inputs have several lengths: {', '.join(map(str, asked))}")
    names_of = {role: specs[0].name for role, specs in found.items()}
    return TextInputs(**names_of, length=lengths.pop() if lengths else None)


def _role(spec: TensorSpec) -> str:
    name = spec.name.lower()
    words = {"mask": "mask", "type": "types", "segment": "types", "position": "positions", "pos_id": "positions"}
    return next((role for word, role in words.items() if word in name), "ids")


def _integer(spec: TensorSpec) -> bool:
    return spec.dtype.startswith(("int", "uint"))
