"""Ranks of one host that compile the same model at once.

    python bench/ranks.py [--model gpt2] [--ranks 8] [--inductor] [--json FILE]

Every rank is a process that starts together with the others, with a farm that does not run yet. Shown are the
compiles that were started for them all, and the time to each rank's first compiled answer. --inductor
measures the same ranks with Inductor and one cache directory for them all, as torchrun leaves it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import results
from second_process import SWITCH_S_MAX

MEET_S_MAX = 300.0


def rank(way: str, model: str, meeting: str, number: int, ranks: int) -> dict[str, float]:
    """Meets the others, then calls the model until it runs compiled code."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    compiled = harness.compiled(module, way)
    Path(meeting, str(number)).touch()
    if not harness.wait_until(lambda: len(list(Path(meeting).iterdir())) == ranks, MEET_S_MAX):
        raise RuntimeError("not every rank came")
    with torch.no_grad():
        begin = time.perf_counter()
        compiled(*inputs)
        first = time.perf_counter()
        if way == "fxfarm":
            import fxfarm

            while fxfarm.stats()["compiled_runs"] == 0:
                if time.perf_counter() - first > SWITCH_S_MAX:
                    raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
                compiled(*inputs)
        end = time.perf_counter()
    return {"first_call": first - begin, "compiled": end - begin}


def run_ranks(place: harness.Place, way: str, model: str, ranks: int) -> dict[str, list[float]]:
    """Times of all ranks."""
    meeting, cache = place.fresh("meeting"), place.fresh("shared")
    shared = {"TORCHINDUCTOR_CACHE_DIR": cache} if way == "inductor" else {}
    children = [
        place.start(rank, variables=shared, way=way, model=model, meeting=meeting, number=n, ranks=ranks)
        for n in range(ranks)
    ]
    found = [child.result() for child in children]
    return {f"{name}_s": [one[name] for one in found] for name in found[0]}


def farm_counters(place: harness.Place) -> dict[str, Any]:
    """What the place's local farm has counted."""
    socket = next(place.root.glob("run/fxfarm/*.sock"))
    command = [harness.fxfarm_program(), "stats", "--json", "--endpoint", f"ipc://{socket}"]
    answer = subprocess.run(command, env=place.environment(), capture_output=True, check=True, text=True)
    counters: dict[str, Any] = json.loads(answer.stdout)
    return counters


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when there was more than one job."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="gpt2", choices=cpu_models.MODELS)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--inductor", action="store_true", help="measure Inductor too")
    options = parser.parse_args(argv)
    report = results.Report("ranks")
    with harness.Place() as place:
        times = run_ranks(place, "fxfarm", options.model, options.ranks)
        jobs = started_jobs(farm_counters(place))
    report.add(way="fxfarm", ranks=options.ranks, jobs=jobs, slowest_s=max(times["compiled_s"]), **times)
    if options.inductor:
        with harness.Place() as place:
            times = run_ranks(place, "inductor", options.model, options.ranks)
        report.add(way="inductor", ranks=options.ranks, slowest_s=max(times["compiled_s"]), **times)
    report.demand(f"compiles started for all ranks: {jobs}, want 1", jobs == 1)
    return report.finish(options.json)


def started_jobs(counters: dict[str, Any]) -> int:
    """The compiles that a farm has started."""
    return int(counters["values"]["jobs_started"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
