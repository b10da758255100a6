"""What docs/security.md says is refused has its tests in docs/reference/refusals.md, and those are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = re.findall(r"\*\*([A-Z]\d+)\b", (ROOT / "docs/security.md").read_text())
ROWS = re.findall(
    r"^\| ([A-Z]\d+) \| `([\w/.]+)`: `(\w+)` \| (?:`(\w+)`|none: [^|]{10,}) \|$",
    (ROOT / "docs/reference/refusals.md").read_text(),
    flags=re.MULTILINE,
)


def attacks_in(file: Path) -> dict[str, str]:
    """Their sources by name."""
    text = file.read_text()
    functions = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    return {f.name: ast.get_source_segment(text, f) or "" for f in functions if f.name.startswith("test_")}


def test_each_refusal_has_a_number_of_its_own_and_a_test() -> None:
    assert len(PROMISED) == len(set(PROMISED)) > 30
    assert {number for number, *_ in ROWS} == set(PROMISED)
    table = (ROOT / "docs/reference/refusals.md").read_text().partition("| --- |")[2].splitlines()[1:]
    assert len(ROWS) == len(table), "each has a counter, or says why there can be none"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_the_test_is_there_and_reads_the_counter(row: tuple[str, str, str, str]) -> None:
    _, file, test, counter = row
    attacks = attacks_in(ROOT / file)
    assert test in attacks
    if counter:
        # In the test, by this name or that of `fxfarm stats`, or in what it asks of its module or the farm.
        helpers = (ROOT / "tests/python/farm/keyed_farm.py").read_text()
        in_stats = counter.removeprefix("fxfarm_").removesuffix("_total")
        assert in_stats in attacks[test] or counter in (ROOT / file).read_text() + helpers
        assert f"`{counter}`" in (ROOT / "docs/reference/metrics.md").read_text()


@pytest.mark.parametrize("table", ["| refused |", "| refused further in |", "| in a sandbox |"])
def test_every_line_of_a_table_of_refusals_has_a_number(table: str) -> None:
    """Devices are what they are; that a GPU's are safe has not been tried."""
    text = (ROOT / "docs/security.md").read_text()
    for part in text.split(table)[1:]:
        rows = part.partition("\n\n")[0].splitlines()[2:]
        assert rows
        unnumbered = [r for r in rows if not re.match(r"\| \*\*[A-Z]\d+\*\* ", r)]
        assert [r for r in unnumbered if not r.startswith("| devices |")] == []
