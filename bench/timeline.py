"""Latency of every call from the first to ten seconds after the last switch: what the switch costs the calls.

    python bench/timeline.py [--models mlp,bert4,deep,parts] [--ways fxfarm,inductor,async,progressive]
        [--farm warm] [--threads 1] [--rounds 3] [--plot FILE] [--json FILE]

A process first calls the model with `backend="eager"`, which is what the calls take without the load;
then it compiles the model anew and calls it in a loop. "over_median" and "over_worst" are in
milliseconds: median and worst of the calls before the switch, and of those from the switch on, less the
same figure of the calls without the load (for those after the switch: of the compiled calls of the last
five seconds). The first call traces and is told apart, as "first_s": some compile within it. With `--farm
warm` another process has filled the farm, so that no compile takes the processor while the stage is
loaded; `--farm cold` includes the compile. "async" and "progressive" are PyTorch's own modes, with its
caches off, which they need; they compile in a process of their own. Where the first call waits for compiled
code, as with "inductor", or a mode that has nothing to send, it is the switch.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import results

TARGET_MS = 10.0
BEFORE_S = 3.0
AFTER_S = 10.0
LAST_S = 5.0
SWITCH_S_MAX = 600.0
LOOK_S = 0.25
UPSTREAM = {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_AUTOGRAD_CACHE": "0"}
VARIABLES = {
    "async": {**UPSTREAM, "TORCHINDUCTOR_FX_COMPILE_MODE": "ASYNC+SUBPROCESS"},
    "progressive": {**UPSTREAM, "TORCHINDUCTOR_FX_COMPILE_MODE": "PROGRESSIVE+SUBPROCESS"},
}


def timeline(way: str, model: str, threads: int) -> dict[str, Any]:
    """What the first call took, and latencies in milliseconds: [seconds since its end, latency]."""
    import torch

    torch.set_num_threads(threads)
    module, inputs, _ = cpu_models.build(model)
    with torch.no_grad():
        without = harness.compiled(module, "eager")
        for _ in range(3):
            without(*inputs)
        end = time.perf_counter() + BEFORE_S
        quiet = []
        while time.perf_counter() < end:
            begin = time.perf_counter()
            without(*inputs)
            quiet.append((time.perf_counter() - begin) * 1e3)
        torch._dynamo.reset()
        compiled = harness.compiled(module, way if way in ("eager", "fxfarm") else "inductor")
        begin = time.perf_counter()
        compiled(*inputs)
        first_s = time.perf_counter() - begin
        calls = recorded(lambda: compiled(*inputs), runs_of(way))
    return {"quiet": quiet, "first_s": first_s, **calls}


def runs_of(way: str) -> Callable[[], tuple[int, bool]] | None:
    """A function that says how many calls ran compiled code, and whether the last switch has been. None when
    the first call has been the switch."""
    if way in ("eager", "inductor"):
        return None
    if way == "fxfarm":
        import fxfarm

        def ours() -> tuple[int, bool]:
            graphs = fxfarm.graphs()
            failed = [stage.error for graph in graphs for stage in graph.stages if stage.state == "failed"]
            if failed:
                raise RuntimeError(f"a stage failed: {failed}")
            # Of the graph that was switched first: from then on calls run compiled code.
            compiled = max((sum(graph.runs.values()) - graph.runs["eager"] for graph in graphs), default=0)
            return compiled, bool(graphs) and all(graph.settled for graph in graphs)

        return ours
    from torch._inductor import compile_fx_async

    mode: Any = getattr(compile_fx_async, "_AsyncFxCompile" if way == "async" else "_ProgressiveFxCompile")
    if mode._stat_bg_started == 0:
        return None
    names = ("_stat_compiled_runs",) if way == "async" else ("_stat_fast_runs", "_stat_optimized_runs")

    def upstream() -> tuple[int, bool]:
        return sum(getattr(mode, name) for name in names), getattr(mode, names[-1]) > 0

    return upstream


def recorded(call: Callable[[], Any], runs: Callable[[], tuple[int, bool]] | None) -> dict[str, Any]:
    """Calls until AFTER_S after the last switch was seen."""
    first = time.perf_counter()
    # No objects that Python's garbage collection counts: a full one takes tens of milliseconds.
    begun, taken = array("d"), array("d")
    looks: list[tuple[int, int]] = []
    switched = runs is None
    look, end = first, first + (AFTER_S if switched else SWITCH_S_MAX)
    while True:
        begin = time.perf_counter()
        if begin >= end:
            break
        call()
        ended = time.perf_counter()
        begun.append(begin - first)
        taken.append((ended - begin) * 1e3)
        # Looked at between two calls, and seldom: a look is no part of a call, but it is work.
        if runs and not switched and ended >= look:
            look = ended + LOOK_S
            count, settled = runs()
            looks.append((len(taken), count))
            if settled and count:
                switched, end = True, ended + AFTER_S
    found = list(zip(begun, taken, strict=True))
    if not switched:
        return {"calls": found, "switch": None}
    if runs is None:
        return {"calls": found, "switch": 0}
    # The first compiled call: as many calls ago as compiled code has run.
    seen, count = looks[-1]
    return {"calls": found, "switch": max(0, seen - count)}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """One run's row."""
    taken = [latency for _, latency in found["calls"]]
    if found["switch"] is None:
        return {
            "first_s": found["first_s"],
            "quiet_ms": found["quiet"],
            "switched": "never",
            "before_ms": taken,
        }
    before, after = taken[: found["switch"]], taken[found["switch"] :]
    last = [ms for at, ms in found["calls"] if at > found["calls"][-1][0] - LAST_S]
    settled = last[-len(after) :]
    row: dict[str, Any] = {"first_s": found["first_s"], "quiet_ms": results.summary(found["quiet"])[0]}
    row["switched"] = f"{found['calls'][found['switch']][0]:.1f} s"
    for name, window, reference in (("before", before, found["quiet"]), ("after", after, settled)):
        if window:
            here, there = results.summary(window), results.summary(reference)
            row[f"{name}_ms"] = here[0]
            row[f"{name}_over_median"] = here[0] - there[0]
            row[f"{name}_over_worst"] = here[2] - there[2]
            row[f"{name}_worst_less_median"] = here[2] - there[0]
    return row


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a call of fxfarm took more than the target over the worst without load."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="mlp,bert4,deep,parts")
    parser.add_argument("--ways", default="fxfarm,inductor,async,progressive")
    parser.add_argument("--farm", choices=("warm", "cold"), default="warm")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads in the model's process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", metavar="FILE", help="draw the first round of each way (needs matplotlib)")
    options = parser.parse_args(argv)
    report = results.Report("timeline")
    drawn: dict[tuple[str, str], dict[str, Any]] = {}
    met = True
    for model in options.models.split(","):
        for way in options.ways.split(","):
            with harness.Place() as place:
                again = {"way": way, "model": model, "threads": options.threads}
                if way == "fxfarm" and options.farm == "warm":
                    place.run(timeline, **again)
                for _ in range(options.rounds if way == "fxfarm" else 1):
                    found = place.run(timeline, variables=VARIABLES.get(way), **again)
                    drawn.setdefault((model, way), found)
                    row = figures(found)
                    report.add(model=model, way=way, target=TARGET_MS, **row)
                    over = [row.get(f"{part}_over_worst", 0.0) for part in ("before", "after")]
                    met = met and (way != "fxfarm" or max(over) <= TARGET_MS)
    if options.plot:
        plot(drawn, Path(options.plot))
    report.demand(f"no call of fxfarm took {TARGET_MS} ms more than the worst without the load", met)
    return report.finish(options.json)


def plot(drawn: dict[tuple[str, str], dict[str, Any]], file: Path) -> None:
    """Latency over time, one row of axes per model."""
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(model for model, _ in drawn))
    ways = list(dict.fromkeys(way for _, way in drawn))
    figure, axes = plt.subplots(
        len(models), len(ways), figsize=(6 * len(ways), 3 * len(models)), squeeze=False, sharey="row"
    )
    for (model, way), found in drawn.items():
        ax = axes[models.index(model)][ways.index(way)]
        ax.plot([at for at, _ in found["calls"]], [ms for _, ms in found["calls"]], ".", markersize=2)
        if found["switch"] is not None:
            ax.axvline(found["calls"][found["switch"]][0], linewidth=0.8, linestyle="--")
        title = f"{model}, {way}: first call {found['first_s']:.1f} s"
        ax.set(title=title, xlabel="seconds since the first call's end", yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
        ax.set_ylabel("latency of the call, ms")
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
