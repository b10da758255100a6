"""The process's side of the farm: one client, and two threads that keep its work away from the model's calls.

The prepare thread serializes graphs and submits them; the loader thread (`loading.py`) loads what comes back
and publishes it. Both start with the first graph, are daemons, and never raise into the model: what fails is
logged once and shown by `graphs()`.
"""

from __future__ import annotations

import atexit
import collections
import functools
import itertools
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fxfarm import _core, config, counters, local_farm, logs, manifest, pace, progress, timeline
from fxfarm.graph import Graph, describe
from fxfarm.loading import Loader
from fxfarm.logs import log
from fxfarm.tables import GraphList

if TYPE_CHECKING:
    from fxfarm.outstanding import OutstandingForwards
    from fxfarm.ranks import Place, Places

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
        # For the prepare thread; None ends it.
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._serials = itertools.count()
        # Guards the tables and `_unprepared`.
        self._changed = threading.Condition()
        self._graphs: dict[int, Graph] = {}
        self._by_client: dict[int, Graph] = {}
        self._refused: collections.deque[Graph] = collections.deque(maxlen=REFUSED_KEPT)
        self._unprepared = 0
        # Held from a submit until the graph can be found by the client's id, which the loader may need before
        # that.
        self._submitting = threading.Lock()
        self._client: _core.Client | None = None
        self._prepare_thread: threading.Thread | None = None
        self._loader: Loader | None = None
        # Once a graph has collectives.
        self._places: Places | None = None
        # Work that goes on ends at its next step.
        self._stopping = threading.Event()
        self._bg_started = 0
        self._runs = counters.Runs()
        # The extension counts since the process began.
        self._baseline = self._totals()
        self.timeline = timeline.Timeline()
        # Once there is a graph, where it is wanted.
        self._progress: progress.Line | None = None
        o = options
        self._recorder = manifest.Recorder(o.record, o.record_bytes) if o.record is not None else None
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
        commands, release = self._commands, functools.partial(self._release, serial)
        # May run in any thread at any allocation, so it only puts; SimpleQueue allows that.
        graph.life = weakref.ref(ends_with, lambda _: commands.put(release))
        with self._changed:
            # Nobody would end threads that start after a shutdown.
            if self._stopping.is_set():
                return self._fail(graph, "fxfarm was shut down meanwhile")
            self._start_threads()
            self._graphs[serial] = graph
            self._unprepared += 1
        return commands.put(functools.partial(self._prepare, graph))

    def _start_threads(self) -> None:
        """Raises RuntimeError when there can be no further thread; the next graph tries again."""
        if self._prepare_thread is not None:
            return
        thread = threading.Thread(target=self._prepare_loop, name="fxfarm-prepare", daemon=True)
        thread.start()
        self._prepare_thread = thread
        if self.options.progress and progress.wanted(os.environ):
            self._progress = progress.Line(self.graphs)

    def add_failed(self, reason: str) -> None:
        """Records a graph that stays eager and has no slot."""
        graph = self._made(f"graph-{next(self._serials)}", ())
        self._refused.append(graph)
        self._fail(graph, reason)

    # The prepare thread.

    def _prepare_loop(self) -> None:
        while (command := self._commands.get()) is not None and not self._stopping.is_set():
            try:
                command()
            except pace.Stopped:
                return
            except Exception as e:
                # The graphs to come need this thread.
                log.warning("the farm's client goes on after %s", describe(e))

    def _prepare(self, graph: Graph) -> None:
        try:
            with pace.paced(self._stopping):
                self._submit(graph)
        except Exception as e:
            # A client that was stopped meanwhile takes no graph.
            if not self._stopping.is_set():
                self._fail(graph, describe(e))
        finally:
            graph.snapshot = None
            with self._changed:
                self._unprepared -= 1
                self._changed.notify_all()

    def _submit(self, graph: Graph) -> None:
        with pace.paced_imports():
            from fxfarm import _torch

            serialize, target_platform = _torch.serialize, _torch.target_platform
        if graph.living_slot() is None:
            return
        serialized = serialize(graph.snapshot)
        graph.key = graph.times.key = serialized.key
        graph.groups = serialized.groups
        if graph.groups:
            graph.place = self._place(graph)
        # Only where a call's end is the end of its work, and no backward and no other rank depends on it.
        alone = graph.forwards is None and graph.place is None
        graph.judged = self.options.roll_back and serialized.device == "cpu" and alone
        pace.step()
        target = target_platform(serialized.device, self.options.isa, graph.stages)
        client = self._connected()
        with self._submitting:
            graph.times.sent_at = time.monotonic()
            prepared_s = graph.times.sent_at - graph.times.asked_at
            graph.client_id = client.submit(
                graph.key, graph.name, serialized.payload, graph.stages, target, serialized.parts, prepared_s
            )
            self._by_client[graph.client_id] = graph
        self._record(serialized, graph, target)
        self._bg_started += len(graph.stages)
        log.info(
            "%s is sent after %.3g s: %s, key %s",
            *(graph.name, prepared_s, ", ".join(graph.times.plan), graph.key),
        )

    def _record(self, serialized: Any, graph: Graph, target: dict[str, Any]) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.write(
                manifest.Request(
                    *(graph.key, graph.name, serialized.payload, list(graph.stages), target, serialized.parts)
                )
            )
        except Exception as e:
            # The graph is sent already. Once: the next graph would have the same to say.
            self._recorder = None
            log.warning("graphs are not recorded: %s", describe(e))

    def _place(self, graph: Graph) -> Place | None:
        from fxfarm.ranks import Places

        if self._places is None:
            self._places = Places(self.options.job)
        return self._places.find(graph.key, graph.groups)

    def _release(self, serial: int) -> None:
        with self._changed:
            graph = self._graphs.pop(serial, None)
            if graph is not None and graph.kept is not None:
                self._runs.retire(graph.kept.runs, graph.first_optimized)
        if graph is not None:
            graph.times.ended_at = time.monotonic()
        if graph is None or graph.client_id is None or self._client is None:
            return
        with self._submitting:
            self._by_client.pop(graph.client_id, None)
        self._client.release(graph.client_id)

    def _connected(self) -> _core.Client:
        if self._client is not None:
            return self._client
        client = local_farm.connect(self.options)
        try:
            found, later = self._found, self._commands.put
            self._loader = Loader(client, self.options, find=found, later=later, stopping=self._stopping)
        except BaseException:
            # Without its thread nothing would ever be loaded; the next graph tries again.
            client.stop()
            raise
        self._client = client
        return client

    def _found(self, client_id: int) -> Graph | None:
        with self._submitting:
            return self._by_client.get(client_id)

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
        totals = {"bg_started": self._bg_started, "bg_finished": switches, **runs}
        return {**totals, **{name: agreed.get(name, 0) for name in counters.AGREEMENTS}}

    # The end.

    def shutdown(self) -> None:
        """Ends the client and its threads in bounded time; slots keep the stage they have."""
        self._stopping.set()
        self._commands.put(None)
        with self._changed:
            self._changed.notify_all()
        # What pauses shall see that it is to stop.
        with pace.hurried():
            self._stop_client()
            if self._prepare_thread is not None and self._prepare_thread is not threading.current_thread():
                self._prepare_thread.join(STOP_S)
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
