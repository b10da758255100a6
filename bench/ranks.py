"""Ranks of one host that compile the same model at once.

    python bench/ranks.py [--model gpt2] [--ranks 2,4,8,16] [--ways fxfarm,new-host,...]
        [--rounds 3] [--threads 1] [--seconds 7200] [--json FILE]

Every rank is a process with `--threads` threads for torch, as torchrun leaves it, that makes its first call
together with the others. With "fxfarm" no farm runs, and the ranks share the one that the first of them
starts; the host has had one before, save with "new-host", where an engine makes its headers first.
"inductor" has a cache directory for each rank, "shared" one for them all, as torchrun leaves it; "redis" has
one for each, and Inductor's remote caches (the package `redis` and redis-server are needed).

"slowest_s" is from the first rank's first call to the moment when all have run compiled code, "first_s" the
first call of the slowest. "cpu_s" is the processor time of all processes from the ranks' start to the last
rank's end, engines and compilers included; "compile_cpu_s" is that less what as many ranks take with
`backend="eager"` in the same round. "ratio" is "compile_cpu_s" in terms of "inductor". Between its first
call and the compiled stage a rank does not call the model. For fxfarm the compiles that were started for all
ranks have to be one.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cold
import cpu_models
import cpu_time
import harness
import peers
import results
from second_process import SWITCH_S_MAX
from turns import Turns

Found = dict[str, Any]

MEET_S_MAX = 600.0
EAGER, FXFARM, INDUCTOR, SHARED, REDIS = "eager", "fxfarm", "inductor", "shared", "redis"
NEW_HOST = "new-host"
FARMED = (FXFARM, NEW_HOST)
WAYS = (*FARMED, INDUCTOR, SHARED, REDIS)


def rank(backend: str, model: str, meeting: str, number: int, ranks: int) -> dict[str, float]:
    """Meets the others, then calls the model, and again once there is compiled code. The moments are of
    CLOCK_MONOTONIC, which all ranks have in common."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    compiled = harness.compiled(module, backend)
    Path(meeting, str(number)).touch()
    if not harness.wait_until(lambda: len(list(Path(meeting).iterdir())) == ranks, MEET_S_MAX):
        raise RuntimeError("not every rank came")
    with torch.no_grad():
        begin = time.monotonic()
        compiled(*inputs)
        first = time.monotonic()
        if backend == FXFARM:
            import fxfarm

            if not fxfarm.wait(timeout=SWITCH_S_MAX):
                raise RuntimeError(f"not compiled: {fxfarm.graphs()}")
            compiled(*inputs)
            if fxfarm.stats()["compiled_runs"] == 0:
                raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
    return {"begin": begin, "first": first - begin, "end": time.monotonic()}


def run_ranks(place: harness.Place, way: str, model: str, ranks: int, variables: dict[str, str]) -> Found:
    """What is told of all ranks."""
    meeting = place.fresh("meeting")
    told: Found = {"model": model, "meeting": meeting, "ranks": ranks}
    backend = FXFARM if way in FARMED else EAGER if way == EAGER else INDUCTOR
    children = [
        place.start(rank, variables=variables, backend=backend, number=number, **told)
        for number in range(ranks)
    ]
    found = [child.result() for child in children]
    slowest = max(one["end"] for one in found) - min(one["begin"] for one in found)
    return {"slowest": slowest, "first": max(one["first"] for one in found)}


def measured(way: str, model: str, ranks: int, threads: int) -> Found:
    """All ranks once, in a place of their own. Raises Missing."""
    with contextlib.ExitStack() as needed:
        variables = {"OMP_NUM_THREADS": str(threads)}
        if way == REDIS:
            variables |= needed.enter_context(peers.redis())
        with harness.Place() as place:
            if way == FXFARM:
                cold.farm_before(place)
            if way != REDIS:
                # Also of what an earlier one that failed has left nothing counts here.
                cpu_time.stopped(place)
            before = cpu_time.spent()
            if way == SHARED:
                variables["TORCHINDUCTOR_CACHE_DIR"] = place.fresh("shared")
            found = run_ranks(place, way, model, ranks, variables)
            if way in FARMED:
                found["jobs"] = started_jobs(farm_counters(place))
            found["cpu"] = cpu_time.spent() - before
            needed.close()
            cpu_time.stopped(place)
    return found


def farm_counters(place: harness.Place) -> dict[str, Any]:
    """What the place's local farm has counted."""
    socket = next(place.root.glob("run/fxfarm/*.sock"))
    command = [harness.fxfarm_program(), "stats", "--json", "--endpoint", f"ipc://{socket}"]
    answer = subprocess.run(command, env=place.environment(), capture_output=True, check=True, text=True)
    counters: dict[str, Any] = json.loads(answer.stdout)
    return counters


def started_jobs(counters: dict[str, Any]) -> int:
    """The compiles that a farm has started."""
    return int(counters["values"]["jobs_started"])


def rows(report: results.Report, model: str, ranks: int, rounds: Sequence[dict[str, Found]]) -> None:
    """A row of each way that was measured with so many ranks."""
    for way in (EAGER, *WAYS):
        found = [one for one in rounds if way in one and EAGER in one]
        if not found:
            continue
        columns: Found = {f"{name}_s": [one[way][name] for one in found] for name in ("slowest", "first")}
        columns["cpu_s"] = [one[way]["cpu"] for one in found]
        if way != EAGER:
            columns["compile_cpu_s"] = [above_eager(one, way) for one in found]
            beside = [one for one in found if INDUCTOR in one]
            if way != INDUCTOR and beside:
                columns["ratio"] = [above_eager(one, way) / above_eager(one, INDUCTOR) for one in beside]
        if way in FARMED:
            jobs = columns["jobs"] = [one[way]["jobs"] for one in found]
            report.demand(
                f"{ranks} ranks, {way}: compiles started for them all: {jobs}, want 1", set(jobs) == {1}
            )
        report.add(model=model, ranks=ranks, way=way, **columns)


def above_eager(found: dict[str, Found], way: str) -> float:
    """Processor seconds over those of ranks that do not compile."""
    return float(found[way]["cpu"] - found[EAGER]["cpu"])


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when there was more than one job."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="gpt2", choices=cpu_models.MODELS)
    parser.add_argument("--ranks", default="2,4,8,16")
    parser.add_argument("--ways", default=",".join(WAYS), help='beside "eager"')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads in a rank")
    parser.add_argument("--seconds", type=float, default=7200, help="nothing is begun after it")
    options = parser.parse_args(argv)
    report = results.Report("ranks")
    cpu_time.adopt()
    ways, turns = [EAGER, *options.ways.split(",")], Turns(report, options.seconds)
    for ranks in map(int, options.ranks.split(",")):
        rounds: list[dict[str, Found]] = []
        for turn in range(options.rounds):
            rounds.append({})
            for way in ways if turn % 2 == 0 else reversed(ways):
                measure = functools.partial(measured, way, options.model, ranks, options.threads)
                if found := turns.tried(f"{ranks} ranks, {way}, round {turn + 1}", measure):
                    rounds[-1][way] = found
        rows(report, options.model, ranks, rounds)
        report.keep(options.json)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
