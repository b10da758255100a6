"""How the time of many compiles falls with the number of workers.

    python bench/workers.py [--workers 1,2,4,8,16] [--graphs 64] [--clients 8] [--rounds 3] [--inductor]
        [--seconds 7200] [--plot FILE] [--json FILE]

One coordinator and 1 to 16 workers, each with one slot, one core and one compiler at a time. Client processes
ask for `--graphs` different graphs of the same cost at the same moment; "seconds" is from that moment to the
last compiled stage in the last client, tracing and loading included. A round before it, not counted, has
each engine compile a graph. "efficiency" is the time with one worker by the time with n in the same round,
by n. Its median is held to the target as far as there are cores for the workers and one more for all the
rest. --inductor adds Inductor's own pool of compilers in one process, with as many compilers as there are
workers; that process lowers the graphs by itself, one after the other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import harness
import results
from turns import Turns

TARGET = 0.85
READY_S_MAX = 600.0
WIDTH = 64


def graph(number: int) -> tuple[Callable[..., Any], Any]:
    """A function and its input. No two numbers have a kernel in common, and all cost the same to compile."""
    import torch

    class Part(torch.nn.Module):
        """A layer as of a transformer, without its products of matrices, which are not compiled."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.gelu(x * (number + 2)) + x
            x = torch.softmax(x, -1) - x.mean(0, keepdim=True)
            return torch.nn.functional.layer_norm(x, (WIDTH,))

    return Part(), torch.ones(WIDTH, WIDTH)


def compile_all(numbers: Sequence[int], backend: str) -> None:
    """Compiles and calls them once; returns when each has its compiled stage."""
    import torch

    # Each graph is a class of its own with the same code, which Dynamo takes for versions of one function.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 10_000
    torch._dynamo.config.automatic_dynamic_shapes = False
    with torch.no_grad():
        for number in numbers:
            function, given = graph(number)
            harness.compiled(function, backend)(given)
    if backend == "fxfarm":
        import fxfarm

        if not fxfarm.wait(timeout=READY_S_MAX):
            raise RuntimeError(f"not all compiled: {fxfarm.graphs()}")


def client(warm: Sequence[int], numbers: Sequence[int], backend: str, go: str) -> float:
    """CLOCK_MONOTONIC at which everything was compiled; starts when the file `go` is there."""
    compile_all(warm, backend)
    harness.answer_now(0.0)
    if not harness.wait_until(Path(go).exists, READY_S_MAX):
        raise RuntimeError("was not told to go")
    compile_all(numbers, backend)
    ended = time.monotonic()
    harness.answer_now(ended)
    return ended


def timed(
    place: harness.Place, clients: int, warm: Sequence[int], numbers: Sequence[int], **options: Any
) -> float:
    """Seconds that `clients` processes took together for the graphs `numbers`."""
    go = Path(place.fresh("go")) / "go"
    children = [
        place.start(
            client, warm=list(warm[i::clients]), numbers=list(numbers[i::clients]), go=str(go), **options
        )
        for i in range(clients)
    ]
    for child in children:
        if not child.wait_answered(READY_S_MAX):
            raise RuntimeError("a client is not ready in time")
    begin = time.monotonic()
    go.touch()
    return float(max(child.result() for child in children)) - begin


def by_farm(workers: int, clients: int, graphs: int) -> float:
    """Seconds with so many workers."""
    warm = max(workers, clients)
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    with harness.Place() as place, contextlib.ExitStack() as farm:
        socket = f"ipc://{place.root}/farm.sock"
        farm.enter_context(harness.farm_process(place, "coordinator", "--listen", socket, "--metrics", "off"))
        for number in range(workers):
            alone = ["--slots", "1", "--compile-threads", "1", "--nice", "0"]
            own = ["--name", f"w{number}", "--engine-cache-dir", place.fresh("engine")]
            words = ["--coordinators", socket, "--metrics", "off", "--python", sys.executable]
            # Not --engine-cores, by which each would have the same one: the host's last.
            core = ["taskset", "--cpu-list", str(cores[number % len(cores)])]
            farm.enter_context(harness.farm_process(place, "worker", *words, *alone, *own, before=core))
        if not harness.wait_until(lambda: idle(socket) == workers, READY_S_MAX):
            raise RuntimeError("not all workers are ready in time")
        return timed(
            place,
            clients,
            range(graphs, graphs + warm),
            range(graphs),
            backend="fxfarm",
            variables={"FXFARM_ENDPOINTS": socket, "FXFARM_LOCAL": "false"},
        )


