"""Metrics of detected boxes: map, map50."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from compressctl.arrays import Array, Floats, Integers
from compressctl.data.boxes import Truth, are_boxes, unpack
from compressctl.data.source import Batch
from compressctl.errors import CompressctlError, DataError, MissingExtraError, UsageError
from compressctl.measure.heads import HEADS, LISTS, MOST, SCORED, Found, Head, guess
from compressctl.measure.metric import Metric, Outputs
from compressctl.numerics.average_precision import THRESHOLDS, mean_average_precision

_Annotation = dict[str, float | list[float]]

_SURE = 1000  # images from which a point is more than chance


class MeanAveragePrecision(Metric):
    """Mean average precision at intersections over union of .5, .55, …, .95, as COCO defines it.

    pycocotools matches detections with what is to be found, image by image. What is kept of an image is 16 bytes for
    each of 300 detections (or of its boxes, where they may be more): scores, classes, and at which thresholds they are
    right. From these the score is computed: of all images, as pycocotools computes it, and of resamples.

    Args:
        name: as the user wrote it.
        rest: `HEAD[:OUTPUT,…]` or the names of outputs: `BOXES,SCORES,LABELS`, `BOXES,SCORES` or that of one output;
            None where the outputs' names and shapes tell.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """

    unit = "%"
    thresholds = THRESHOLDS

    def __init__(self, name: str, rest: str | None) -> None:
        super().__init__(name)
        try:
            import pycocotools.cocoeval  # noqa: F401 - said before a model runs
        except ImportError:
            raise MissingExtraError(f"the metric {self.name}", "detection") from None
        self._form, self._names = _read(rest)

    @classmethod
    def usual_drop(cls, name: str, samples: int) -> tuple[float, str]:
        """Return a point or two."""
        drop = 0.01 if samples >= _SURE else 0.02
        return drop, f"{100 * drop:g} points of {name} at most."

    def _judge(self, outputs: Outputs, batch: Batch) -> Array:
        if batch.labels is None:
            raise DataError(f"{self.name} needs labels, and the data have none")
        if not are_boxes(batch.labels):
            raise DataError(
                f"{self.name} judges boxes, and the labels {list(batch.labels.shape)} are none",
                "COCO .json, YOLO and VOC folders have boxes; in arrays they are laid out as docs/data.md says",
            )
        truths = unpack(batch.labels)
        head, arrays = self._picked(outputs, batch.count)
        self._check_classes(truths, head, [array[0] for array in arrays])
        found = [head.found([array[row] for array in arrays], truth.frame) for row, truth in enumerate(truths)]
        return _matched(truths, found, max(MOST, batch.labels.shape[1]))

    def _picked(self, outputs: Outputs, count: int) -> tuple[Head, list[Array]]:
        """Return the head, and the outputs that it decodes, each with a row an image."""
        if self._form is None:
            self._form = guess(outputs)
            if self._form is None:
                raise UsageError(
                    f"{self.name}: the outputs {_shapes(outputs)} do not show what they are",
                    f"say it: {', '.join(f'{self.name}:{head}' for head in HEADS)}",
                )
        head = HEADS[self._form]
        names = self._names or head.pick(outputs)
        if names is None:
            raise self._misfit(head, outputs)
        for name in names:
            if name not in outputs:
                raise UsageError(f"{self.name}: there is no output {name!r}", f"there are {', '.join(outputs)}")
        arrays = [outputs[name] for name in names]
        if count == 1 and not head.fits([array[0] for array in arrays if array.ndim]) and head.fits(arrays):
            arrays = [array[None] for array in arrays]
        if any(not array.ndim or len(array) != count for array in arrays) or not head.fits([a[0] for a in arrays]):
            raise self._misfit(head, {name: outputs[name] for name in names})
        self.output = names[0] if len(names) == 1 else None
        return head, [array.astype(np.float32) if array.dtype.kind == "f" else array for array in arrays]

    def _misfit(self, head: Head, outputs: Outputs) -> CompressctlError:
        metric = self.name.partition(":")[0]
        named = f"{metric}:BOXES,SCORES,LABELS" if self._form in (LISTS, SCORED) else f"{metric}:{self._form}:OUTPUT,…"
        return DataError(f"{self.name} judges {head.wanted}; it found {_shapes(outputs)}", f"name the outputs: {named}")

    def _check_classes(self, truths: Sequence[Truth], head: Head, arrays: Sequence[Array]) -> None:
        """Refuse classes that the head cannot name."""
        most = head.classes(arrays)
        for row, truth in enumerate(truths):
            for kind in truth.boxes[:, 0]:
                if most is not None and kind >= most:
                    raise DataError(
                        f"{self.name}: class {kind:.0f} of sample {self.seen + row} is beyond those of the outputs, "
                        f"which are 0 to {most - 1}",
                        "of COCO's .json, classes=id and classes=index are the two ways of counting",
                    )
                if head.background and kind == 0:
                    raise DataError(
                        f"{self.name}: class 0 of sample {self.seen + row} is that of nothing, as {self._form} counts",
                        "add first=1 to the data, or classes=id where they are COCO's",
                    )

    def _finish(self, per_sample: Array) -> Array:
        if not (per_sample[..., 3] >= 0).any():
            raise DataError(f"{self.name}: no image has a box that is to be found")
        used = np.flatnonzero((per_sample != -1).any(axis=(0, 2)))
        return np.ascontiguousarray(per_sample[:, : used[-1] + 1])

    def statistic(self, per_sample: Array, indices: Integers) -> Floats:
        """Return mean average precision on resamples; `per_sample` is as `numerics.average_precision` has it."""
        return mean_average_precision(per_sample, indices, self.thresholds)


