"""The process's side of the farm: one client, and two threads that keep its work away from the model's calls.

The prepare thread (`preparing.py`) serializes graphs and submits them; the loader thread (`loading.py`) loads
what comes back and publishes it. Both start with the first graph, are daemons, and never raise into the
model: what fails is logged once and shown by `graphs()`.
"""

from __future__ import annotations

import atexit
import collections
import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxfarm import _core, config, counters, local_farm, logs, pace, progress, timeline
from fxfarm.graph import Graph, describe
from fxfarm.loading import Loader
from fxfarm.logs import log
from fxfarm.preparing import Preparer
from fxfarm.tables import GraphList

if TYPE_CHECKING:
    from fxfarm.outstanding import OutstandingForwards

WAIT_SLICE_MS = 100
"""Longest time in which Ctrl-C is not noticed."""
REFUSED_KEPT = 1000
"""Graphs without a slot that are remembered for graphs()."""
STOP_S = 2.0
"""How long a stop waits for each thread."""


class Runtime:
    """One client with its threads; `shutdown` ends it for good."""

    def __init__(self, options: config.Config) -> None:
        self.options = options
        self._serials = itertools.count()
        # Guards the tables and `_unprepared`.
        self._changed = threading.Condition()
        self._graphs: dict[int, Graph] = {}
        self._refused: collections.deque[Graph] = collections.deque(maxlen=REFUSED_KEPT)
        self._unprepared = 0
        self._client: _core.Client | None = None
        # Work that goes on ends at its next step.
        self._stopping = threading.Event()
        self._preparer = Preparer(options, connect=self._connected, stopping=self._stopping)
        self._loader: Loader | None = None
        self._runs = counters.Runs()
        # The extension counts since the process began.
        self._baseline = self._totals()
        self.timeline = timeline.Timeline()
        # Once there is a graph, where it is wanted.
        self._progress: progress.Line | None = None
        logs.set_up(options.log)

    # The caller's thread.

    def add(
        self,
        snapshot: Any,
        slot: _core.Slot,
        stages: Sequence[Any],
        forwards: OutstandingForwards | None = None,
    ) -> None:
        """Takes over a graph. The `forwards` of one that is trained say when a stage may be switched in."""
        serial = next(self._serials)
        graph = self._made(snapshot.name or f"graph-{serial}", stages)
        graph.snapshot, graph.forwards = snapshot, forwards
        self._add(serial, graph, slot, slot)

    def add_inner(
        self,
        snapshot: Any,
        slot: _core.Slot,
        stages: Sequence[Any],
        code: object,
        first_optimized: int | None,
    ) -> None:
        """Takes over a graph that Inductor has handed over. It ends with `code`, which calls the slot;
        `first_optimized` is as in Graph."""
        serial = next(self._serials)
        graph = self._made(snapshot.name or f"graph-{serial}", stages)
        graph.snapshot, graph.kept, graph.first_optimized = snapshot, slot, first_optimized
        self._add(serial, graph, slot, code)

    def _made(self, name: str, stages: Sequence[Any]) -> Graph:
        times = self.timeline.begin(name, time.monotonic(), [s["name"] for s in stages])
        return Graph(name, stages, times=times)

    def _add(self, serial: int, graph: Graph, slot: _core.Slot, ends_with: object) -> None:
        slot.name_spans(tuple(f"fxfarm::{s} {graph.name}" for s in ("eager", *graph.times.plan)))
        later, release = self._preparer.later, functools.partial(self._release, serial)
        # May run in any thread at any allocation, so it only puts; SimpleQueue allows that.
        graph.life = weakref.ref(ends_with, lambda _: later(release))
        with self._changed:
            # Nobody would end threads that start after a shutdown.
            if self._stopping.is_set():
                return self._fail(graph, "fxfarm was shut down meanwhile")
            if self._preparer.start() and self.options.progress and progress.wanted(os.environ):
                self._progress = progress.Line(self.graphs)
            self._graphs[serial] = graph
            self._unprepared += 1
        return later(functools.partial(self._prepare, graph))

    def add_failed(self, reason: str) -> None:
        """Records a graph that stays eager and has no slot."""
        graph = self._made(f"graph-{next(self._serials)}", ())
        self._refused.append(graph)
        self._fail(graph, reason)

    # The prepare thread.

    def _prepare(self, graph: Graph) -> None:
        try:
            with pace.paced(self._stopping):
                self._preparer.submit(graph)
        except Exception as e:
            # A client that was stopped meanwhile takes no graph.
            if not self._stopping.is_set():
                self._fail(graph, describe(e))
        finally:
            graph.snapshot = None
            with self._changed:
                self._unprepared -= 1
                self._changed.notify_all()

    def _release(self, serial: int) -> None:
        with self._changed:
            graph = self._graphs.pop(serial, None)
            if graph is not None and graph.kept is not None:
                self._runs.retire(graph.kept.runs, graph.first_optimized)
        if graph is not None:
            graph.times.ended_at = time.monotonic()
        if graph is None or graph.client_id is None or self._client is None:
            return
        self._preparer.forget(graph.client_id)
        self._client.release(graph.client_id)

    def _connected(self) -> _core.Client:
        if self._client is not None:
            return self._client
        client = local_farm.connect(self.options)
        try:
            find, later = self._preparer.find, self._preparer.later
            self._loader = Loader(client, self.options, find=find, later=later, stopping=self._stopping)
        except BaseException:
            # Without its thread nothing would ever be loaded; the next graph tries again.
            client.stop()
            raise
        self._client = client
        return client

    def _fail(self, graph: Graph, reason: str) -> None:
        graph.error = graph.times.error = reason
        log.warning("%s stays eager: %s", graph.name, reason)

    # Any thread.

    def wait(self, stage: str | None, timeout: float | None) -> bool:
        """See fxfarm.wait."""
        with pace.hurried():
            return self._wait(stage, timeout)

    def _wait(self, stage: str | None, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout

        def slice_s() -> float:
            left = float("inf") if deadline is None else max(0.0, deadline - time.monotonic())
            return min(left, WAIT_SLICE_MS / 1000)

        with self._changed:
            while self._unprepared and not self._stopping.is_set():
                if (
                    not self._changed.wait(slice_s())
                    and deadline is not None
                    and time.monotonic() >= deadline
                ):
                    return False
        client, loader = self._client, self._loader
        while client is not None and loader is not None and not client.stopped:
            outcome = client.wait_slice(stage or "", int(slice_s() * 1000))
            if outcome != "timed_out":
                loader.report_failures()
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def graphs(self) -> GraphList:
        """See fxfarm.graphs."""
        told = {g["id"]: g for g in self._loader.told()} if self._loader is not None else {}
        with self._changed:
            graphs = [*self._graphs.values(), *self._refused]
        loader = self._loader
        return GraphList(
            g.status(told.get(g.client_id), loader is not None and loader.waits_for_ranks(g)) for g in graphs
        )

    def stats(self) -> dict[str, int]:
        """See fxfarm.stats."""
        client = self._client
        told = client.stats() if client is not None and not client.stopped else {}
        totals = self._totals()
        return {**told, **{name: totals[name] - self._baseline[name] for name in totals}}

    def reset_stats(self) -> None:
        """See fxfarm.reset_stats."""
        self._baseline = self._totals()
        if self._client is not None and not self._client.stopped:
            self._client.reset_stats()

    def _totals(self) -> dict[str, int]:
        with self._changed:
            found = [(g.kept or g.living_slot(), g.first_optimized) for g in self._graphs.values()]
            runs = self._runs.total((slot, first) for slot, first in found if slot is not None)
        switches = self._loader.switches if self._loader is not None else 0
        agreed = self._loader.agreed() if self._loader is not None else {}
        totals = {"bg_started": self._preparer.asked, "bg_finished": switches, **runs}
        return {**totals, **{name: agreed.get(name, 0) for name in counters.AGREEMENTS}}

    # The end.

    def shutdown(self) -> None:
        """Ends the client and its threads in bounded time; slots keep the stage they have."""
        self._stopping.set()
        self._preparer.end()
        with self._changed:
            self._changed.notify_all()
        # What pauses shall see that it is to stop.
        with pace.hurried():
            self._stop_client()
            self._preparer.join(STOP_S)
            # That thread may have made one meanwhile.
            self._stop_client()
            if self._loader is not None:
                self._loader.join(STOP_S)
        if self._progress is not None:
            self._progress.stop(STOP_S)
        self._write_trace()

    def _write_trace(self) -> None:
        if self.options.trace is None:
            return
        try:
            self.timeline.write(timeline.file_of_rank(self.options.trace, os.environ))
        except OSError as e:
            log.warning("the trace cannot be written: %s", describe(e))

    def _stop_client(self) -> None:
        if self._client is not None:
            self._client.stop()

    def abandon(self) -> None:
        """In the child of a fork, where no thread of this is left."""
        if self._client is not None:
            self._client.abandon()


_lock = threading.Lock()
_current: Runtime | None = None
_given: Mapping[str, object] = {}


def current() -> Runtime | None:
    """The runtime, if a graph has needed one."""
    return _current


def get() -> Runtime:
    """The runtime, made when there is none. Raises config.ConfigError."""
    global _current
    with _lock:
        if _current is None:
            _current = Runtime(config.load(_given))
        return _current


def record_failed(reason: str) -> None:
    """Records a graph that stays eager and could not be handed over. Never raises."""
    try:
        get().add_failed(reason)
    except Exception as e:
        # Not even the options can be read; there is no place to record it in.
        log.warning("a graph stays eager: %s; and fxfarm cannot start: %s", reason, e)


def configure(given: Mapping[str, object]) -> None:
    """Sets the options of the runtime to come. Raises config.ConfigError, or RuntimeError when one exists."""
    global _given
    with _lock:
        if _current is not None:
            raise RuntimeError(
                "fxfarm has started: call configure() before the first compiled call or after shutdown()"
            )
        merged = {**_given, **given}
        config.load(merged)
        _given = merged


def shutdown() -> None:
    """Ends the runtime; a later graph makes a new one."""
    global _current
    with _lock:
        ended, _current = _current, None
    if ended is not None:
        ended.shutdown()


def _after_fork_in_child() -> None:
    global _lock, _current
    _lock = threading.Lock()
    inherited, _current = _current, None
    if inherited is not None:
        inherited.abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(shutdown)
