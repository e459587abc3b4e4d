"""mAP against pycocotools on all images, heads against the formulas that define them, and what is refused."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from compressctl.data.boxes import Frame, Truth, pack
from compressctl.data.source import Batch
from compressctl.errors import DataError, UsageError
from compressctl.measure.heads import HEADS
from compressctl.measure.metrics import parse_metric
from compressctl.numerics.average_precision import mean_average_precision
from compressctl.numerics.boxes import suppress

SIDE, CLASSES, IMAGES = 100, 4, 30
FRAME = Frame((200, 100), (SIDE, SIDE), (0.5, 0.5), (0.0, 25.0))  # letterboxed


def _boxes(rng, count):
    start = rng.uniform(0, 60, (count, 2))
    return np.concatenate([start, start + rng.uniform(8, 40, (count, 2))], axis=1)


def _scenes(seed=0, digits=2):
    """Boxes in images of 200x100 pixels, some of them crowds, and guesses near them or anywhere: two of three right."""
    rng = np.random.default_rng(seed)
    truths, guesses = [], []
    for _ in range(IMAGES):
        count = rng.integers(0, 7)
        boxes, kinds = _boxes(rng, count), rng.integers(0, CLASSES, count)
        truths.append(Truth(FRAME, np.column_stack([kinds, boxes, rng.random(count) < 0.15])))
        near = boxes + rng.normal(0, 2.5, boxes.shape)
        shown = np.concatenate([near, near + rng.normal(0, 6, boxes.shape), _boxes(rng, 5)])
        named = np.concatenate([np.where(rng.random(count) < 0.8, kinds, 0), kinds, rng.integers(0, CLASSES, 5)])
        guesses.append((shown, rng.uniform(0.01, 1, len(shown)).round(digits).astype(np.float32), named))
    return truths, guesses


def _lists(guesses):
    """Outputs boxes, scores, labels of guesses, in pixels of the input, filled up by what has no score."""
    most = max(len(scores) for _, scores, _ in guesses)
    boxes, scores = np.zeros((IMAGES, most, 4), np.float32), np.full((IMAGES, most), np.nan, np.float32)
    labels = np.zeros((IMAGES, most), np.int64)
    for i, (shown, given, named) in enumerate(guesses):
        boxes[i, : len(given)] = shown * 0.5 + (0, 25, 0, 25)
        scores[i, : len(given)], labels[i, : len(given)] = given, named
    return {"boxes": boxes, "scores": scores, "labels": labels}


def _score(notation, outputs, truths, batch=8):
    metric = parse_metric(notation)
    labels = pack(truths, max(len(truth.boxes) for truth in truths))
    for start in range(0, len(truths), batch):
        part = {name: array[start : start + batch] for name, array in outputs.items()}
        count = len(labels[start : start + batch])
        metric.update(part, Batch({}, labels[start : start + batch], count))
    return metric.result()


def _reference(truths, guesses):
    """The stats of COCOeval: mAP@[.5:.95] and mAP@.5."""
    rows = [
        {"image_id": i, "category_id": int(box[0]), "bbox": [*box[1:3], *(box[3:5] - box[1:3])], "iscrowd": int(box[5])}
        for i, truth in enumerate(truths)
        for box in truth.boxes
    ]
    annotations = [{**row, "id": n, "area": row["bbox"][2] * row["bbox"][3]} for n, row in enumerate(rows, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(len(truths))],
            "categories": [{"id": kind} for kind in range(CLASSES)],
            "annotations": annotations,
        }
        truth.createIndex()
        given = [
            {"image_id": i, "category_id": int(kind), "bbox": [*box[:2], *(box[2:] - box[:2])], "score": float(score)}
            for i, (boxes, scores, kinds) in enumerate(guesses)
            for box, score, kind in zip(boxes.astype(np.float32), scores, kinds, strict=True)
        ]
        judge = COCOeval(truth, truth.loadRes(given), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[:2]


@pytest.mark.parametrize("batch", [1, 8, 30])
def test_it_is_pycocotools(batch):
    truths, guesses = _scenes()
    outputs, expected = _lists(guesses), _reference(truths, guesses)
    found = [_score(name, outputs, truths, batch) for name in ("map:boxes,scores,labels", "map50")]
    assert [score.value for score in found] == pytest.approx(list(expected), abs=1e-9)
    assert 0.1 < found[0].low < found[0].value < found[0].high < 0.9 and found[0].count == IMAGES


def test_a_resample_is_that_of_the_images_drawn():
    truths, guesses = _scenes(1, digits=9)  # of equal scores, those of images drawn twice would be in another order
    kept = _score("map", _lists(guesses), truths).per_sample
    drawn = np.random.default_rng(0).integers(0, IMAGES, (3, IMAGES))
    found = mean_average_precision(kept, drawn)
    for row, value in zip(drawn, found, strict=True):
        again = _reference([truths[i] for i in row], [guesses[i] for i in row])
        assert value == pytest.approx(again[0], abs=1e-9)


def test_suppression_is_the_loop_that_defines_it():
    rng = np.random.default_rng(0)
    boxes, scores, kinds = _boxes(rng, 60), rng.random(60), rng.integers(0, 2, 60)

    def overlap(a, b):
        both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    kept = []
    for i in np.argsort(-scores):
        if all(kinds[i] != kinds[j] or overlap(boxes[i], boxes[j]) <= 0.3 for j in kept):
            kept.append(i)
    assert suppress(boxes, scores, kinds, overlap=0.3, most=100).tolist() == kept
    assert suppress(boxes, scores, kinds, overlap=0.3, most=5).tolist() == kept[:5]


def _outputs(head):
    """One box, 10, 30, 30, 60 of an input of 100x100, of class 2 with score .9, as each head writes it."""
    centred, corners, classes = [20, 45, 20, 30], [10, 30, 30, 60], np.full(CLASSES, 1e-4)
    classes[2] = 0.9
    logits = np.log(classes / (1 - classes))
    rows = {
        "yolov5": {"out": np.array([[*centred, 1.0, *classes], *np.zeros((19, 5 + CLASSES))])},
        "yolov8": {"out": np.array([[*centred, *classes], *np.zeros((19, 4 + CLASSES))]).T},
        "yolov10": {"out": np.array([[*corners, 0.9, 2], *np.zeros((19, 6))])},
        "detr": {
            "pred_boxes": np.array([[0.2, 0.4, 0.2, 0.6]]),  # of the image, which lies in 25 to 75
            "logits": np.log(np.array([[*(classes + 1e-9), 0.1]])),
        },
        "rtdetr": {"pred_boxes": np.array([[0.2, 0.4, 0.2, 0.6]]), "logits": logits[None]},
        "ssd": {"boxes": np.array([corners]) / 100, "scores": np.array([[0.1, 1e-4, 0.9, 1e-4, 1e-4]])},
        "tf": {
            "detection_boxes:0": np.array([[0.3, 0.1, 0.6, 0.3]]),
            "detection_scores:0": np.array([0.9]),
            "detection_classes:0": np.array([2.0]),
        },
        "boxes,scores,labels": {"boxes": np.array([corners]), "scores": np.array([0.9]), "labels": np.array([2])},
        "boxes,scores": {"boxes": np.array([corners]), "scores": classes[None]},
    }[head]
    return {name: array[None].astype(np.int64 if name == "labels" else np.float32) for name, array in rows.items()}


@pytest.mark.parametrize("head", [head for head in HEADS if head != "yolo"])
def test_each_head_gives_the_box(head):
    truth = Truth(FRAME, np.array([[2.0, 20, 10, 60, 70, 0]]))
    outputs = _outputs(head)
    assert _score(f"map:{head}", outputs, [truth]).value == pytest.approx(1.0)
    if head.startswith("yolo"):
        assert _score("map:yolo", outputs, [truth]).value == pytest.approx(1.0)
        assert _score("map:out", outputs, [truth]).output == "out"
    found = HEADS[head].found([outputs[name][0] for name in HEADS[head].pick(outputs)], FRAME)
    best = found.scores.argmax()
    np.testing.assert_allclose(found.boxes[best], [20, 10, 60, 70], atol=1e-4)
    assert found.scores[best] == pytest.approx(0.9, abs=0.01) and found.classes[best] == 2


def test_outputs_of_one_image_need_no_batch():
    truths, guesses = _scenes()
    outputs = {name: array[0] for name, array in _lists(guesses).items()}
    whole = {name: array[None] for name, array in outputs.items()}
    truths = [truth for truth in truths if len(truth.boxes)][:1]
    assert _score("map", outputs, truths, 100).value == _score("map", whole, truths).value


def test_what_is_no_number_is_no_detection():
    outputs = {"out": np.full((1, 4 + CLASSES, 20), np.nan, np.float32)}
    truth = Truth(FRAME, np.array([[2.0, 20, 10, 60, 70, 0]]))
    assert _score("map:yolo", outputs, [truth]).value == 0.0


def test_what_is_refused():
    truth = [Truth(FRAME, np.array([[7.0, 20, 10, 60, 70, 0]]))]
    with pytest.raises(DataError, match=r"class 7 of sample 0 is beyond those of the outputs, which are 0 to 3"):
        _score("map:yolov8", _outputs("yolov8"), truth)
    background = [Truth(FRAME, np.array([[0.0, 20, 10, 60, 70, 0]]))]
    with pytest.raises(DataError, match=r"class 0 of sample 0 is that of nothing, as ssd counts") as caught:
        _score("map:ssd", _outputs("ssd"), background)
    assert "first=1" in caught.value.hint
    with pytest.raises(DataError, match=r"map:detr judges boxes \[N, Q, 4\] and logits .*; it found out \[1, 8, 20\]"):
        _score("map:detr", _outputs("yolov8"), truth)
    with pytest.raises(UsageError, match="there is no output 'x'"):
        _score("map:yolo:x", _outputs("yolov8"), truth)
    with pytest.raises(UsageError, match="do not show what they are"):
        _score("map", {"a": np.zeros((1, 9), np.float32)}, truth)
    with pytest.raises(DataError, match=r"judges boxes, and the labels \[1\] are none"):
        metric = parse_metric("map:yolo")
        metric.update(_outputs("yolov8"), Batch({}, np.zeros(1), 1))
    with pytest.raises(DataError, match="no image has a box"):
        _score("map:yolo", _outputs("yolov8"), [Truth(FRAME, np.zeros((0, 6)))])
