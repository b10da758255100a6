"""What a call through the slot costs over a direct call of the same target, beside PyTorch's own switching
callables.

    python bench/slot_overhead.py [--calls 200000] [--rounds 15] [--json FILE]

Every way calls the same trivial target with the same three arguments. The ways take turns within each round,
so that a busy machine slows all of them; printed are medians over the rounds, as nanoseconds over the direct
call, and as a ratio to it. The interpreter calls one Python function from another without leaving its loop,
which no callable object can have; the rows with a builtin leave that out.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from fxfarm import _core

ARGUMENTS = (1, 2, 3)
Call = Callable[[], object]


def target(a: object, b: object, c: object) -> None:
    """The compiled code, if it took no time."""


def boxed_target(arguments: list[object]) -> None:
    """The same with one list of arguments."""


def slot_ways() -> dict[str, Callable[..., Any]]:
    """The slot in each of its states."""
    pending = _core.Slot(target)
    switched = _core.Slot(lambda *_: None)
    switched.publish(1, target)
    boxed = _core.Slot(target)
    boxed.publish(1, boxed_target, boxed=True)
    guarded = _core.Slot(target)
    guarded.publish(1, target, guard=lambda a, b, c: True)
    return {
        "slot, pending": pending,
        "slot, switched": switched,
        "slot, switched, boxed": boxed,
        "slot, switched, guarded": guarded,
        "builtin, direct": pow,
        "builtin, slot": _core.Slot(pow),
    }


def upstream_ways() -> dict[str, Callable[..., Any]]:
    """torch._inductor's callables for the same purpose (torch 2.13, compile_fx_async)."""
    from torch._inductor.compile_fx_async import _AsyncOutputCode, _ProgressiveOutputCode

    never: Future[Any] = Future()
    done: Future[Any] = Future()
    done.set_result(None)

    as_output_code: Any = target

    def output_code(*_: object) -> Any:
        return as_output_code

    def progressive(*futures: Future[Any]) -> Callable[..., Any]:
        code: Any = _ProgressiveOutputCode(as_output_code, list(futures), output_code)
        return lambda a, b, c: code([a, b, c])

    async_switched: Any = _AsyncOutputCode(target, done, output_code)
    async_switched(*ARGUMENTS)
    return {
        "async, pending": _AsyncOutputCode(target, never, output_code),
        "async, switched": async_switched,
        "progressive, pending (+ a lambda)": progressive(never),
        "progressive, switched (+ a lambda)": progressive(done),
    }


def nanoseconds(way: Callable[..., Any], calls: int) -> float:
    """One round's time of one call, with the loop."""
    a, b, c = ARGUMENTS
    start = time.perf_counter_ns()
    for _ in repeat(None, calls):
        way(a, b, c)
    return (time.perf_counter_ns() - start) / calls


def main(argv: Sequence[str]) -> int:
    """Measures, prints, and writes the JSON file if one is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200_000, help="calls per way and round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args(argv)

    ways: dict[str, Callable[..., Any]] = {"direct": target, **slot_ways(), **upstream_ways()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        nanoseconds(way, options.calls // 10)
    for _ in range(options.rounds):
        for name, way in ways.items():
            times[name].append(nanoseconds(way, options.calls))

    medians = {name: statistics.median(found) for name, found in times.items()}
    direct = medians["direct"]
    rows = [
        {"way": name, "ns": found, "ns_over_direct": found - direct, "ratio": found / direct}
        for name, found in medians.items()
    ]
    print(f"{'way':38}{'ns':>9}{'over direct':>13}{'ratio':>8}")
    for row in rows:
        print(f"{row['way']:38}{row['ns']:9.1f}{row['ns_over_direct']:13.1f}{row['ratio']:8.2f}")
    if options.json is not None:
        document = {
            "name": "slot_overhead",
            "machine": platform.machine(),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "fxfarm": _core.version(),
            },
            "rows": rows,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
