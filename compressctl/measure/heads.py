"""What detectors give, decoded: each head is a form that outputs have, and turns them into boxes, scores and classes.

Thresholds are those with which Ultralytics judges: scores above .001, overlaps up to .7 within a class, and at most 300
boxes an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.boxes import Frame
from compressctl.numerics.boxes import corners, suppress

MOST = 300
"""Boxes of an image that are kept."""

_SCORE, _OVERLAP, _CANDIDATES = 0.001, 0.7, 30_000

Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Found:
    """Detections in one image.

    Attributes:
        boxes: [M, 4], corners in pixels of the image as it came.
        scores: float32 [M].
        classes: [M].
    """

    boxes: Floats
    scores: Array
    classes: Integers


@dataclass(frozen=True)
class Head:
    """A form of outputs.

    Attributes:
        wanted: what they are, for error messages.
        pick: names the outputs among all, or returns None where they are not there.
        fits: whether shapes of the picked outputs, in their order, are of this form.
        decode: picked outputs of one image (without the batch) -> boxes, scores, classes.
        unit: what boxes are measured in: "pixels" of the input, or shares of the "input" or of the "content", which is
            the image in it.
        clipped: whether boxes are cut at the edges of the image.
        classes: how many classes the outputs can name; None where that is open.
        background: class 0 is that of nothing.
    """

    wanted: str
    pick: Callable[[Outputs], tuple[str, ...] | None]
    fits: Callable[[Sequence[Array]], bool]
    decode: Callable[[Sequence[Array]], tuple[Array, Array, Array]]
    unit: str = "pixels"
    clipped: bool = False
    classes: Callable[[Sequence[Array]], int | None] = lambda arrays: None
    background: bool = False

    def found(self, arrays: Sequence[Array], frame: Frame) -> Found:
        """Decode the outputs of one image; what is no number is no detection."""
        with np.errstate(invalid="ignore", over="ignore"):
            boxes, scores, classes = self.decode(arrays)
        boxes = boxes.astype(np.float64).reshape(-1, 4)
        usable = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
        boxes, scores, classes = boxes[usable], scores[usable].astype(np.float32), classes[usable].astype(np.int64)
        best = np.argsort(-scores, kind="stable")[:MOST]
        sides = {"pixels": (1.0, 1.0), "input": frame.fed, "content": frame.content}[self.unit]
        shift = frame.offset if self.unit == "content" else (0.0, 0.0)
        boxes = frame.back(boxes[best] * (*sides, *sides) + (*shift, *shift))
        if self.clipped:
            boxes = np.clip(boxes, 0, (*frame.image, *frame.image))
        return Found(boxes, scores[best], classes[best])


def _three_dimensional(outputs: Outputs) -> tuple[str, ...] | None:
    found = [name for name, array in outputs.items() if array.ndim == 3]
    return (found[0],) if len(found) == 1 else None


def _boxes_and_scores(outputs: Outputs) -> tuple[str, ...] | None:
    """Name the one output [N, M, 4] and the one [N, M, C] beside it; of two [N, M, 4], the one called boxes."""
    three = {name: array for name, array in outputs.items() if array.ndim == 3}
    four = [name for name, array in three.items() if array.shape[2] == 4]
    boxes = [name for name in four if "box" in name.lower()] if len(four) > 1 else four
    if len(boxes) != 1:
        return None
    rest = [name for name, array in three.items() if name != boxes[0] and array.shape[1] == three[boxes[0]].shape[1]]
    return (boxes[0], rest[0]) if len(rest) == 1 else None


def _named(*names: str) -> Callable[[Outputs], tuple[str, ...] | None]:
    """Name the outputs that bear these names, whatever number TensorFlow adds behind a colon."""

    def pick(outputs: Outputs) -> tuple[str, ...] | None:
        own = {name.partition(":")[0]: name for name in outputs}
        return tuple(own[name] for name in names) if all(name in own for name in names) else None

    return pick


def _shaped(*ranks: int) -> Callable[[Sequence[Array]], bool]:
    """Return whether outputs of one image have these numbers of axes, boxes come first and rows agree."""

    def fits(arrays: Sequence[Array]) -> bool:
        rows = {len(array) for array in arrays if array.ndim}
        same = len(arrays) == len(ranks) and all(array.ndim == rank for array, rank in zip(arrays, ranks, strict=True))
        return same and len(rows) == 1 and arrays[0].shape[1:] == (4,)

    return fits


def _candidates(boxes: Floats, scores: Array) -> tuple[Array, Array, Array]:
    """Return boxes [M, 4] by the scores [M, C] that each has of every class, without those that overlap better ones."""
    row, kind = np.nonzero(scores > _SCORE)
    score = scores[row, kind]
    if len(score) > _CANDIDATES:
        best = np.argsort(-score, kind="stable")[:_CANDIDATES]
        row, kind, score = row[best], kind[best], score[best]
    usable = np.isfinite(boxes[row]).all(axis=1)
    row, kind, score = row[usable], kind[usable], score[usable]
    kept = suppress(boxes[row], score, kind, overlap=_OVERLAP, most=MOST)
    return boxes[row][kept], score[kept], kind[kept]


def _yolov5(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode [A, 5 + C]: centre and size, that there is something, and of which class."""
    (rows,) = arrays
    rows = rows[rows[:, 4] > _SCORE]
    return _candidates(corners(rows[:, :4]), rows[:, 5:] * rows[:, 4:5])


