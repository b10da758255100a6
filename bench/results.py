"""What a benchmark found: its rows with the machine and the versions, as a table and as JSON, and which of
its targets are met.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import facts

Row = dict[str, Any]


def summary(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(values), min(values), max(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range as a text."""
    if not values:
        return "-"
    middle, least, most = summary(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


class Report:
    """The rows of one benchmark; printed as a table, written as JSON."""

    def __init__(self, name: str) -> None:
        self.document: Row = {
            **{"name": name, "machine": facts.machine(), "versions": facts.versions()},
            **{"rows": [], "targets": []},
        }

    def add(self, **row: Any) -> None:
        """One row, told on stderr at once, as the table comes last. Numbers are shown as median and range."""
        self.document["rows"].append(row)
        told = ", ".join(f"{name} {shown(value)}" for name, value in row.items() if value is not None)
        print(f"{self.document['name']}: {told}", file=sys.stderr, flush=True)

    def hold(self, what: str, values: Sequence[float], most: float) -> None:
        """A target: the median of the rounds is to be no more than `most`."""
        median = statistics.median(values)
        self._note(f"{what}: {shown(median)}, at most {shown(most)}", median <= most)

    def reach(self, what: str, values: Sequence[float], least: float) -> None:
        """A target: the median of the rounds is to be no less than `least`."""
        median = statistics.median(values)
        self._note(f"{what}: {shown(median)}, at least {shown(least)}", median >= least)

    def demand(self, what: str, met: bool) -> None:
        """A target that is met or not."""
        self._note(what, met)

    def _note(self, text: str, met: bool) -> None:
        self.document["targets"].append({"target": text, "met": met})

    def keep(self, json_file: str | None) -> None:
        """Writes what there is so far, so that whoever ends a benchmark has that."""
        if json_file:
            Path(json_file).write_text(json.dumps(self.document, indent=1) + "\n")

    def finish(self, json_file: str | None) -> int:
        """Prints the table and the targets, and writes the file when there is a name for it; 1 when a target
        is missed, else 0: what main returns."""
        self.document["machine"]["load_after"] = os.getloadavg()[0]
        rows = self.document["rows"]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = [columns, *([shown(row.get(name)) for name in columns] for row in rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
        known = {**self.document["machine"], **self.document["versions"]}
        print(self.document["name"] + ": " + ", ".join(f"{k} {v}" for k, v in known.items()))
        for line in table:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        for target in self.document["targets"]:
            print(f"{'met' if target['met'] else 'MISSED'}: {target['target']}")
        self.keep(json_file)
        return 0 if all(target["met"] for target in self.document["targets"]) else 1


def shown(value: Any) -> str:
    """A cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        return spread(value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