class MeanAveragePrecision50(MeanAveragePrecision):
    """The same at .5 alone."""

    thresholds = 1


def _read(rest: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the name of the head and those of outputs, each None where it is open."""
    if rest is None:
        return None, None
    head, _, named = rest.partition(":")
    if head in HEADS:
        own = tuple(head.split(",")) if head in (LISTS, SCORED) else None
        return head, tuple(named.split(",")) if named else own
    names = tuple(rest.split(","))
    return {1: "yolo", 2: SCORED, 3: LISTS}.get(len(names)), names


def _shapes(outputs: Outputs) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())


def _matched(truths: Sequence[Truth], found: Sequence[Found], width: int) -> Array:
    """Return what pycocotools finds each detection to be; see `numerics.average_precision` for the form."""
    images = np.full((len(truths), width, 4), -1, np.int32)
    used = np.zeros(len(truths), int)
    for image, truth in zip(images, truths, strict=True):
        wanted = truth.boxes[truth.boxes[:, 5] == 0, 0]
        image[: len(wanted), 3] = wanted
    for one in _evaluated(truths, found):
        row = int(one["image_id"])
        scores, right, ignored = (np.asarray(one[key]) for key in ("dtScores", "dtMatches", "dtIgnore"))
        lines = slice(used[row], used[row] + len(scores))
        images[row, lines, 0] = scores.astype(np.float32).view(np.int32)
        images[row, lines, 1] = one["category_id"]
        bits = 1 << np.arange(THRESHOLDS)[:, None]
        images[row, lines, 2] = ((right > 0) * bits).sum(axis=0) + ((ignored > 0) * bits).sum(axis=0) * 2**THRESHOLDS
        used[row] += len(scores)
    return images


def _evaluated(truths: Sequence[Truth], found: Sequence[Found]) -> list[dict[str, Any]]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    wanted = [
        _annotation(row, box[0], box[1:5], crowd=int(box[5])) for row, truth in enumerate(truths) for box in truth.boxes
    ]
    given = [
        _annotation(row, kind, box, score=float(score))
        for row, one in enumerate(found)
        for box, score, kind in zip(one.boxes, one.scores, one.classes, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of each step
        sides = []
        for annotations in (wanted, given):
            side = COCO()
            numbered = [{**one, "id": number} for number, one in enumerate(annotations, 1)]
            classes = sorted({one["category_id"] for one in (*wanted, *given)})
            side.dataset = {
                "images": [{"id": row} for row in range(len(truths))],
                "categories": [{"id": kind} for kind in classes],
                "annotations": numbered,
            }
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
    return [one for one in judge.evalImgs if one is not None]


def _annotation(image: int, kind: float, box: Floats, crowd: int = 0, score: float | None = None) -> _Annotation:
    x1, y1, x2, y2 = map(float, box)
    bounds = [x1, y1, x2 - x1, y2 - y1]
    area = bounds[2] * bounds[3]
    told: _Annotation = {"image_id": image, "category_id": int(kind), "bbox": bounds, "area": area, "iscrowd": crowd}
    return told if score is None else {**told, "score": score}
