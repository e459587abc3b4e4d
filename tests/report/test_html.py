"""The HTML report: well-formed, self-contained, escaped; plots to scale; and in a real browser, at two widths."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from compressctl.report import plots
from compressctl.report.charts import Item, bars, dots, lines, scatter
from compressctl.report.html import to_html
from tests.report.chromium import BINARY, browser
from tests.report.full_report import NASTY, full_report, measurement

VOID = {"meta", "link"}
ADDRESSES = re.compile(r"""(?:src|href)=["'](?!#|data:)|url\(|@import|https?://""")


class Reader(HTMLParser):
    """Checks that tags close in order; collects tags, ids, links and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page():
    return Reader(to_html(full_report()))


def test_remarks_are_coloured_by_kinds_that_there_are(page):
    written = {attributes["class"].split()[-1] for _, attributes in page.tags if "kind" in attributes.get("class", "")}
    styled = set(re.findall(r"\.kind\.([a-z-]+)", to_html(full_report())))
    assert {"warning", "rolled-back", "missed"} <= styled <= written


def test_everything_is_escaped_and_nothing_is_fetched(page):
    html = to_html(full_report())
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert not ADDRESSES.search(html.replace("&lt;", "<").replace(NASTY, ""))
    assert sum(NASTY in words for words in page.words) > 20


def test_headings_are_in_order_and_links_lead_somewhere(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    attributes = dict(page.tags)
    assert attributes["html"]["lang"] == "en" and "out.onnx: budget missed" in "".join(page.words)


def test_plots_have_names_or_their_figures_beside_them(page):
    for tag, attributes in page.tags:
        if tag == "svg" and "plot" in attributes.get("class", "").split():
            assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]


def test_a_report_of_nothing_but_the_result_renders_too():
    full = full_report()
    bare = replace(full, passes=(), budgets=(), notes=(), front=(), explanation=None, robustness=None, metric=None)
    bare = replace(bare, input=measurement(), output=measurement("out.onnx", 200_000, 0.5))
    words = "".join(Reader(to_html(bare)).words)
    assert "Pareto" not in words and "Robustness" not in words and "200 kB" in words


def test_bars_begin_at_zero_and_their_intervals_and_limit_are_to_scale():
    chart = bars("t", [Item("a", 4.0, "4"), Item("b", 1.0, "1", 0.5, 2.0)], limit=3.0)
    assert [(row.start, row.end) for row in chart.rows] == [(0.0, 100.0), (0.0, 25.0)]
    assert (chart.rows[1].low, chart.rows[1].high, chart.limit) == (12.5, 50.0, 75.0)


def test_bars_of_negative_and_of_infinite_values():
    chart = bars("t", [Item("a", -10.0, "-10 dB"), Item("b", 30.0, "30 dB"), Item("c", math.inf, "equal")])
    assert [(row.start, row.end) for row in chart.rows] == [(25.0, 0.0), (25.0, 100.0), (25.0, 100.0)]
    assert bars("t", [Item("a", math.nan, "?")]).rows[0].end is None


def test_dots_show_differences_and_scatters_point_upward():
    chart = dots("t", [Item("a", 0.94, "", 0.92, 0.95), Item("b", 0.95, "", 0.93, 0.96)])
    first, second = chart.rows
    assert second.end - first.end == pytest.approx(100 * 0.01 / (0.04 * 1.12), abs=0.02)
    drawn = scatter("t", "x", "y", [(Item("1", 0.0, ""), Item("", 0.0, "")), (Item("2", 1.0, ""), Item("", 1.0, ""))])
    low, high = drawn.points
    assert (
        low.x < high.x and low.y > high.y and [text for _, text in drawn.x_ticks] == ["0", "0.25", "0.5", "0.75", "1"]
    )


def test_curves_run_through_their_points_and_leave_out_what_is_not_finite():
    chart = lines("t", "x", "y", [("a", [(0, 1.0), (0.5, 0.5), (1, 0.0)]), ("b", [(0, math.nan), (1, 0.25)])])
    assert [curve.points for curve in chart.curves] == ["0,0 50,50 100,100", "100,75"]
    assert [curve.hue for curve in chart.curves] == [240, 0]


def test_sensitivity_is_drawn_as_scores_or_in_decibels():
    rows = [{"layer": "a", "noise": [1e-4, 1e-2], "score": [0.9, None]}]
    table = {"samples": 7, "metric": "top1", "unpruned": 1.0, "ratios": [0.5, 1.0], "layers": rows}
    assert plots.of_sensitivity(table).curves[0].points == "0,0 100,100"
    noise = plots.of_sensitivity({**table, "metric": None})
    assert [text for _, text in noise.y_ticks] == ["-40", "-35", "-30", "-25", "-20"]


def test_conditions_of_one_name_are_told_apart_by_their_strength():
    found = full_report().robustness
    noise = found.conditions[1]
    chart = plots.of_robustness(replace(found, conditions=(found.conditions[0], noise, replace(noise, strength=0.3))))
    names = ["noise 0.1: input", "noise 0.1: result", "noise 0.3: input", "noise 0.3: result"]
    assert [row.label for row in chart.rows[2:]] == names


_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_PAGE_COLOUR = "getComputedStyle(document.body).backgroundColor"
_BOXES = """JSON.stringify([...document.querySelectorAll('.mark, polyline, .track')]
    .map(e => e.getBoundingClientRect()).map(b => [b.width, b.height]))"""
_TEXTS = """JSON.stringify([...document.querySelectorAll('h1, h2, h3, p, td, th, li, figcaption, svg text, .kind, b')]
    .filter(e => e.getClientRects().length).map(e => {
        let back = e;
        while (back && getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)') back = back.parentElement;
        const style = getComputedStyle(e);
        return [e.namespaceURI.endsWith('svg') ? style.fill : style.color, getComputedStyle(back).backgroundColor];
    }))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if BINARY is None:
        pytest.skip("no chromium is installed")
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_in_a_browser(tab, tmp_path, width, dark):
    file = tmp_path / "report.html"
    file.write_text(to_html(full_report()), encoding="utf-8")
    tab.show(file, width=width, dark=dark)
    assert tab.evaluate("document.title").startswith("out.onnx: budget missed")
    assert tab.evaluate(_OVERFLOW) == 0
    boxes = json.loads(tab.evaluate(_BOXES))
    assert len(boxes) > 60 and all(w > 0 and h > 0 for w, h in boxes)
    red = int(re.match(r"rgb\((\d+)", tab.evaluate(_PAGE_COLOUR))[1])
    assert red < 64 if dark else red > 192
    contrasts = [_contrast(*pair) for pair in json.loads(tab.evaluate(_TEXTS))]
    assert len(contrasts) > 200 and min(contrasts) >= 4.5  # WCAG 2, level AA
    requests = [event["params"]["request"]["url"] for event in tab.events if _is(event, "Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert not [event for event in tab.events if _is(event, *told)]


def _is(event, *methods):
    return event.get("method") in methods


def _contrast(one, other):
    """The contrast ratio of two colours as WCAG 2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
