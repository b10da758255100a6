"""`fxfarm.graphs()` as people see it."""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest

from fxfarm import GraphStatus, StageStatus, tables
from fxfarm.tables import GraphList


def stage(state: str = "loaded", source: str = "memory", error: str = "") -> StageStatus:
    return StageStatus("default", "d" * 64, state, source, error, 1.0, 1.25, 0.1, 0.0, {})


def graph(name: str = "GPT2 0/0", error: str = "", *stages: StageStatus) -> GraphStatus:
    runs = {"eager": 2, "default": 3}
    return GraphStatus("abcdef012345" + "0" * 52, name, "default", "", True, stages, runs, {}, 0, error)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback: os.terminal_size((200, 24)))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (
            graph("GPT2 0/0", "", stage()),
            "GPT2 0/0  abcdef012345  default  5      default loaded after 1.25 s from memory",
        ),
        (
            graph("m", "", stage("failed", "", "no_worker: none"), stage("queued", "")),
            "m      abcdef012345  default  5      default failed: no_worker: none; default queued",
        ),
        (
            graph("m", "it holds a socket"),
            "m      abcdef012345  default  5      stays eager: it holds a socket",
        ),
        (
            graph("a\nb\x1b[31m", "", stage("queued", "")),
            "a b [31m  abcdef012345  default  5      default queued",
        ),
    ],
)
def test_a_row_tells_what_a_graph_runs_and_why_not_more(shown: GraphStatus, line: str) -> None:
    head, row = repr(GraphList([shown])).splitlines()
    assert head.split() == ["graph", "key", "runs", "calls", "stages"]
    assert row == line


def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    many = GraphList([graph("n" * 300, "e" * 300), graph("", "", stage(error="x" * 500))])
    for columns in (1, 40, 77):
        size = os.terminal_size((columns, 24))
        monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback, size=size: size)
        assert all(len(line) <= max(columns, tables.COLUMNS_MIN) for line in repr(many).splitlines())
    assert str(many) == repr(many)


@pytest.mark.usefixtures("wide")
def test_long_lists_are_cut_and_say_so() -> None:
    lines = repr(GraphList([graph()] * (tables.ROWS_MAX + 7))).splitlines()
    assert (len(lines), lines[-1]) == (tables.ROWS_MAX + 2, "… and 7 more")
    assert repr(GraphList()).splitlines()[-1] == "no graphs"


def test_a_notebook_gets_a_table_in_which_nothing_is_markup_but_the_table() -> None:
    text = GraphList([graph("<script>alert(1)</script>", "a & b <i>")])._repr_html_()
    assert "<script>" not in text
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in text
    assert "a &amp; b &lt;i&gt;" in text
    assert text.startswith("<table><tr><th>graph</th>")


def test_it_is_a_list() -> None:
    one, two = graph("one"), graph("two")
    both = GraphList([one, two])
    assert both == [one, two]
    assert (both[0], both[-1], len(both), list(both)) == (one, two, 2, [one, two])
    assert isinstance(both[1:], GraphList)
    assert both[1:] == [two]
    (only,) = both[:1]
    assert only is one
    assert dataclasses.replace(one, name="two") == two
