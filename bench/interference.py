"""How much slower the model's calls are while its compile runs on the same host.

    python bench/interference.py [--model gpt2] [--threads 2] [--rounds 3] [--json FILE]

The model is called at eager speed while the local farm compiles it, and while a stranger compiles the same
model with Inductor under `nice`, whose level the farm's engines have too. Each process first takes its own
latency without a compile; a latency in the compile is divided by that. The last columns compare the two,
round by round, and the median of "median_ratio" over the rounds is held to the target. Both farm and stranger
start with empty caches, and their start counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cpu_models
import harness
import results

TARGET = 1.2
CALLS_QUIET = 50
WINDOW_S_MAX = 900.0


def latencies(call: Callable[[], Any], until: Callable[[], bool]) -> list[float]:
    """Seconds of each call that ended before `until` came true."""
    taken: list[float] = []
    end = time.monotonic() + WINDOW_S_MAX
    while time.monotonic() < end:
        begin = time.perf_counter()
        call()
        seconds = time.perf_counter() - begin
        if until():
            return taken
        taken.append(seconds)
    raise RuntimeError("the compile did not end in time")


def calls_of_model(way: str, model: str, threads: int, stranger: list[str]) -> dict[str, float]:
    """Latencies of the model's calls without and with the compile."""
    import subprocess

    import torch

    torch.set_num_threads(threads)
    module, inputs, _ = cpu_models.build(model)
    with torch.no_grad():
        harness.compiled(module, "eager")(*inputs)
        quiet = iter(range(CALLS_QUIET))
        alone = latencies(lambda: module(*inputs), lambda: next(quiet, None) is None)
        if way == "farm":
            import fxfarm

            compiled = harness.compiled(module, "fxfarm")
            compiled(*inputs)
            busy = latencies(lambda: compiled(*inputs), lambda: fxfarm.stats()["compiled_runs"] > 0)
        else:
            with subprocess.Popen(stranger) as process:
                busy = latencies(lambda: module(*inputs), lambda: process.poll() is not None)
            if process.returncode != 0:
                raise RuntimeError(f"the stranger ended with {process.returncode}")
    return {
        "alone_ms": results.percentile(alone, 50) * 1e3,
        "median": results.percentile(busy, 50) / results.percentile(alone, 50),
        "p90": results.percentile(busy, 90) / results.percentile(alone, 50),
        "compile_s": sum(busy),
        "calls": len(busy),
    }


def compile_alone(model: str) -> None:
    """What the stranger does."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    with torch.no_grad():
        harness.compiled(module, "inductor")(*inputs)


def measured(way: str, model: str, threads: int) -> Any:
    """One measurement in a place of its own."""
    with harness.Place() as place:
        stranger = harness.child_command(compile_alone, place, model=model)
        return place.run(calls_of_model, way=way, model=model, threads=threads, stranger=["nice", *stranger])


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when the farm slows calls by more than the target times the stranger."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="gpt2", choices=cpu_models.MODELS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    ways = ("farm", "stranger")
    found: dict[str, list[Any]] = {way: [] for way in ways}
    for turn in range(options.rounds):
        for way in ways if turn % 2 == 0 else reversed(ways):
            found[way].append(measured(way, options.model, options.threads))
    report = results.Report("interference")
    for way, runs in found.items():
        row: dict[str, Any] = {"way": way, **{name: [one[name] for one in runs] for name in runs[0]}}
        if way == "farm":
            for name in ("median", "p90"):
                row[f"{name}_ratio"] = [
                    a[name] / b[name] for a, b in zip(runs, found["stranger"], strict=True)
                ]
            row["target"] = TARGET
            report.hold("median call in terms of the stranger's", row["median_ratio"], TARGET)
        report.add(**row)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
