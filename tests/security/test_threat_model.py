"""What docs/security.md says is refused has its tests in docs/reference/refusals.md, and those are there."""

from __future__ import annotations

import ast
import functools
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


HELPERS = ROOT / "tests/python/farm"
Sources = dict[str, list[str]]


@functools.cache
def sources_of(file: Path) -> Sources:
    """By name, what functions, methods and constants of a module are."""
    text = file.read_text()
    found: Sources = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(ast.get_source_segment(text, node) or "")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(ast.get_source_segment(text, node) or "")
    return found


def reached_from(test: str, own: Sources, helpers: Sources) -> str:
    """The test with all that it uses of its module, and of the helpers of its farm, and what these use."""
    reached: set[str] = set()
    coming = {test}
    while coming:
        name = coming.pop()
        reached.add(name)
        used = set(re.findall(r"\w+", " ".join(own.get(name, []) + helpers.get(name, []))))
        coming |= {u for u in used if u in own or u in helpers} - reached
    return "\n".join(text for name in reached for text in own.get(name, []) + helpers.get(name, []))


def reads_a_refusal(file: Path, test: str) -> bool:
    """Of a test in C++ with sockets of its own: by `refused`, which is what that metric is made from."""
    start = re.search(rf"^TEST_F\(\w+, {test}\) {{$", file.read_text(), flags=re.MULTILINE)
    if start is None:
        return False
    body = file.read_text()[start.end() :].partition("\n}\n")[0]
    return "EXPECT_EQ(refused(refusal::" in body


def test_each_refusal_has_a_number_of_its_own_and_a_test() -> None:
    assert len(PROMISED) == len(set(PROMISED)) > 30
    assert {number for number, *_ in ROWS} == set(PROMISED)
    table = (ROOT / "docs/reference/refusals.md").read_text().partition("| --- |")[2].splitlines()[1:]
    assert len(ROWS) == len(table), "each has a counter, or says why there can be none"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_the_test_is_there_and_reads_the_counter(row: tuple[str, str, str, str]) -> None:
    _, file, test, counter = row
    if file.endswith(".cpp"):
        assert reads_a_refusal(ROOT / file, test)
        return
    own = sources_of(ROOT / file)
    assert test.startswith("test_") and test in own
    if counter:
        # By this name, or by that of `fxfarm stats`.
        in_stats = counter.removeprefix("fxfarm_").removesuffix("_total")
        read = reached_from(test, own, sources_of(HELPERS / "keyed_farm.py"))
        assert re.search(rf"\b{counter}\b|\b{in_stats}", read), "the test reads it"
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
