"""Makes the tables of docs/benchmarks.md that come from committed results.

    python bench/report.py --render|--check

Between `<!-- from: NAME... -->` and `<!-- end -->` stand the machine, the versions, the table and the targets
that were missed, as docs/results/NAME.json has them, which is what a benchmark's --json has written. With
several NAMEs, of runs of one benchmark on one machine, the rounds of rows that are alike count together.
--check exits with 1 when something else stands there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results

Row = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks.md"
RESULTS = ROOT / "docs/results"
MARKS = re.compile(r"(<!-- from: ([\w. -]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = {
    "cold": ("model", "way", "slots_added", "first_s", "compiled_s", "ratio", "kernels", "call_ms"),
    "first_call": ("model", "way", "first_s", "compiled_s", "last_s", "first_ratio", "compiled_ratio"),
    "ranks": ("ranks", "way", "slowest_s", "first_s", "cpu_s", "compile_cpu_s", "ratio", "jobs"),
    "steady": ("model", "stage", "way", "ms", "ratio_to_inductor"),
    "workers": ("way", "workers", "seconds", "efficiency"),
    "strangers": (
        *("strangers", "at", "connections", "per_second", "cpu_us"),
        *("times_plain", "p50_us", "times_elsewhere", "grown_mib"),
    ),
    "peers": ("way", "process", "answer_s", "compiled_s"),
}
"""What is shown of a benchmark; of one that is not here all that it has."""
HEADS = {
    "slots_added": "slots added",
    "first_s": "first call, s",
    "compiled_s": "to compiled, s",
    "last_s": "to the last stage, s",
    "answer_s": "first answer, s",
    "slowest_s": "slowest rank to compiled, s",
    "cpu_s": "processor, s",
    "compile_cpu_s": "of it to compile, s",
    "first_ratio": "first call, of eager's",
    "compiled_ratio": "to compiled, of Inductor's",
    "ratio": "of Inductor's",
    "call_ms": "a call until then, ms",
    "ratio_to_inductor": "of Inductor's",
    "efficiency": "part of linear",
    "per_second": "a second",
    "cpu_us": "processor, us each",
    "times_plain": "of plain ZeroMQ's",
    "p50_us": "a client's lookup, us",
    "times_elsewhere": "of that while they are at the other",
    "grown_mib": "MiB more after them",
    "jobs": "compiles",
}


def merged(documents: Sequence[Row]) -> Row:
    """One document with the rounds of all. Raises ValueError for those that do not belong together."""
    first = documents[0]
    for other in documents[1:]:
        if any(other[part] != first[part] for part in ("name", "versions")):
            raise ValueError(f"two results of {first['name']} are of other versions or of {other['name']}")
    rows: dict[tuple[Any, ...], Row] = {}
    for document in documents:
        for row in document["rows"]:
            alike = tuple((k, v) for k, v in row.items() if isinstance(v, str | int) and k != "rounds")
            own = rows.setdefault(alike, {})
            for name, value in row.items():
                known = own.get(name)
                own[name] = known + value if isinstance(known, list) else value
    targets = [target for document in documents for target in document["targets"]]
    return {**first, "rows": list(rows.values()), "targets": targets}


def facts(document: Row) -> str:
    """A sentence on machine and versions."""
    machine, versions = document["machine"], document["versions"]
    gpu = f", {machine['gpu']} (driver {machine['gpu_driver']})" if "gpu" in machine else ""
    made = f", {versions['compiler']}" if "compiler" in versions else ""
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}{gpu}; "
        f"Python {versions['python']}, torch {versions['torch']}, fxfarm {versions['fxfarm']}{made}."
    )


def rendered(document: Row) -> str:
    """What stands between two marks."""
    rows = document["rows"]
    known = list(dict.fromkeys(name for row in rows for name in row))
    columns = [name for name in COLUMNS.get(document["name"], known) if name in known]
    lines = [[HEADS.get(name, name) for name in columns], ["---"] * len(columns)]
    lines += [[results.shown(row.get(name)) for name in columns] for row in rows]
    text = [facts(document), "", *("| " + " | ".join(line) + " |" for line in lines)]
    missed = [target["target"] for target in document["targets"] if not target["met"]]
    if document["targets"]:
        text += ["", "All targets were met." if not missed else "Missed: " + "; ".join(missed) + "."]
    return "\n".join(text) + "\n"


def page(text: str, directory: Path) -> str:
    """The page with each marked table made anew. Raises OSError for a result that is not there."""

    def made(match: re.Match[str]) -> str:
        names = match[2].split()
        found = [json.loads((directory / f"{name}.json").read_text()) for name in names]
        return match[1] + rendered(merged(found)) + match[3]

    return MARKS.sub(made, text)


def main(argv: Sequence[str]) -> int:
    """1 when --check finds another table than there should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--render", action="store_true", help="write the page")
    what.add_argument("--check", action="store_true", help="only look")
    options = parser.parse_args(argv)
    before = PAGE.read_text()
    after = page(before, RESULTS)
    if options.render:
        PAGE.write_text(after)
    elif after != before:
        print("docs/benchmarks.md is not what docs/results says; scripts/bench --render", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