def idle(socket: str) -> int:
    """How many workers wait for a job."""
    command = [harness.fxfarm_program(), "status", "--endpoint", socket, "--json"]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return sum(worker["state"] == "idle" for worker in told["workers"])


def by_inductor(compilers: int, graphs: int) -> float:
    """Seconds of one process with a pool of compilers."""
    with harness.Place() as place:
        pool = {"TORCHINDUCTOR_COMPILE_THREADS": str(compilers)}
        warm = [graphs]
        return timed(place, 1, warm, range(graphs), backend="inductor", variables=pool)


def rows(
    report: results.Report, way: str, rounds: Sequence[dict[int, float]], counts: Sequence[int], graphs: int
) -> None:
    """A row for each number of workers."""
    least = counts[0]
    for count in counts:
        found = [one for one in rounds if count in one and least in one]
        if not found:
            continue
        efficiency = [one[least] * least / (one[count] * count) for one in found]
        seconds = [one[count] for one in found]
        report.add(way=way, workers=count, graphs=graphs, seconds=seconds, efficiency=efficiency)
        if way == "fxfarm" and least < count < len(os.sched_getaffinity(0)):
            report.reach(f"{count} workers: part of linear", efficiency, TARGET)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when the farm grows less than the target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", default="1,2,4,8,16")
    parser.add_argument("--graphs", type=int, default=64)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inductor", action="store_true", help="Inductor's own pool, too")
    parser.add_argument("--seconds", type=float, default=7200, help="nothing is begun after it")
    parser.add_argument("--plot", metavar="FILE", help="draw it (needs matplotlib)")
    options = parser.parse_args(argv)
    counts = [int(count) for count in options.workers.split(",")]
    ways: dict[str, Callable[[int], float]] = {
        "fxfarm": lambda count: by_farm(count, options.clients, options.graphs)
    }
    if options.inductor:
        ways["inductor"] = lambda count: by_inductor(count, options.graphs)
    report = results.Report("workers")
    turns = Turns(report, options.seconds)
    rounds: dict[str, list[dict[int, float]]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        for way, measure in ways.items():
            rounds[way].append({})
            # What all are held against is measured first, should there be no time for all.
            for count in counts if turn == 0 else (counts[0], *reversed(counts[1:])):
                seconds = turns.tried(f"{way}, {count}, round {turn + 1}", functools.partial(measure, count))
                if seconds:
                    rounds[way][-1][count] = seconds
    for way, found in rounds.items():
        rows(report, way, found, counts, options.graphs)
    if options.plot:
        plot(report.document["rows"], Path(options.plot))
    return report.finish(options.json)


def plot(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Seconds over the number of workers, with the spread, beside what would be linear."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 4))
    for way in dict.fromkeys(row["way"] for row in found):
        own = [row for row in found if row["way"] == way]
        at = [row["workers"] for row in own]
        median, least, most = zip(*(results.summary(row["seconds"]) for row in own), strict=True)
        below = [m - low for m, low in zip(median, least, strict=True)]
        above = [high - m for m, high in zip(median, most, strict=True)]
        ax.errorbar(at, median, yerr=[below, above], marker="o", label=way)
        ax.plot(at, [median[0] * at[0] / n for n in at], ":", label=f"{way}, if it were linear")
    ax.set(xlabel="workers", ylabel="seconds", xscale="log", yscale="log")
    ax.legend()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
