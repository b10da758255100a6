"""How long the first call takes with a cold farm, beside torch.compile's floor (`backend="eager"`: tracing
alone), Inductor and PyTorch's own asynchronous mode.

    python bench/first_call.py [--models gpt2,bert] [--rounds 5] [--inductor-rounds 1] [--async-rounds 0]
        [--json FILE]

Every call is made by a new process with empty caches and a farm that does not run yet; the ways take turns.
"call" is the first call; "all" counts `import fxfarm` and `torch.compile()` too. "thread" is the processor
time of the calling thread in the call, which other load on the machine changes least. Ratios are to
`backend="eager"` of the same round, and the medians of those of "call" and "all" over the rounds are held to
the target. In the last round fxfarm's process goes on until it runs the compiled stage, and must not have
imported Inductor's compiler by then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cpu_models
import harness
import results

WAYS = ("eager", "fxfarm", "inductor", "async")
TARGET = 1.15
SWITCH_S_MAX = 600.0
VARIABLES = {
    # The mode does not work with Inductor's caches on (torch 2.13).
    "async": {
        "TORCHINDUCTOR_FX_COMPILE_MODE": "ASYNC+SUBPROCESS",
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
    },
}


def first_call(way: str, model: str, on: bool) -> dict[str, Any]:
    """Seconds of the first call in this process; with `on`, what the switch has imported too."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    begin = time.perf_counter()
    if way == "fxfarm":
        import fxfarm  # noqa: F401
    compiled = harness.compiled(module, "inductor" if way == "async" else way)
    with torch.no_grad():
        called, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        compiled(*inputs)
        end, thread_end, process_end = time.perf_counter(), time.thread_time(), time.process_time()
        imported = imported_by_the_switch(lambda: compiled(*inputs)) if on else None
    return {
        "call": end - called,
        "all": end - begin,
        "thread": thread_end - thread,
        "process": process_end - process,
        "compiler_modules": imported,
    }


def imported_by_the_switch(call: Callable[[], object]) -> list[str]:
    """Modules of the compiler that are there once a call has run the compiled stage."""
    import fxfarm

    end = time.monotonic() + SWITCH_S_MAX
    while fxfarm.stats()["compiled_runs"] == 0:
        if time.monotonic() > end:
            raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
        call()
    return harness.compiler_modules()


def measured(way: str, model: str, on: bool) -> Any:
    """One measurement in a place of its own."""
    with harness.Place() as place:
        return place.run(first_call, variables=VARIABLES.get(way), way=way, model=model, on=on)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="gpt2,bert")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inductor-rounds", type=int, default=1)
    parser.add_argument("--async-rounds", type=int, default=0)
    options = parser.parse_args(argv)
    rounds = {
        "eager": options.rounds,
        "fxfarm": options.rounds,
        "inductor": options.inductor_rounds,
        "async": options.async_rounds,
    }
    report = results.Report("first_call")
    for model in options.models.split(","):
        found: dict[str, list[Any]] = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                if turn < rounds[way]:
                    on = way == "fxfarm" and turn == options.rounds - 1
                    found[way].append(measured(way, model, on))
        for way in WAYS:
            if found[way]:
                columns = row(found[way], found["eager"], way)
                report.add(model=model, way=way, **columns)
                if way == "fxfarm":
                    hold(report, model, columns, found[way][-1]["compiler_modules"])
    return report.finish(options.json)


def hold(report: results.Report, model: str, columns: dict[str, Any], imported: list[str]) -> None:
    """The targets of one model."""
    for name in ("call", "all"):
        report.hold(f"{model}: {name} in terms of eager's", columns[f"{name}_ratio"], TARGET)
    shown = " ".join(imported) or "none"
    report.demand(f"{model}: modules of the compiler imported by the switch: {shown}", not imported)


def row(found: Sequence[Any], floor: Sequence[Any], way: str) -> dict[str, Any]:
    """What is shown of one way."""
    columns: dict[str, Any] = {
        f"{name}_s": [one[name] for one in found] for name in ("call", "all", "thread", "process")
    }
    if way != "eager":
        for name in ("call", "all", "thread"):
            columns[f"{name}_ratio"] = [a[name] / b[name] for a, b in zip(found, floor, strict=False)]
    if way == "fxfarm":
        columns["target"] = TARGET
    return columns


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
