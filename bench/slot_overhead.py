"""What a call through the slot costs over a direct call of the same target, beside PyTorch's own switching
callables.

    python bench/slot_overhead.py [--calls 200000] [--rounds 15] [--json FILE]

Every way calls the same trivial target with the same three arguments. The ways take turns within each round,
so that a busy machine slows all of them; nanoseconds over the direct call and the ratio to it are taken
within a round. The rows with a builtin are compared with the builtin called directly. The interpreter calls
one Python function from another without leaving its loop, which no callable object can have; the rows with a
builtin leave that out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import repeat
from typing import Any

import harness
import results

from fxfarm import _core, _torch
from fxfarm._torch import assumptions

ARGUMENTS = (1, 2, 3)
# What an artifact says that its compile assumed of two sizes.
ASSUMED = {
    "guards": "2*L['t0'] + L['t1'] <= 2147483647 and L['t1'] % 2 == 0",
    "guard_positions": [0, 1],
    "pinned": [],
    "aliasing": None,
}
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
    guarded.publish(1, target, guard=assumptions.guard_of(ASSUMED))
    in_python = _core.Slot(target)
    in_python.publish(1, target, guard=lambda a, b, c: bool(2 * a + b <= 2147483647 and b % 2 == 0))
    return {
        "slot, pending": pending,
        "slot, switched": switched,
        "slot, switched, boxed": boxed,
        "slot, switched, sizes checked": guarded,
        "slot, switched, sizes checked in Python": in_python,
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
    """Measures and prints."""
    parser = harness.parser(__doc__)
    parser.add_argument("--calls", type=int, default=200_000, help="calls per way and round")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(argv)
    # As in every process with a model.
    _torch.watch()

    ways: dict[str, Callable[..., Any]] = {"direct": target, **slot_ways(), **upstream_ways()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        nanoseconds(way, options.calls // 10)
    for turn in range(options.rounds):
        for name in ways if turn % 2 == 0 else reversed(ways):
            times[name].append(nanoseconds(ways[name], options.calls))

    report = results.Report("slot_overhead")
    for name, found in times.items():
        direct = times["builtin, direct" if name.startswith("builtin") else "direct"]
        report.add(
            way=name,
            ns=found,
            ns_over_direct=[a - b for a, b in zip(found, direct, strict=True)],
            ratio=[a / b for a, b in zip(found, direct, strict=True)],
        )
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
