"""How `fxfarm.graphs()` is shown to people: as a table in a terminal and in a notebook."""

from __future__ import annotations

import html
import shutil
from collections.abc import Sequence
from typing import Any, SupportsIndex, overload

from fxfarm.status import GraphStatus, StageStatus

ROWS_MAX = 100
"""Graphs that a table shows; the list has all of them."""
COLUMNS_MIN = 40
KEY_DIGITS = 12
HEAD = ("graph", "key", "runs", "calls", "stages")
_GONE = "\N{HORIZONTAL ELLIPSIS}"


class GraphList(list[GraphStatus]):
    """A list that is shown as a table."""

    def __repr__(self) -> str:
        """At most as wide as the terminal, or as 80 columns where there is none."""
        width = max(COLUMNS_MIN, shutil.get_terminal_size((80, 24)).columns)
        return "\n".join(_lines(rows_of(self), width) + _rest(self))

    def _repr_html_(self) -> str:
        """For notebooks."""
        head, *body = rows_of(self)
        rows = [_html_row("th", head), *(_html_row("td", row) for row in body)]
        rest = "".join(f"<p>{html.escape(line)}</p>" for line in _rest(self))
        return f"<table>{''.join(rows)}</table>{rest}"

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> GraphStatus: ...
    @overload
    def __getitem__(self, index: slice, /) -> GraphList: ...
    def __getitem__(self, index: Any, /) -> Any:
        """A part of the list is shown alike."""
        found = super().__getitem__(index)
        return GraphList(found) if isinstance(index, slice) else found


def rows_of(graphs: Sequence[GraphStatus]) -> list[tuple[str, ...]]:
    """Rows of texts, the first one the head."""
    return [HEAD, *(_row(graph) for graph in graphs[:ROWS_MAX])]


def _row(graph: GraphStatus) -> tuple[str, ...]:
    said = "; ".join(map(_stage_text, graph.stages))
    if graph.error:
        said = f"stays eager: {graph.error}"
    calls = str(sum(graph.runs.values()))
    return (_plain(graph.name), graph.key[:KEY_DIGITS], graph.stage, calls, _plain(said))


def _stage_text(stage: StageStatus) -> str:
    text = f"{stage.name} {stage.state}"
    if stage.state == "loaded":
        text += f" after {stage.seconds_to_switch:.3g} s"
    if stage.source:
        text += f" from {stage.source}"
    return f"{text}: {stage.error}" if stage.error else text


def _plain(text: str) -> str:
    """On one line, and nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _rest(graphs: Sequence[GraphStatus]) -> list[str]:
    if not graphs:
        return ["no graphs"]
    return [f"{_GONE} and {len(graphs) - ROWS_MAX} more"] if len(graphs) > ROWS_MAX else []


def _html_row(tag: str, row: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"


def _lines(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    # The name gets a third of the width at most; what the stages say ends where the line does.
    widths[0] = min(widths[0], max(len(HEAD[0]), width // 3))
    lines = []
    for row in rows:
        cells = [_cut(cell, most).ljust(most) for cell, most in zip(row, widths, strict=True)]
        lines.append(_cut("  ".join(cells).rstrip(), width))
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + _GONE
