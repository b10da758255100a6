"""How long a graph that nobody has compiled takes to its compiled stage, as idle slots are added to the farm.

    python bench/cold.py [--models bert4] [--slots 0,2,8] [--rounds 3] [--json FILE]

The model's process and one worker have the same two cores, the host; the worker has one slot. Each of the
`--slots` that are added is a worker of its own on one other core, and idle: it compiles kernels of the job
([how](../docs/decisions/kernels.md)). All engines are warm and have no kernels, as on a farm that runs; the
local cache of the model's process is empty. "compiled" is from the first call to the end of the first call
that runs compiled code; between the two the model is not called, as it cannot be while Inductor compiles.
"kernels" is how many of the kernels were made elsewhere. Inductor, with its pool of compilers, is measured on
the same two cores, its first call and what it imports included, in turns with the others. The ratio to it is
held to 0.9 without slots that are added, and to 0.5 with eight, as far as there are cores for them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import results

HOST_CORES = 2
ALONE_TARGET, HELPED_TARGET, HELPED_SLOTS = 0.9, 0.5, 8
READY_S_MAX = 300.0


def time_to_compiled(backend: str, model: str, go: str) -> dict[str, float]:
    """Seconds from the first call in this process, which is made once the file `go` is there."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    run = harness.compiled(module, backend)
    if not harness.wait_until(Path(go).exists, READY_S_MAX):
        raise RuntimeError("was not told to go")
    with torch.no_grad():
        begin = time.perf_counter()
        run(*inputs)
        first = time.perf_counter() - begin
        if backend == "fxfarm":
            import fxfarm

            if not fxfarm.wait(timeout=READY_S_MAX):
                raise RuntimeError(f"not compiled: {fxfarm.graphs()}")
            run(*inputs)
        return {"first": first, "compiled": time.perf_counter() - begin}


def on_cores(cores: Sequence[int]) -> list[str]:
    """A command that runs another on those cores alone."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def by_farm(model: str, added: int) -> dict[str, float]:
    """One cold compile with so many idle slots beside the host's own."""
    cores = sorted(os.sched_getaffinity(0))
    host, others = cores[:HOST_CORES], cores[HOST_CORES:] or cores
    with harness.Place() as place, contextlib.ExitStack() as farm:
        socket = f"ipc://{place.root}/farm.sock"
        words = ["--listen", socket, "--metrics", "off"]
        farm.enter_context(harness.farm_process(place, "coordinator", *words, before=on_cores(host)))

        def worker(name: str, own_cores: Sequence[int]) -> None:
            words = ["--coordinators", socket, "--metrics", "off", "--python", sys.executable, "--slots", "1"]
            own = ["--name", name, "--engine-cache-dir", place.fresh("engine"), "--nice", "0"]
            farm.enter_context(
                harness.farm_process(place, "worker", *words, *own, before=on_cores(own_cores))
            )

        worker("host", host)
        for number in range(added):
            worker(f"added{number}", [others[number % len(others)]])
        variables = {"FXFARM_ENDPOINTS": socket, "FXFARM_LOCAL": "false"}
        go = Path(place.fresh("go")) / "go"
        child = place.start(
            time_to_compiled,
            backend="fxfarm",
            model=model,
            go=str(go),
            variables=variables,
            before=on_cores(host),
        )
        if not harness.wait_until(lambda: warm(socket) == 1 + added, READY_S_MAX):
            raise RuntimeError("not all engines are warm in time")
        go.touch()
        told: dict[str, float] = child.result()
        return {**told, "kernels": asked(socket, "stats")["values"].get("kernels_asked_made", 0)}


def by_inductor(model: str) -> dict[str, float]:
    """The same with Inductor in the model's process."""
    cores = sorted(os.sched_getaffinity(0))[:HOST_CORES]
    with harness.Place() as place:
        at_once = place.fresh("go")
        told: dict[str, float] = place.run(
            time_to_compiled, backend="inductor", model=model, go=at_once, before=on_cores(cores)
        )
        return told


def asked(socket: str, what: str) -> dict[str, Any]:
    """The farm's answer to that command."""
    command = [harness.fxfarm_program(), what, "--endpoint", socket, "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer


def warm(socket: str) -> int:
    """How many workers have an engine that takes jobs and kernels."""
    return sum(w["state"] == "idle" and w["can_help"] for w in asked(socket, "status")["workers"])


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="bert4")
    parser.add_argument("--slots", default="0,2,8", help="numbers of idle slots that are added")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    added = [int(count) for count in options.slots.split(",")]
    report = results.Report("cold")
    for model in options.models.split(","):
        rounds = []
        for turn in range(options.rounds):
            ways: list[int | None] = [None, *added]
            found = {}
            for way in ways if turn % 2 == 0 else reversed(ways):
                found[way] = by_inductor(model) if way is None else by_farm(model, way)
            rounds.append(found)
        floor = [one[None]["compiled"] for one in rounds]
        report.add(model=model, way="inductor", first_s=floor, compiled_s=floor)
        for count in added:
            each = [one[count] for one in rounds]
            ratio = [one["compiled"] / least for one, least in zip(each, floor, strict=True)]
            report.add(
                model=model,
                way="fxfarm",
                slots_added=count,
                first_s=[one["first"] for one in each],
                compiled_s=[one["compiled"] for one in each],
                ratio=ratio,
                kernels=[one["kernels"] for one in each],
            )
            target = {0: ALONE_TARGET, HELPED_SLOTS: HELPED_TARGET}.get(count)
            if target is not None and len(os.sched_getaffinity(0)) >= HOST_CORES + count:
                report.hold(f"{model}: {count} slots added: part of Inductor's time", ratio, target)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
