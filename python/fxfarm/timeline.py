"""When what happened to each graph, for log lines and as a trace that Chromium and Perfetto show.

Each graph of the process is a process of the trace. Its first row tells what calls ran; the row of a stage,
what the farm and the loader did for it.
"""

from __future__ import annotations

import collections
import dataclasses
import glob
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fxfarm import disk

GRAPHS_KEPT = 2000
"""Graphs that a trace tells of, those that are gone included; the earliest go first."""
SWITCHES_KEPT = 64
"""Switches of one graph; there are two for each stage at most, and one retreat."""
TIERS = ("memory", "disk", "redis")
"""Sources of an artifact that was compiled earlier."""
PHASES = ("deserialize", "compile", "kernels", "pack")
"""Of a compile by Inductor, in their order; another engine's come after them."""
CALLS_ROW, PREPARE_ROW, FIRST_STAGE_ROW = 0, 1, 2


@dataclasses.dataclass(slots=True)
class StageTimes:
    """What one stage took. Moments are on the monotonic clock, in seconds; 0: not yet."""

    name: str
    source: str = ""
    ready_at: float = 0.0
    queued_s: float = 0.0
    phases: Mapping[str, float] = dataclasses.field(default_factory=dict)
    load_began: float = 0.0
    load_ended: float = 0.0
    failed_at: float = 0.0
    error: str = ""


@dataclasses.dataclass(slots=True)
class Times:
    """What became of one graph, and when. Each field is written by one thread at a time."""

    name: str
    asked_at: float
    stages: list[StageTimes]
    key: str = ""
    sent_at: float = 0.0
    ended_at: float = 0.0
    """When its model went."""
    error: str = ""
    switches: collections.deque[tuple[float, str]] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=SWITCHES_KEPT)
    )
    """What calls run from that moment on; before, eager."""

    @property
    def plan(self) -> list[str]:
        """Names of the stages."""
        return [s.name for s in self.stages]


class Timeline:
    """The graphs of one runtime, within bounds. Any thread."""

    def __init__(self) -> None:
        self._graphs: collections.deque[Times] = collections.deque(maxlen=GRAPHS_KEPT)

    def begin(self, name: str, asked_at: float, stages: Sequence[str]) -> Times:
        """A graph is asked for."""
        times = Times(name, asked_at, [StageTimes(s) for s in stages])
        self._graphs.append(times)
        return times

    def trace(self) -> dict[str, Any]:
        """The trace so far, as the trace event format has it."""
        now = time.monotonic()
        # Microseconds since 1970, as other traces of this machine.
        clock = _Clock(time.time() - now)
        events: list[dict[str, Any]] = []
        for number, times in enumerate(list(self._graphs), 1):
            events.extend(_graph_events(clock, number, times, now))
        return {
            "displayTimeUnit": "ms",
            "otherData": {"by": "fxfarm", "process": os.getpid()},
            "traceEvents": events,
        }

    def write(self, path: Path) -> None:
        """Writes the trace; the file appears as a whole. Raises OSError."""
        text = json.dumps(self.trace(), separators=(",", ":"))
        disk.write_whole(path, text.encode(), mode=0o666)
        disk.discard_temporary(path.parent, glob.escape(path.name))


def file_of_rank(path: Path, environ: Mapping[str, str]) -> Path:
    """A file of its own for each rank of a job: trace.json, trace.rank3.json."""
    rank = environ.get("RANK", environ.get("SLURM_PROCID", ""))
    # A path without a name, such as "/", is left to whoever writes.
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if rank.isdecimal() and path.name else path


@dataclasses.dataclass(frozen=True, slots=True)
class _Clock:
    offset_s: float

    def microseconds(self, moment: float) -> float:
        return round((moment + self.offset_s) * 1e6, 1)

    def span(self, pid: int, row: int, name: str, begin: float, end: float, **args: object) -> dict[str, Any]:
        took = round(max(0.0, end - begin) * 1e6, 1)
        return {
            **{"ph": "X", "cat": "fxfarm", "name": name, "pid": pid, "tid": row},
            **{"ts": self.microseconds(begin), "dur": took, "args": args},
        }

    def instant(self, pid: int, row: int, name: str, at: float, **args: object) -> dict[str, Any]:
        return {
            **{"ph": "i", "s": "p", "cat": "fxfarm", "name": name, "pid": pid, "tid": row},
            **{"ts": self.microseconds(at), "args": args},
        }


def _named(pid: int, what: str, name: str, row: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": row, "args": {"name": name}}


def _graph_events(clock: _Clock, pid: int, times: Times, now: float) -> Iterator[dict[str, Any]]:
    yield _named(pid, "process_name", f"{times.name} {times.key[:12]}".strip())
    yield _named(pid, "thread_name", "calls", CALLS_ROW)
    end = times.ended_at or now
    begin, running = times.asked_at, "eager"
    for at, stage in list(times.switches):
        yield clock.span(pid, CALLS_ROW, running, begin, at)
        yield clock.instant(pid, CALLS_ROW, f"switch to {stage}", at)
        begin, running = at, stage
    yield clock.span(pid, CALLS_ROW, running, begin, end)
    yield _named(pid, "thread_name", "prepare", PREPARE_ROW)
    if times.error:
        yield clock.instant(pid, PREPARE_ROW, "stays eager", times.sent_at or times.asked_at, why=times.error)
    if times.sent_at:
        yield clock.span(pid, PREPARE_ROW, "prepare", times.asked_at, times.sent_at, key=times.key)
        for row, stage_times in enumerate(times.stages, FIRST_STAGE_ROW):
            yield _named(pid, "thread_name", stage_times.name, row)
            yield from _stage_events(clock, pid, row, times, stage_times, end)


def _stage_events(
    clock: _Clock, pid: int, row: int, times: Times, stage: StageTimes, end: float
) -> Iterator[dict[str, Any]]:
    if stage.failed_at:
        yield clock.instant(pid, row, "failed", stage.failed_at, why=stage.error)
    if not stage.ready_at:
        yield clock.span(pid, row, "wait", times.sent_at, stage.failed_at or end)
        return
    whole = clock.span(pid, row, "wait", times.sent_at, stage.ready_at, source=stage.source)
    if stage.source in TIERS:
        yield whole
    else:
        yield from _compile_events(clock, pid, row, times, stage)
    if stage.load_began:
        yield clock.span(pid, row, "load", stage.load_began, stage.load_ended or end, source=stage.source)


def _compile_events(
    clock: _Clock, pid: int, row: int, times: Times, stage: StageTimes
) -> Iterator[dict[str, Any]]:
    """Durations that the worker has told, one after the other. Another process may have asked for the job
    earlier than this one; it then ends when the artifact is there."""
    took = stage.queued_s + sum(stage.phases.values())
    at = min(times.sent_at, stage.ready_at - took)
    yield clock.span(pid, row, "queue", at, at + stage.queued_s)
    at += stage.queued_s
    known = {name: i for i, name in enumerate(PHASES)}
    for phase, seconds in sorted(stage.phases.items(), key=lambda p: known.get(p[0], len(known))):
        yield clock.span(pid, row, phase, at, at + seconds, source=stage.source)
        at += seconds
    yield clock.span(pid, row, "transfer", at, stage.ready_at)
