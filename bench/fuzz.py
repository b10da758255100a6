"""What the parsers of others' words stand: made-up input, millions of it for each fuzz target of tests/fuzz,
under the address and undefined sanitizers.

    python bench/fuzz.py [--runs N] [--targets codec,config] [--json FILE]

"coverage" counts edges of the code that an input has passed: those that the seeds reach, and those at the
end. A target ends at the first input for which something does not hold: "crashes".
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import results

ROOT = Path(__file__).resolve().parent.parent
RUNS = 10_000_000


def row_of(target: str, log: str) -> dict[str, Any]:
    """What libFuzzer has said of a target."""
    seeds = re.search(r"INITED cov: (\d+)", log)
    end = re.findall(r"\bcov: (\d+)", log)
    counts = dict(re.findall(r"^stat::(\w+): +(\d+)", log, re.MULTILINE))
    return {
        "target": target,
        "runs": int(counts.get("number_of_executed_units", 0)),
        "per_second": int(counts.get("average_exec_per_sec", 0)),
        "coverage_of_seeds": int(seeds[1]) if seeds else 0,
        "coverage": int(end[-1]) if end else 0,
        "memory_mb": int(counts.get("peak_rss_mb", 0)),
        "crashes": 0 if re.search(r"^Done \d+ runs", log, re.MULTILINE) else 1,
    }


def main(argv: Sequence[str]) -> int:
    """Fuzzes and prints; 1 when a target broke, had too few inputs or went nowhere beyond its seeds."""
    script = str(ROOT / "scripts/fuzz")
    parser = harness.parser(__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="inputs for each target")
    parser.add_argument("--targets", default="", help="some of them, with commas")
    options = parser.parse_args(argv)
    known = subprocess.run([script, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    targets = options.targets.split(",") if options.targets else known
    command = [script, "--from-seeds", "--runs", str(options.runs), *targets]
    # Its end says what the rows do; that it could not be built says no row.
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode not in (0, 1):
        return 1
    report = results.Report("fuzz")
    for target in targets:
        row = row_of(target, (ROOT / f"build/fuzz/logs/{target}.log").read_text(errors="replace"))
        report.add(**row)
        report.demand(f"{target}: nothing broke", row["crashes"] == 0)
        report.reach(f"{target}: inputs", [row["runs"]], options.runs)
        report.demand(f"{target}: goes beyond its seeds", row["coverage"] > row["coverage_of_seeds"])
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
