"""What bench/gpu.py measures in processes of their own: one model, one kind of call, one way to compile."""

from __future__ import annotations

import functools
import gc
import os
import statistics
import threading
import time
import traceback
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import harness
from gpu_ways import PARTLY, Device, Farmed, Inductor, way_of

Found = dict[str, Any]
Together = Callable[[bool], bool]

STEADY_S = 3.0
AROUND_S = 2.0
"""How long before a switch and after it calls count as those around it."""
LOOK_S = 0.25
FIRST_CALLS = 20
"""Calls of Inductor in which it may still record CUDA graphs."""
TOGETHER_CALLS = 16
"""Ranks ask each other so often whether all are done."""
MEET_S_MAX = 300.0


# What is measured.


def measured(
    way: str,
    plans: Sequence[Sequence[str]],
    model: str,
    kind: str,
    options: Mapping[str, Any],
    meeting: str = "",
    ranks: int = 1,
) -> list[Found]:
    """A phase for each plan, one after the other; what failed in one is its `error`. `ranks` of these begin
    together, after each has left a file in `meeting`.
    """
    import gpu_counts

    counts = gpu_counts.Counts()
    counts.begin()
    import gpu_models

    device = Device(options["device"])
    work = gpu_models.build(model, kind, options["device"], options["dtype"], options["small"])
    device.wait()
    if meeting:
        meet(meeting, ranks)
    phases: list[Found] = []
    for plan in plans:
        counts.taken()
        try:
            make = functools.partial(way_of, way, plan)
            found = phase(make, work, device, counts, options["switch_seconds"])
        except Exception as e:
            traceback.print_exc()
            found = {"error": f"{type(e).__name__}: {e}"}
        phases.append({"plan": list(plan), **found, "device": device.facts})
        # So that a process which is stopped in a later phase has told of this one.
        harness.answer_now(phases)
    return phases


def meet(meeting: str, ranks: int) -> None:
    """Waits until so many have come."""
    Path(meeting, str(os.getpid())).touch()
    if not harness.wait_until(lambda: len(list(Path(meeting).iterdir())) == ranks, MEET_S_MAX):
        raise RuntimeError("not every process came")


def phase(
    make: Callable[[], Inductor],
    work: Any,
    device: Device,
    counts: Any,
    switch_s_max: float,
    together: Together | None = None,
) -> Found:
    """From the built model to the steady calls of the last stage, and what the answers are then."""
    device.free()
    begin = time.perf_counter()
    way = make()
    run = way.compiled(work.module)
    calls = Calls(begin)
    with calls.collections:
        calls.one(lambda: work.call(run), way, device)
        first_s = calls.ended[0] - begin
        calls.until_steady(lambda: work.call(run), way, device, switch_s_max, together)
    counted = counts.taken()
    rows, switches = calls.by_stage(way)
    # First, since an answer that is wrong or fails takes nothing from what was measured.
    result: Found = {
        **{"first_s": first_s, "call_s": calls.took_ms[0] / 1e3, "calls": len(calls.took_ms)},
        **{"stages": rows, "switches": switches, "settled": calls.settled, "notes": way.notes()},
        "sources": way.sources(),
        **{"begin_worst_ms": calls.worst_ms(range(1, min(FIRST_CALLS + 1, len(calls.ended)))), **counted},
    }
    try:
        result["difference"] = work.difference(run)
    except Exception as e:
        traceback.print_exc()
        result["notes"].append(f"the answer is not compared: {type(e).__name__}: {e}")
    return result


