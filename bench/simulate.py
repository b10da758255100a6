"""A farm of 10 000 workers and 100 000 clients through a day with failures, in simulated time, and a steady
farm beside what queueing theory says of it.

    python bench/simulate.py [--plot FILE] [--json FILE]

The coordinators are the real ones: scheduler, job table, leases, rendezvous. Network and store are left out;
the time of a compile is drawn from an exponential distribution. "steady" is M/M/c, whose mean wait and whose
part of jobs that wait Erlang's C formula gives.

Coordinators share no store, so an artifact is compiled once more by one that clients ask while another is
away, and by that one when it is back: "repeated_elsewhere". What a coordinator has itself it never has made
again: "repeated_here".
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import results

STEADY = {"workers": 100, "models_per_hour": 5_700, "first_seconds": 60, "hours": 24}
DAY = {
    **{"workers": 10_000, "coordinators": 4, "hours": 24, "models_per_hour": 1_050, "swing": 0.5},
    **{"ranks_max": 64, "graphs_max": 64, "models": 200_000, "stages": 2},
    **{"first_seconds": 300, "later_factor": 4},
    **{"worker_failures_per_hour": 100, "coordinator_failures_per_hour": 0.2},
}
ERLANG_ERROR_MAX = 0.15
"""A day of the steady farm has a hundred thousand jobs, whose waits are far from independent."""
WAITED_S = 1e-6


def simulated(shape: Mapping[str, float]) -> dict[str, Any]:
    """What bench/micro/simulate.cpp prints, with "real_seconds"."""
    program = harness.micro_program("fxfarm_simulate")
    begin = time.monotonic()
    words = [f"{key}={value}" for key, value in shape.items()]
    found: dict[str, Any] = json.loads(
        subprocess.run([str(program), *words], stdout=subprocess.PIPE, check=True).stdout
    )
    return {**found, "real_seconds": time.monotonic() - begin}


def erlang_c(servers: int, offered: float) -> float:
    """The part of jobs that wait in M/M/c; `offered`, arrival rate times service time, is below `servers`."""
    blocked = 1.0
    for n in range(1, servers + 1):  # Erlang's B by its recursion, which does not overflow
        blocked = offered * blocked / (n + offered * blocked)
    load = offered / servers
    return blocked / (1 - load * (1 - blocked))


def row_of(name: str, shape: Mapping[str, float], found: dict[str, Any], stage: str) -> dict[str, Any]:
    """One row: the waits of one stage and what concerns the whole run."""
    waits = found[f"{stage}_waits"]
    slot_seconds = shape["workers"] * shape["hours"] * 3600
    return {
        **{"run": name, "stage": stage, "clients": found["clients"], "compiles": found["compiles"]},
        "utilization": found["busy_seconds"] / slot_seconds,
        "waited": sum(wait > WAITED_S for wait in waits) / len(waits),
        "mean_s": sum(waits) / len(waits),
        **{f"p{percent}_s": results.percentile(waits, percent) for percent in (50, 95, 99)},
        **{name: found[name] for name in ("repeated_elsewhere", "repeated_here", "failed")},
        **{name: found[name] for name in ("worker_failures", "coordinator_failures")},
        "real_s": found["real_seconds"],
    }


def main(argv: Sequence[str]) -> int:
    """Simulates and prints; 1 when the steady farm is far from the formula or a stage failed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--plot", metavar="FILE", help="draw the day (needs matplotlib)")
    options = parser.parse_args(argv)
    report = results.Report("simulate")
    steady, day = simulated(STEADY), simulated(DAY)
    row = row_of("steady", STEADY, steady, "first")
    report.add(**row)
    for stage in ("first", "later"):
        report.add(**row_of("day", DAY, day, stage))
    servers = int(STEADY["workers"])
    offered = STEADY["models_per_hour"] / 3600 * STEADY["first_seconds"]
    waits = erlang_c(servers, offered)
    mean_s = waits * STEADY["first_seconds"] / (servers - offered)
    report.add(run="steady", stage="Erlang C", utilization=offered / servers, waited=waits, mean_s=mean_s)
    report.hold("steady: part that waits, off by", [abs(row["waited"] / waits - 1)], ERLANG_ERROR_MAX)
    report.hold("steady: mean wait, off by", [abs(row["mean_s"] / mean_s - 1)], ERLANG_ERROR_MAX)
    report.demand("day: every stage is served", day["failed"] == 0)
    again = steady["repeated_here"] + steady["repeated_elsewhere"] + day["repeated_here"]
    report.demand("a coordinator compiles nothing that it has", again == 0)
    if options.plot:
        plot(day, Path(options.plot))
    return report.finish(options.json)


def plot(day: dict[str, Any], file: Path) -> None:
    """The slots that are busy over the day, and how many jobs waited at least so long."""
    import matplotlib.pyplot as plt

    figure, (busy, waits) = plt.subplots(1, 2, figsize=(11, 4))
    busy.plot([hour for hour, _ in day["busy"]], [part for _, part in day["busy"]])
    busy.set(xlabel="hour", ylabel="busy slots", ylim=(0, 1))
    for stage in ("first", "later"):
        ordered = sorted(day[f"{stage}_waits"], reverse=True)
        waits.loglog(ordered, [(i + 1) / len(ordered) for i in range(len(ordered))], label=f"{stage} stage")
    waits.set(xlabel="seconds in the queue, at least", ylabel="part of the jobs")
    waits.legend()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
