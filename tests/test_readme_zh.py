"""The Chinese README keeps step with the English one: the same headings, commands, figures and links."""

import re
from itertools import zip_longest

import pytest

from tests.samples import ROOT

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """Return a README without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text(name), flags=re.DOTALL | re.MULTILINE)


def headings(name: str) -> list[str]:
    return re.findall(r"^#+ .*$", prose(name), re.MULTILINE)


def code(name: str) -> list[tuple[str, list[str]]]:
    """Return each code block as its language and lines; comments of shell commands are translated, so they go."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text(name), re.DOTALL | re.MULTILINE)
    comment = re.compile(r"(^| {2,})# .*$", re.MULTILINE)
    return [(kind, (comment.sub("", body) if kind == "sh" else body).splitlines()) for kind, body in blocks]


def comments(name: str) -> int:
    return sum(len(re.findall(r"^# ", body, re.MULTILINE)) for body in re.findall(r"```sh\n(.*?)```", text(name), re.S))


def rows(name: str) -> list[str]:
    return [line for line in prose(name).splitlines() if line.startswith("|")]


def figures(row: str) -> list[list[str]]:
    """Return the numbers of each cell, sorted: languages put them in different orders."""
    return [sorted(re.findall(r"\d[\d,.]*\d|\d", cell)) for cell in row.split("|")]


def links(name: str) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)]+)\)", text(name)) if target not in (ENGLISH, CHINESE)]


def test_headings_have_the_same_levels():
    pairs = list(zip_longest(headings(ENGLISH), headings(CHINESE), fillvalue=""))
    for english, chinese in pairs:
        levels = [heading.partition(" ")[0] for heading in (english, chinese)]
        assert levels[0] == levels[1], f"{ENGLISH} has {english!r} where {CHINESE} has {chinese!r}"


def test_commands_are_the_same():
    for number, (english, chinese) in enumerate(zip_longest(code(ENGLISH), code(CHINESE), fillvalue=("", [])), 1):
        for ours, theirs in zip_longest(english[1], chinese[1], fillvalue="(nothing)"):
            assert ours == theirs, f"code block {number}: {ENGLISH} has\n  {ours}\nwhere {CHINESE} has\n  {theirs}"
        assert english[0] == chinese[0]
    assert comments(ENGLISH) == comments(CHINESE), "commands have comments in one of them only"


def test_tables_have_the_same_figures():
    for english, chinese in zip_longest(rows(ENGLISH), rows(CHINESE), fillvalue=""):
        assert figures(english) == figures(chinese), f"{ENGLISH} has\n  {english}\nwhere {CHINESE} has\n  {chinese}"
        commands = [re.findall(r"`[^`]*`", row) for row in (english, chinese)]
        assert sorted(commands[0]) == sorted(commands[1]), f"{english}\n{chinese}"


def test_links_are_the_same():
    missing = [link for link in links(ENGLISH) if link not in links(CHINESE)]
    assert not missing, f"{CHINESE} lacks the links {missing}"
    assert links(ENGLISH) == links(CHINESE)


@pytest.mark.parametrize(("name", "other"), [(ENGLISH, CHINESE), (CHINESE, ENGLISH)])
def test_each_links_to_the_other_at_its_top(name, other):
    assert f"({other})" in "\n".join(text(name).splitlines()[:4])
