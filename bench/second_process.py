"""How soon a second process runs compiled code, and which programs it starts for it.

    python bench/second_process.py [--model gpt2] [--rounds 3] [--inductor] [--redis] [--json FILE]

A first process fills the farm. Each later one has an Inductor cache directory of its own, empty, and a CXX
that cannot work. "after" is the time from the first call's return to the end of the first compiled call;
"total" counts the first call too, and there Inductor, whose first call is the compiled one, can be compared.
The median of "after" over the rounds is held to the target. A run of its own under strace, without which the
benchmark fails, lists the programs that the process starts: no compiler may be among them.

--inductor measures Inductor with its local cache warm; --redis with a warm Redis cache (a server at
localhost:6379 and the package `redis` are needed) and everything else empty.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import results

TARGET_S = 1.0
SWITCH_S_MAX = 600.0
COMPILERS = re.compile(
    r"(^|-)(g\+\+|gcc|c\+\+|cc1plus|clang(\+\+)?|collect2|ld(\.\w+)?|lld|mold|as|nvcc|ptxas)(-\d+)?$"
)
NO_COMPILER = {"CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}
REDIS = {"TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1", "TORCHINDUCTOR_AUTOGRAD_REMOTE_CACHE": "1"}


def until_compiled(model: str) -> dict[str, float]:
    """Calls the model until a compiled stage has answered."""
    import torch

    import fxfarm

    module, inputs, _ = cpu_models.build(model)
    compiled = harness.compiled(module, "fxfarm")
    with torch.no_grad():
        begin = time.perf_counter()
        compiled(*inputs)
        first = time.perf_counter()
        calls = 1
        while fxfarm.stats()["compiled_runs"] == 0:
            if time.perf_counter() - first > SWITCH_S_MAX:
                raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
            compiled(*inputs)
            calls += 1
        end = time.perf_counter()
    stage = fxfarm.graphs()[0].stages[-1]
    return {
        "first_call": first - begin,
        "after": end - first,
        "total": end - begin,
        "calls": calls,
        "load": stage.seconds_load,
        "to_ready": stage.seconds_to_ready,
        "to_switch": stage.seconds_to_switch,
    }


def inductor_call(model: str) -> dict[str, float]:
    """The first call with Inductor."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    compiled = harness.compiled(module, "inductor")
    with torch.no_grad():
        begin = time.perf_counter()
        compiled(*inputs)
        end = time.perf_counter()
    return {"first_call": end - begin, "after": 0.0, "total": end - begin}


def programs(trace: Path) -> list[str]:
    """The programs that were started, after the first, which is the measured process. A line that another
    thread's line interrupts does not say how it ended; it counts."""
    pattern = re.compile(r'execve(?:at)?\((?:[^"]*)"([^"]+)".*(?:= 0|unfinished \.\.\.>)$')
    found = [m.group(1) for line in trace.read_text().splitlines() if (m := pattern.search(line))]
    return [Path(path).name for path in found[1:]]


def watched(place: harness.Place, model: str) -> dict[str, Any]:
    """The programs of a process that switches."""
    trace = Path(place.fresh("trace")) / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o", str(trace)]
    place.run(until_compiled, variables=NO_COMPILER, before=strace, model=model)
    started = programs(trace)
    return {"programs": started, "compilers": [name for name in started if COMPILERS.search(name)]}


def inductor_rows(
    report: results.Report, model: str, rounds: int, way: str, variables: dict[str, str]
) -> None:
    """Inductor with a cache that an earlier process has filled: a directory, or Redis alone."""
    for _ in range(rounds):
        with harness.Place() as place:
            kept = {} if way == "redis" else {"TORCHINDUCTOR_CACHE_DIR": place.fresh("kept")}
            cold = place.run(inductor_call, variables={**variables, **kept}, model=model)
            warm = place.run(inductor_call, variables={**variables, **kept}, model=model)
        report.add(way=f"inductor, {way}, cold", **seconds([cold]))
        report.add(way=f"inductor, {way}, warm", **seconds([warm]))


def seconds(found: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Columns of several runs."""
    return {f"{name}_s" if name != "calls" else name: [one[name] for one in found] for name in found[0]}


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="gpt2", choices=cpu_models.MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inductor", action="store_true", help="measure Inductor's local cache too")
    parser.add_argument("--redis", action="store_true", help="measure Inductor's Redis cache too")
    options = parser.parse_args(argv)
    if shutil.which("strace") is None:
        print("second_process: strace is missing; scripts/packages installs it", file=sys.stderr)
        return 1
    report = results.Report("second_process")
    with harness.Place() as place:
        report.add(way="fxfarm, farm cold", **seconds([place.run(until_compiled, model=options.model)]))
        warm = [
            place.run(until_compiled, variables=NO_COMPILER, model=options.model)
            for _ in range(options.rounds)
        ]
        seen = watched(place, options.model)
        columns = seconds(warm)
        report.add(way="fxfarm, farm warm", **columns, target=TARGET_S, **seen)
        report.hold("seconds from the first call's return to compiled code", columns["after_s"], TARGET_S)
        compilers = " ".join(seen["compilers"]) or "none"
        report.demand(f"compilers started: {compilers}", not seen["compilers"])
    if options.inductor:
        inductor_rows(report, options.model, options.rounds, "local cache", {})
    if options.redis:
        inductor_rows(report, options.model, options.rounds, "redis", REDIS)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
