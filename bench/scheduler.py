"""What a scheduling decision costs with up to 10 000 workers and 100 000 queued jobs, and what a queued job
takes of the coordinator's memory.

    python bench/scheduler.py [--rounds 5] [--json FILE]

The farm is full: a decision is the end of one job, the start of whichever comes next, and one new job in the
queue; "with memory" counts that, too, with eight different needs. "turn" is all that a coordinator does for
a decision, without the network and the store; "tick" is what it does every second. Builds bench/micro with
the project's own flags below build/bench-micro.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import harness
import results

DECISION_US_MAX = 10.0
JOB_BYTES_MAX = 2048.0
FLAT_RATIO_MAX = 3.0
"""With 100 times as many jobs: indices are a few levels deeper, and less of them is in the caches."""
FEW, MANY = 1_000, 100_000
WORKERS = 10_000


def measured(rounds: int) -> dict[tuple[str, int, int], dict[str, Any]]:
    """(benchmark, workers, queued) -> "us", the rounds' microseconds, and google-benchmark's last entry."""
    program = harness.micro_program("fxfarm_scheduler_bench")
    command = [str(program), f"--benchmark_repetitions={rounds}", "--benchmark_format=json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for entry in json.loads(done.stdout)["benchmarks"]:
        if entry["run_type"] != "iteration":
            continue
        name, workers, queued = entry["run_name"].split("/")
        row = found.setdefault((name, int(workers), int(queued)), {"us": []})
        row["us"].append(entry["cpu_time"])
        row["entry"] = entry
    return found


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a decision or a job's memory is past its target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    report = results.Report("scheduler")
    found = measured(options.rounds)
    for (name, workers, queued), row in found.items():
        bytes_each = row["entry"].get("bytes_per_job")
        report.add(what=name, workers=workers, queued=queued, us=row["us"], bytes_per_job=bytes_each)
    for name in ("decision", "decision_with_memory"):
        us = found[name, WORKERS, MANY]["us"]
        report.hold(f"{name} with 100 000 jobs, us", us, DECISION_US_MAX)
    for name in ("decision", "decision_with_memory", "coordinator_turn", "coordinator_tick"):
        few, many = (found[name, WORKERS, queued]["us"] for queued in (FEW, MANY))
        ratios = [m / f for f, m in zip(few, many, strict=True)]
        report.hold(f"{name}: times as long with 100 000 jobs as with 1 000", ratios, FLAT_RATIO_MAX)
    bytes_each = found["coordinator_turn", WORKERS, MANY]["entry"]["bytes_per_job"]
    report.hold("bytes for a queued job", [bytes_each], JOB_BYTES_MAX)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
