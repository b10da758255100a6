"""Calls slots in each of their states, for scripts/counted, which has callgrind count the instructions.

usage: slot_calls.py EXTENSION

Prints "STATE calls" for each. Imports nothing but the extension, since all is counted fifty times slower than
it runs. os.getppid marks where a state's calls begin and end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from itertools import repeat
from typing import Any

CALLS = 2_000
WARM_UP = 200
# 2*a + b <= 2147483647 and b % 2 == 0
STEPS = [
    *(("number", 2), ("argument", 0), ("multiply", 0), ("argument", 1), ("add", 0), ("number", 2147483647)),
    *(("less_or_equal", 0), ("argument", 1), ("number", 2), ("modulo", 0), ("number", 0), ("equal", 0)),
    ("both", 0),
]


def loaded(path: str) -> Any:
    loader = ExtensionFileLoader("fxfarm._core", path)
    spec = spec_from_loader("fxfarm._core", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def ways(core: Any) -> dict[str, Callable[..., Any]]:
    # The interpreter has no quicker way for it than for a slot, so that what is more is the slot's.
    target = int.__add__
    pending = core.Slot(target)
    switched = core.Slot(target)
    switched.publish(1, target)
    guarded = core.Slot(target)
    guarded.publish(1, target, guard=core.IntegerGuard(STEPS, lambda *_: False))
    return {
        "direct": target,
        "slot_pending": pending,
        "slot_switched": switched,
        "slot_guarded_same_sizes": guarded,
    }


def call(way: Callable[..., Any], times: int) -> None:
    for _ in repeat(None, times):
        way(300, 200)


def main() -> None:
    core = loaded(sys.argv[1])
    # As in every process with a model.
    core.watch_profiler({"on": False}, "on", lambda _: nullcontext())
    for name, way in ways(core).items():
        call(way, WARM_UP)
        os.getppid()
        call(way, CALLS)
        os.getppid()
        print(name, CALLS)


if __name__ == "__main__":
    main()