def _yolov8(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode [4 + C, A]: centre and size, and the score of each class."""
    return _candidates(corners(arrays[0][:4].T), arrays[0][4:].T)


def _yolov10(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode [M, 6]: corners, score and class, of which nothing is to be suppressed."""
    rows = arrays[0][arrays[0][:, 4] > _SCORE]
    return rows[:, :4], rows[:, 4], rows[:, 5]


def yolo_variant(rows: int, columns: int) -> str:
    """Return which of YOLO's forms an output [N, rows, columns] has.

    Six columns are boxes that are decided on already, as Ultralytics takes them; else the longer axis is that of boxes.
    """
    if columns == 6 and rows > 6:
        return "yolov10"
    return "yolov8" if rows < columns else "yolov5"


def _yolo(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    return HEADS[yolo_variant(*arrays[0].shape)].decode(arrays)


def _yolo_classes(arrays: Sequence[Array]) -> int | None:
    return HEADS[yolo_variant(*arrays[0].shape)].classes(arrays)


def _detr(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode boxes [Q, 4] and logits [Q, C + 1], of which the last is that of nothing: each query has one class."""
    boxes, logits = arrays
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = (shares / shares.sum(axis=1, keepdims=True))[:, :-1]
    return corners(boxes), shares.max(axis=1, initial=0), shares.argmax(axis=1)


def _rtdetr(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode boxes [Q, 4] and logits [Q, C], each class for itself: the best 300 of all (Deformable DETR, RT-DETR)."""
    boxes, logits = arrays
    scores = (1 / (1 + np.exp(-logits))).ravel()
    best = np.argsort(-scores, kind="stable")[:MOST]
    return corners(boxes)[best // logits.shape[1]], scores[best], best % logits.shape[1]


def _ssd(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode corners [A, 4] and shares of classes [A, 1 + C], of which the first is that of nothing."""
    boxes, scores = arrays[0].astype(np.float64), arrays[1].copy()
    scores[:, 0] = 0
    return _candidates(boxes, scores)


def _tensorflow(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Decode boxes [M, 4] (y1, x1, y2, x2), scores [M] and classes [M], as TensorFlow's detection models give them."""
    boxes, scores, classes = arrays
    shown = scores > 0
    return boxes[shown][:, [1, 0, 3, 2]], scores[shown], classes[shown]


def _decided(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    return arrays[0], arrays[1], arrays[2]


def _apart(arrays: Sequence[Array]) -> tuple[Array, Array, Array]:
    return _candidates(arrays[0].astype(np.float64), arrays[1])


def _one(arrays: Sequence[Array]) -> bool:
    return len(arrays) == 1 and arrays[0].ndim == 2


LISTS, SCORED = "boxes,scores,labels", "boxes,scores"

HEADS: dict[str, Head] = {
    "yolo": Head(
        "one output [N, A, 5+C], [N, 4+C, A] or [N, M, 6]",
        _three_dimensional,
        lambda arrays: _one(arrays) and HEADS[yolo_variant(*arrays[0].shape)].fits(arrays),
        _yolo,
        clipped=True,
        classes=_yolo_classes,
    ),
    "yolov5": Head(
        "one output [N, A, 5+C]",
        _three_dimensional,
        lambda arrays: _one(arrays) and arrays[0].shape[1] > 5,
        _yolov5,
        clipped=True,
        classes=lambda arrays: arrays[0].shape[1] - 5,
    ),
    "yolov8": Head(
        "one output [N, 4+C, A]",
        _three_dimensional,
        lambda arrays: _one(arrays) and arrays[0].shape[0] > 4,
        _yolov8,
        clipped=True,
        classes=lambda arrays: arrays[0].shape[0] - 4,
    ),
    "yolov10": Head(
        "one output [N, M, 6]",
        _three_dimensional,
        lambda arrays: _one(arrays) and arrays[0].shape[1] == 6,
        _yolov10,
        clipped=True,
    ),
    "detr": Head(
        "boxes [N, Q, 4] and logits [N, Q, C+1]",
        _boxes_and_scores,
        _shaped(2, 2),
        _detr,
        unit="content",
        classes=lambda arrays: arrays[1].shape[1] - 1,
    ),
    "rtdetr": Head(
        "boxes [N, Q, 4] and logits [N, Q, C]",
        _boxes_and_scores,
        _shaped(2, 2),
        _rtdetr,
        unit="content",
        classes=lambda arrays: arrays[1].shape[1],
    ),
    "ssd": Head(
        "boxes [N, A, 4] in shares of the input, and scores [N, A, 1+C]",
        _boxes_and_scores,
        _shaped(2, 2),
        _ssd,
        unit="input",
        classes=lambda arrays: arrays[1].shape[1],
        background=True,
    ),
    "tf": Head(
        "detection_boxes [N, M, 4], detection_scores [N, M] and detection_classes [N, M]",
        _named("detection_boxes", "detection_scores", "detection_classes"),
        _shaped(2, 1, 1),
        _tensorflow,
        unit="input",
        background=True,
    ),
    LISTS: Head(
        "boxes [N, M, 4], scores [N, M] and labels [N, M], or of one image without N",
        _named("boxes", "scores", "labels"),
        _shaped(2, 1, 1),
        _decided,
    ),
    SCORED: Head(
        "boxes [N, A, 4] in pixels and scores [N, A, C]",
        _named("boxes", "scores"),
        _shaped(2, 2),
        _apart,
        classes=lambda arrays: arrays[1].shape[1],
    ),
}
"""Name -> form. Those that are named after outputs are meant by the outputs' names, whatever they are."""

_GUESSED = ("tf", LISTS, "yolo")


def guess(outputs: Outputs) -> str | None:
    """Return the head that outputs show by names and shapes; None where that is open."""
    if any("pred_boxes" in name for name in outputs):
        return "detr"
    return next((name for name in _GUESSED if HEADS[name].pick(outputs) is not None), None)
