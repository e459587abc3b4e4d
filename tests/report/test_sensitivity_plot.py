"""The picture of a sensitivity table: well-formed, a line a layer, points where the numbers say."""

from xml.etree import ElementTree

import pytest

from compressctl.report.sensitivity import to_svg

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    {"layer": "first<&>", "noise": [1e-4, 1e-2], "score": [0.9, 0.5]},
    {"layer": "second", "noise": [1e-3, 1e-1], "score": [0.8, 0.7]},
]
TABLE = {"samples": 7, "metric": "top1", "unpruned": 1.0, "ratios": [0.5, 1.0], "layers": ROWS}


def _lines(table):
    root = ElementTree.fromstring(to_svg(table))
    lines = list(root.iter(f"{SVG}polyline"))
    points = [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in lines]
    return [line.find(f"{SVG}title").text for line in lines], points, [text.text for text in root.iter(f"{SVG}text")]


def test_scores_are_drawn_to_scale():
    names, (first, second), texts = _lines(TABLE)
    assert names == ["first<&>", "second"] and "top1" in texts and "Each layer pruned alone, on 7 samples" in texts
    (x0, top), (x1, _), (x2, bottom) = first
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    share = (bottom - second[2][1]) / (bottom - top)  # 0.7 between the extremes 0.5 and 1
    assert share == pytest.approx(0.4, abs=0.01)


def test_noise_is_drawn_in_decibels():
    rows = [{key: row[key] for key in ("layer", "noise")} for row in ROWS]
    _, (first, second), texts = _lines({**TABLE, "metric": None, "unpruned": None, "layers": rows})
    assert "noise of the outputs, dB" in texts and len(first) == 2
    steps = [second[0][1] - first[0][1], first[1][1] - second[0][1], second[1][1] - first[1][1]]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2) and steps[0] < 0  # -40, -30, -20 and -10 dB


@pytest.mark.parametrize("noise", [[0.0, 0.0], [float("nan"), float("inf")]])
def test_flat_and_infinite_curves_are_drawn(noise):
    table = {**TABLE, "metric": None, "unpruned": None, "layers": [{"layer": "a", "noise": noise}]}
    ElementTree.fromstring(to_svg(table))
