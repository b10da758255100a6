"""The process's side of the farm: one client, and two threads that keep its work away from the model's calls.

The prepare thread serializes graphs and submits them; the loader thread loads what comes back and publishes
it. Both start with the first graph, are daemons, and never raise into the model: what fails is logged once
and shown by `graphs()`.
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import itertools
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fxfarm import _core, config, disk, local_farm, pace, status, trial
from fxfarm.status import GraphStatus

log = logging.getLogger("fxfarm")

WAIT_SLICE_MS = 100
"""Longest time in which Ctrl-C is not noticed."""
TASK_WAIT_MS = 3_600_000
"""A wait that has to end some time; a task or a stop ends it at once."""
TIDY_S = 60.0
"""How often the artifacts on disk are looked through, while new ones come."""
REFUSED_KEPT = 1000
"""Graphs without a slot that are remembered for graphs()."""
STOP_S = 2.0
"""How long a stop waits for each thread."""

Publisher = Callable[[Callable[[Any], object], Any], None]


@dataclasses.dataclass(slots=True, eq=False)
class _Graph:
    """A graph whose slot is alive."""

    name: str
    stages: Sequence[Any]
    slot: weakref.ref[_core.Slot] | None = None
    snapshot: Any = None
    publish_when_safe: Publisher | None = None
    client_id: int | None = None
    key: str = ""
    error: str = ""
    judged: bool = False
    """Whether a stage is compared with the one that it replaces."""
    reported: set[str] = dataclasses.field(default_factory=set)


def _describe(e: BaseException) -> str:
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__


class Runtime:
    """One client with its threads; `shutdown` ends it for good."""

    def __init__(self, options: config.Config) -> None:
        self.options = options
        # For the prepare thread; None ends it.
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._serials = itertools.count()
        # Guards the tables and `_unprepared`.
        self._changed = threading.Condition()
        self._graphs: dict[int, _Graph] = {}
        self._by_client: dict[int, _Graph] = {}
        self._refused: collections.deque[_Graph] = collections.deque(maxlen=REFUSED_KEPT)
        self._unprepared = 0
        # Held from a submit until the graph can be found by the client's id, which the loader may need before
        # that.
        self._submitting = threading.Lock()
        self._client: _core.Client | None = None
        self._prepare_thread: threading.Thread | None = None
        self._loader_thread: threading.Thread | None = None
        self._tidy_at = 0.0
        self._bg_started = 0
        self._bg_finished = 0
        self._baseline = {"bg_started": 0, "bg_finished": 0, "eager_runs": 0, "compiled_runs": 0}
        if options.log != "off":
            log.setLevel(options.log.upper())
        else:
            log.setLevel(logging.CRITICAL + 1)

    # The caller's thread.

    def add(
        self,
        snapshot: Any,
        slot: _core.Slot,
        stages: Sequence[Any],
        publish_when_safe: Publisher | None = None,
    ) -> None:
        """Takes over a graph. `publish_when_safe` is asked to publish stages that update the graph's
        inputs."""
        serial = next(self._serials)
        graph = _Graph(f"graph-{serial}", stages, snapshot=snapshot, publish_when_safe=publish_when_safe)
        commands, release = self._commands, functools.partial(self._release, serial)
        # May run in any thread at any allocation, so it only puts; SimpleQueue allows that.
        graph.slot = weakref.ref(slot, lambda _: commands.put(release))
        with self._changed:
            self._graphs[serial] = graph
            self._unprepared += 1
            if self._prepare_thread is None:
                self._prepare_thread = threading.Thread(
                    target=self._prepare_loop, name="fxfarm-prepare", daemon=True
                )
                self._prepare_thread.start()
        commands.put(functools.partial(self._prepare, graph))

    def add_failed(self, reason: str) -> None:
        """Records a graph that stays eager and has no slot."""
        graph = _Graph(f"graph-{next(self._serials)}", ())
        self._refused.append(graph)
        self._fail(graph, reason)

    # The prepare thread.

    def _prepare_loop(self) -> None:
        while True:
            command = self._commands.get()
            if command is None:
                return
            command()

    def _prepare(self, graph: _Graph) -> None:
        try:
            with pace.paced():
                self._submit(graph)
        except Exception as e:
            self._fail(graph, _describe(e))
        finally:
            graph.snapshot = None
            with self._changed:
                self._unprepared -= 1
                self._changed.notify_all()

    def _submit(self, graph: _Graph) -> None:
        from fxfarm import _torch

        if graph.slot is None or graph.slot() is None:
            return
        serialized = _torch.serialize(graph.snapshot)
        graph.key, graph.name = serialized.key, serialized.name or graph.name
        # Only where a call's end is the end of its work and no backward belongs to it.
        graph.judged = (
            self.options.roll_back and serialized.device == "cpu" and graph.publish_when_safe is None
        )
        target = dict(_torch.client_platform(serialized.device))
        client = self._connected()
        with self._submitting:
            graph.client_id = client.submit(graph.key, graph.name, serialized.payload, graph.stages, target)
            self._by_client[graph.client_id] = graph
        self._bg_started += len(graph.stages)

    def _judge(self, graph: _Graph, before: int, index: int) -> None:
        """Keeps the stage of the slot with that index, or goes back to the one before."""
        slot = graph.slot() if graph.slot is not None else None
        if slot is None:
            return
        verdict = trial.compare(slot.call_seconds(before), slot.call_seconds(index))
        if verdict is None or not verdict.slower:
            slot.keep(index)
        elif slot.roll_back(index):
            name = graph.stages[index - 1]["name"]
            log.warning("%s goes back from stage %s: it is slower, %s", graph.name, name, verdict)
            if self._client is not None and graph.client_id is not None:
                self._client.roll_back(graph.client_id, index - 1, str(verdict))

    def _release(self, serial: int) -> None:
        with self._changed:
            graph = self._graphs.pop(serial, None)
        if graph is None or graph.client_id is None or self._client is None:
            return
        with self._submitting:
            self._by_client.pop(graph.client_id, None)
        self._client.release(graph.client_id)

    def _connected(self) -> _core.Client:
        if self._client is not None:
            return self._client
        o = self.options
        tag = local_farm.environment_tag(o.python)
        endpoint = _core.default_local_socket(tag) if o.local or not o.endpoints else ""
        self._client = client = _core.Client(
            endpoints=list(o.endpoints),
            local_endpoint=endpoint,
            local_command=local_farm.command(endpoint, o),
            space=o.space,
            salt=o.salt,
        )
        self._loader_thread = threading.Thread(
            target=self._load_loop, args=(client,), name="fxfarm-loader", daemon=True
        )
        self._loader_thread.start()
        return client

    def _told(self) -> list[Any]:
        """The client's word on its graphs; none once it has stopped."""
        client = self._client
        try:
            return [] if client is None or client.stopped else list(client.graphs())
        except RuntimeError:
            # Stopped in between.
            return []

    def _report_failures(self) -> None:
        for told in self._told():
            graph = self._by_client.get(told["id"])
            for stage in told["stages"]:
                if graph is not None and stage["state"] == "failed" and self._is_news(graph, stage["name"]):
                    log.warning("%s goes without stage %s: %s", graph.name, stage["name"], stage["error"])

    def _is_news(self, graph: _Graph, stage: str) -> bool:
        with self._changed:
            news = stage not in graph.reported
            graph.reported.add(stage)
            return news

    def _fail(self, graph: _Graph, reason: str) -> None:
        graph.error = reason
        log.warning("%s stays eager: %s", graph.name, reason)

    # The loader thread.

    def _load_loop(self, client: _core.Client) -> None:
        while not client.stopped:
            task = client.next_task(TASK_WAIT_MS)
            if task is None:
                self._report_failures()
                continue
            with pace.paced():
                self._load(task)

    def _load(self, task: _core.LoadTask) -> None:
        from fxfarm import _torch

        with self._submitting:
            graph = self._by_client.get(task.graph)
        if graph is None or graph.slot is None or graph.slot() is None:
            task.done("cancelled", "the model is gone")
            return
        try:
            loaded = _torch.load_artifact(task.artifact, self.options.artifact_dir)
        except _torch.CorruptArtifact as e:
            task.done("corrupt", str(e))
        except Exception as e:
            task.done("load_failed", _describe(e))
        else:
            self._publish(graph, task, loaded)
        self._tidy_artifacts()

    def _publish(self, graph: _Graph, task: _core.LoadTask, loaded: Any) -> None:
        slot_of, index, last = graph.slot, task.stage + 1, task.stage + 1 == len(graph.stages)

        def publish(guard: Any) -> None:
            slot = slot_of() if slot_of is not None else None
            if slot is None:
                task.done("cancelled", "the model is gone")
                return
            measured = None
            if graph.judged:
                judge = functools.partial(self._judge, graph, slot.stage, index)
                # Runs in the caller's thread.
                measured = functools.partial(self._commands.put, judge)
            slot.publish(index, loaded.call, loaded.boxed, guard, measured)
            if last:
                slot.seal()
            self._bg_finished += 1
            task.done()

        if loaded.mutates_inputs and graph.publish_when_safe is not None:
            graph.publish_when_safe(publish, loaded.guard)
        else:
            publish(loaded.guard)

    def _tidy_artifacts(self) -> None:
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY_S
        try:
            disk.prune(self.options.artifact_dir, self.options.artifact_bytes)
        except OSError as e:
            log.warning("artifacts cannot be tidied up: %s", e)

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
            while self._unprepared:
                if (
                    not self._changed.wait(slice_s())
                    and deadline is not None
                    and time.monotonic() >= deadline
                ):
                    return False
        client = self._client
        while client is not None and not client.stopped:
            outcome = client.wait_slice(stage or "", int(slice_s() * 1000))
            if outcome != "timed_out":
                self._report_failures()
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def graphs(self) -> list[GraphStatus]:
        """See fxfarm.graphs."""
        told = {g["id"]: g for g in self._told()}
        with self._changed:
            graphs = [*self._graphs.values(), *self._refused]
        return [self._status(g, told.get(g.client_id) if g.client_id is not None else None) for g in graphs]

    def _status(self, graph: _Graph, told: Any) -> GraphStatus:
        slot = graph.slot() if graph.slot is not None else None
        return status.of_graph(
            graph.name, graph.key, graph.error, [s["name"] for s in graph.stages], slot, told
        )

    def stats(self) -> dict[str, int]:
        """See fxfarm.stats."""
        client = self._client
        counters = client.stats() if client is not None and not client.stopped else {}
        totals = self._totals()
        return {**counters, **{name: totals[name] - self._baseline[name] for name in totals}}

    def reset_stats(self) -> None:
        """See fxfarm.reset_stats."""
        self._baseline = self._totals()
        if self._client is not None and not self._client.stopped:
            self._client.reset_stats()

    def _totals(self) -> dict[str, int]:
        eager, compiled = _core.retired_runs()
        with self._changed:
            slots = [g.slot() for g in self._graphs.values() if g.slot is not None]
        for slot in slots:
            if slot is not None:
                runs = slot.runs
                eager += runs[0]
                compiled += sum(runs[1:])
        return {
            "bg_started": self._bg_started,
            "bg_finished": self._bg_finished,
            "eager_runs": eager,
            "compiled_runs": compiled,
        }

    # The end.

    def shutdown(self) -> None:
        """Ends the client and its threads in bounded time; slots keep the stage they have."""
        self._commands.put(None)
        if self._client is not None:
            self._client.stop()
        for thread in (self._prepare_thread, self._loader_thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(STOP_S)

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