class Collections:
    """How long Python's garbage collection runs on this thread: a full one takes some hundred milliseconds in
    a process with torch, and can come in any call, compiled or not."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._ms = 0.0
        self._thread = threading.get_ident()

    def __enter__(self) -> Collections:
        gc.callbacks.append(self._noted)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._noted)

    def _noted(self, when: str, _: Mapping[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        now = time.perf_counter()
        if when == "start":
            self._began = now
        elif self._began is not None:
            self._ms += (now - self._began) * 1e3

    def taken(self) -> float:
        """Milliseconds since it was last asked."""
        ms, self._ms = self._ms, 0.0
        return ms


class Calls:
    """Calls without a pause, each until the device has done its work."""

    def __init__(self, begin: float) -> None:
        self.settled = False
        self._begin = begin
        # No objects that Python's garbage collection counts.
        self.ended, self.took_ms, self._levels = array("d"), array("d"), array("q")
        self.collected_ms, self.collections = array("d"), Collections()
        self._memory: dict[str, list[float] | None] = {}

    def one(self, call: Callable[[], None], way: Inductor, device: Device) -> float:
        """One call; the time at its end."""
        self.collections.taken()
        began = time.perf_counter()
        call()
        device.wait()
        ended = time.perf_counter()
        self.collected_ms.append(self.collections.taken())
        self.ended.append(ended)
        self.took_ms.append((ended - began) * 1e3)
        self._levels.append(way.level())
        return ended

    def until_steady(
        self,
        call: Callable[[], None],
        way: Inductor,
        device: Device,
        switch_s_max: float,
        together: Together | None,
    ) -> None:
        """Until STEADY_S after the last switch, or so long without it. `together`: every rank calls it after
        as many calls, with whether it is done, and is told whether all are."""
        now = self.ended[-1]
        end, look = now + switch_s_max, now
        while True:
            # Between two calls, and seldom: a look is no part of a call, but it is work.
            if now >= look:
                look = now + LOOK_S
                stage, settled = way.look()
                self._memory[stage] = device.memory_mib()
                if settled and not self.settled:
                    self.settled, end = True, now + STEADY_S
            if together is None:
                if now >= end:
                    return
            elif len(self.took_ms) % TOGETHER_CALLS == 0 and together(now >= end):
                return
            now = self.one(call, way, device)

    def by_stage(self, way: Inductor) -> tuple[list[Found], list[Found]]:
        """Of each stage that calls have run, and of each switch."""
        segments = way.segments(self._levels)
        borders = [at for at, _ in segments] + [len(self.took_ms)]
        stages: list[Found] = []
        for (at, name), until in zip(segments, borders[1:], strict=True):
            # The first call traces, and may compile.
            steady = self._steady(max(at, 1), until)
            stages.append(
                {
                    **{"stage": name, "calls": until - at, "since_s": self.ended[at] - self._begin},
                    "ms": statistics.median(steady) if steady else None,
                    "memory_mib": self._memory.get(name),
                }
            )
        # Between the switches of a model's graphs are too few calls to tell what they take.
        median = [before["ms"] if s["stage"] == PARTLY else s["ms"] for before, s in pairwise(stages)]
        median = [stages[0]["ms"], *median]
        switches = []
        for number, (before, after) in enumerate(pairwise(stages)):
            at = borders[number + 1]
            earlier = self._around(max(borders[number], 1), at, self.ended[at] - AROUND_S, self.ended[at])
            begin_s = self.ended[at] - self.took_ms[at] / 1e3
            later = self._around(at, borders[number + 2], begin_s, begin_s + AROUND_S)
            switches.append(
                {
                    **{"from": before["stage"], "to": after["stage"], "call": at},
                    "before_over_ms": self._over(earlier, median[number]),
                    "over_ms": self._over(later, median[number + 1]),
                    "gc_ms": max((self.collected_ms[i] for i in [*earlier, *later]), default=0.0),
                }
            )
        return stages, switches

    def _steady(self, begin: int, end: int) -> list[float]:
        """The latter half of a stage's calls, of at most the last STEADY_S."""
        if end <= begin:
            return []
        after = self.ended[end - 1] - STEADY_S
        return [self.took_ms[i] for i in range((begin + end) // 2, end) if self.ended[i] >= after]

    def _around(self, begin: int, end: int, after: float, before: float) -> list[int]:
        found = []
        for i in range(begin, end):
            if self.ended[i] > after and self.ended[i] - self.took_ms[i] / 1e3 <= before:
                found.append(i)
        return found

    def _over(self, numbers: Sequence[int], median: float | None) -> float | None:
        worst = self.worst_ms(numbers)
        return worst - median if worst is not None and median is not None else None

    def worst_ms(self, numbers: Sequence[int]) -> float | None:
        """Of the calls of these numbers, without Python's garbage collection."""
        return max((self.took_ms[i] - self.collected_ms[i] for i in numbers), default=None)


# What the host does for a call.


def overhead(way: str, options: Mapping[str, Any], calls: int = 200, rounds: int = 50) -> Found:
    """Microseconds of the host for a call of a tiny model; with fxfarm also of its slot, and of what the slot
    calls without it. The device is waited for after so many calls, outside of the time."""
    import gpu_models
    import torch

    device = Device(options["device"])
    module, x = gpu_models.tiny()
    module, x = module.to(options["device"]), x.to(options["device"])

    def microseconds(call: Callable[[], object]) -> float:
        found = []
        for _ in range(rounds):
            device.wait()
            begin = time.perf_counter_ns()
            for _ in repeat(None, calls):
                call()
            found.append((time.perf_counter_ns() - begin) / calls / 1e3)
        return statistics.median(found)

    with torch.no_grad():
        if way != "fxfarm":
            run = Inductor(("eager" if way == "eager" else "default",)).compiled(module)
            run(x)
            return {"call_us": microseconds(lambda: run(x)), "device": device.facts}
        run, parts = farmed_parts(module, x, options["switch_seconds"])
        found = {name: microseconds(call) for name, call in parts.items()}
        return {"call_us": microseconds(lambda: run(x)), **found, "device": device.facts}


def farmed_parts(
    module: Any, x: Any, seconds: float
) -> tuple[Callable[..., Any], dict[str, Callable[[], object]]]:
    """The switched model, and calls of its slot and of the stage in it. Raises RuntimeError without one."""
    import fxfarm
    from fxfarm import graph as graphs

    published: list[tuple[Any, Any, bool]] = []
    publish = graphs.Graph.publish

    def noted(self: Any, stage: int, call: Any, boxed: bool, *rest: Any) -> bool:
        published.append((self.living_slot(), call, boxed))
        return publish(self, stage, call, boxed, *rest)

    graphs.Graph.publish = noted  # type: ignore
    run = Farmed(["default"]).compiled(module)
    run(x)
    if not fxfarm.wait(timeout=seconds) or not published:
        raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
    run(x)
    slot, stage, boxed = published[-1]
    # As Dynamo hands them over: see below.
    arguments = slot_arguments(module, x)
    slot(*arguments)
    direct = (lambda: stage(list(arguments))) if boxed else (lambda: stage(*arguments))
    return run, {"slot_us": lambda: slot(*arguments), "direct_us": direct}


def slot_arguments(module: Any, x: Any) -> tuple[Any, ...]:
    """What Dynamo calls a backend's result with, for this model."""
    import torch

    seen: list[tuple[Any, ...]] = []

    def backend(gm: Any, _: Any) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            seen.append(arguments)
            return gm.forward(*arguments)

        return noted

    # Compiled code that is there already would be run.
    torch.compile(lambda x: module(x), backend=backend)(x)
    return seen[-1]
