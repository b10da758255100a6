"""How long the first call takes with a cold farm, beside torch.compile's floor (`backend="eager"`: tracing
alone), Inductor and PyTorch's own asynchronous mode.

    python bench/first_call.py [--models gpt2,bert] [--rounds 5] [--inductor-rounds 1] [--async-rounds 0]
        [--json FILE]

Every call is made by a new process with empty caches and a farm that does not run yet; the ways take turns.
"call" is the first call; "all" counts `import fxfarm` and `torch.compile()` too. "thread" is the processor
time of the calling thread in the call, which other load on the machine changes least. Ratios are to
`backend="eager"` of the same round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import harness

WAYS = ("eager", "fxfarm", "inductor", "async")
TARGET = 1.15
VARIABLES = {
    # The mode does not work with Inductor's caches on (torch 2.13).
    "async": {
        "TORCHINDUCTOR_FX_COMPILE_MODE": "ASYNC+SUBPROCESS",
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
    },
}


def first_call(way: str, model: str) -> dict[str, float]:
    """Seconds of the first call in this process."""
    import torch

    module, inputs, _ = harness.build(model)
    begin = time.perf_counter()
    if way == "fxfarm":
        import fxfarm  # noqa: F401
    compiled = harness.compiled(module, "inductor" if way == "async" else way)
    with torch.no_grad():
        called, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
        compiled(*inputs)
        end, thread_end, process_end = time.perf_counter(), time.thread_time(), time.process_time()
    return {
        "call": end - called,
        "all": end - begin,
        "thread": thread_end - thread,
        "process": process_end - process,
    }


def measured(way: str, model: str) -> Any:
    """One measurement in a place of its own."""
    with harness.Place() as place:
        return place.run(first_call, variables=VARIABLES.get(way), way=way, model=model)


def main(argv: Sequence[str]) -> int:
    """Measures and prints."""
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
    report = harness.Report("first_call")
    for model in options.models.split(","):
        found: dict[str, list[Any]] = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                if turn < rounds[way]:
                    found[way].append(measured(way, model))
        for way in WAYS:
            if found[way]:
                report.add(model=model, way=way, **row(found[way], found["eager"], way))
    report.finish(options.json)
    return 0


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
