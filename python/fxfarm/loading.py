"""Loads what the farm has made and publishes it, on a thread of its own beside the model's calls."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fxfarm import _core, _torch, config, disk, pace, trial
from fxfarm.graph import Graph, describe
from fxfarm.logs import log

if TYPE_CHECKING:
    from fxfarm.ranks import Agreement, Place
    from fxfarm.timeline import StageTimes

TASK_WAIT_MS = 3_600_000
"""A wait that has to end some time; a task or a stop ends it at once."""
TIDY_S = 60.0
"""How often the artifacts on disk are looked through, while new ones come."""


class Loader:
    """The loader thread of one client."""

    def __init__(
        self,
        client: _core.Client,
        options: config.Config,
        *,
        find: Callable[[int], Graph | None],
        later: Callable[[Callable[[], None]], None],
        stopping: threading.Event,
    ) -> None:
        """`find` gives the graph with that id of the client's; `later` runs a function on another thread."""
        self.switches = 0
        """Stages loaded and published."""
        self._client = client
        self._options = options
        self._find = find
        self._later = later
        self._stopping = stopping
        self._tidy_at = 0.0
        # Once a graph has to switch together with other ranks.
        self._agreement: Agreement | None = None
        # Guards which failures have been told.
        self._telling = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="fxfarm-loader", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Waits for the end of the thread, after the client's; not from within it."""
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)
        if self._agreement is not None:
            self._agreement.join(seconds)

    def agreed(self) -> Mapping[str, int]:
        """Counts of switches that ranks make together."""
        return self._agreement.counts if self._agreement is not None else {}

    def waits_for_ranks(self, graph: Graph) -> bool:
        """Whether a stage of the graph is loaded and waits for other ranks."""
        agreement = self._agreement
        return agreement is not None and graph.client_id is not None and agreement.waits(graph.client_id)

    def told(self) -> list[Any]:
        """The client's word on its graphs; none once it has stopped. Any thread."""
        try:
            return [] if self._client.stopped else list(self._client.graphs())
        except RuntimeError:
            # Stopped in between.
            return []

    def report_failures(self) -> None:
        """Logs each stage that has failed for good, once. Any thread."""
        for told in self.told():
            graph = self._find(told["id"])
            for stage in told["stages"]:
                if graph is not None and stage["state"] == "failed" and self._is_news(graph, stage["name"]):
                    _note_failure(graph, stage["name"], stage["error"])
                    log.warning("%s goes without stage %s: %s", graph.name, stage["name"], stage["error"])
                    graph.free_if_settled()

    def _is_news(self, graph: Graph, stage: str) -> bool:
        with self._telling:
            news = stage not in graph.failed
            graph.failed.add(stage)
            return news

    def _run(self) -> None:
        while not self._client.stopped:
            task = self._client.next_task(TASK_WAIT_MS)
            try:
                if task is None:
                    self.report_failures()
                else:
                    with pace.paced(self._stopping):
                        self._load(task)
            except pace.Stopped:
                # A task without an answer counts as cancelled.
                return
            except Exception as e:
                # The graphs to come need this thread.
                log.warning("the loader goes on after %s", describe(e))
                if task is not None:
                    task.done("load_failed", describe(e))

    def _load(self, task: _core.LoadTask) -> None:
        with pace.paced_imports():
            from fxfarm import _torch

            load_artifact = _torch.load_artifact
        graph = self._find(task.graph)
        if graph is None or graph.living_slot() is None:
            task.done("cancelled", "the model is gone")
            return
        times = _note_arrival(graph, task)
        try:
            with _torch.span(f"fxfarm::load {times.name} {graph.name}"):
                loaded = load_artifact(
                    task.artifact, self._options.artifact_dir, [group.name for group in graph.groups]
                )
            times.load_ended = time.monotonic()
        except _torch.CorruptArtifact as e:
            task.done("corrupt", str(e))
        except Exception as e:
            task.done("load_failed", describe(e))
        else:
            if graph.kept is not None:
                self._replay(graph, loaded)
            self._publish(graph, task, loaded)
        self._tidy_artifacts()

    def _replay(self, graph: Graph, loaded: Any) -> None:
        """Says what the compile of an inner graph has said, as Inductor would."""
        from fxfarm import _torch

        try:
            _torch.replay(loaded.manifest["inner"]["said"])
        # A warning that the program's filters make an error, or a handler of the program's own.
        except Exception as e:
            log.warning("%s: not all that its compile said can be repeated: %s", graph.name, describe(e))

    def _publish(self, graph: Graph, task: _core.LoadTask, loaded: Any) -> None:
        from fxfarm import buffers, outstanding

        def publish(call: Any, guard: Any) -> bool:
            # May run in a thread of the caller's, within a backward: nothing is raised there.
            try:
                return self._switch(graph, task, call, loaded.boxed, guard)
            except Exception as e:
                task.done("load_failed", describe(e))
                return False

        if graph.place is not None:
            self._arm(graph, graph.place, task, loaded)
            return
        guard = buffers.guarded(loaded.mutated, loaded.guard) if loaded.mutated else loaded.guard
        if graph.forwards is None:
            publish(loaded.call, guard)
            return
        last = task.stage + 1 == len(graph.stages)
        refuse = functools.partial(task.done, "refused")
        retreat = functools.partial(self._retreat, graph)
        graph.forwards.publish(outstanding.Arrival(loaded, guard, last, publish, refuse, retreat))

    def _arm(self, graph: Graph, place: Place, task: _core.LoadTask, loaded: Any) -> None:
        """Has the stage switched in at a call that all ranks agree on."""
        from fxfarm.ranks import Agreement, Armed

        refused = together(graph, loaded)
        if refused is not None or graph.client_id is None:
            task.done("refused", refused or "the model is gone")
            return

        def switch() -> None:
            try:
                self._switch(graph, task, loaded.call, loaded.boxed, None)
            except Exception as e:
                task.done("load_failed", describe(e))

        if self._agreement is None:
            self._agreement = Agreement(self._client)
        forwards = graph.forwards
        if forwards is not None:
            forwards.watch_differentiation(loaded, functools.partial(self._retreat, graph))
        self._agreement.arm(
            Armed(
                *(place, graph.client_id, task.stage, task.stage_key, graph.living_slot, switch),
                refuse=functools.partial(task.done, "refused"),
                may=lambda: forwards is None or forwards.stays is None,
            )
        )

    def _switch(self, graph: Graph, task: _core.LoadTask, call: Any, boxed: bool, guard: Any) -> bool:
        slot = graph.living_slot()
        if slot is None:
            task.done("cancelled", "the model is gone")
            return False
        measured = None
        if graph.judged:
            judge = functools.partial(self._judge, graph, slot.stage, task.stage)
            # Runs in the caller's thread.
            measured = functools.partial(self._later, judge)
        name = graph.times.stages[task.stage].name
        with _torch.span(f"fxfarm::switch {name} {graph.name}"):
            taken = graph.publish(task.stage, call, boxed, guard, measured)
        if taken:
            self._tell_switch(graph, name)
        self.switches += 1
        task.done()
        return taken

    def _tell_switch(self, graph: Graph, stage: str) -> None:
        now = time.monotonic()
        graph.times.switches.append((now, stage))
        seconds = now - graph.times.asked_at
        tell = functools.partial(
            log.info, "%s runs %s, %.3g s after its first call", graph.name, stage, seconds
        )
        # The caller's thread, within a call, writes no log.
        if threading.current_thread() is self._thread:
            tell()
        else:
            self._later(tell)

    def _judge(self, graph: Graph, before: int, stage: int) -> None:
        """Keeps the stage (index into the graph's), or goes back to the slot's stage `before`."""
        slot = graph.living_slot()
        if slot is None:
            return
        index = stage + 1
        verdict = trial.compare(slot.call_seconds(before), slot.call_seconds(index))
        if verdict is None or not verdict.slower:
            slot.keep(index)
        elif slot.roll_back(index):
            graph.times.switches.append((time.monotonic(), ("eager", *graph.times.plan)[slot.stage]))
            name = graph.stages[stage]["name"]
            log.warning("%s goes back from stage %s: it is slower, %s", graph.name, name, verdict)
            if graph.client_id is not None:
                self._client.roll_back(graph.client_id, stage, "slower", str(verdict))

    def _retreat(self, graph: Graph, why: str) -> None:
        """Has calls run eager for good; in a thread of the caller's, within a backward."""
        slot = graph.living_slot()
        if slot is not None and slot.retreat():
            graph.times.switches.append((time.monotonic(), "eager"))
            self._later(functools.partial(self._tell_retreat, graph, why))

    def _tell_retreat(self, graph: Graph, why: str) -> None:
        log.warning("%s goes back to eager: %s", graph.name, why)
        if graph.client_id is not None:
            for stage in reversed(range(graph.published)):
                self._client.roll_back(graph.client_id, stage, "refused", why)

    def _tidy_artifacts(self) -> None:
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY_S
        try:
            disk.prune(self._options.artifact_dir, self._options.artifact_bytes)
        except OSError as e:
            log.warning("artifacts cannot be tidied up: %s", e)


def _note_arrival(graph: Graph, task: _core.LoadTask) -> StageTimes:
    times, told = graph.times.stages[task.stage], task.told
    times.load_began = time.monotonic()
    times.source, times.phases, times.queued_s = told["source"], told["phases"], told["seconds_queued"]
    times.ready_at = graph.times.sent_at + told["seconds_to_ready"]
    seconds = times.ready_at - graph.times.asked_at
    log.info("%s has %s ready after %.3g s, from %s", graph.name, times.name, seconds, times.source)
    return times


def _note_failure(graph: Graph, stage: str, error: str) -> None:
    for times in graph.times.stages:
        if times.name == stage:
            times.failed_at, times.error = time.monotonic(), error


def together(graph: Graph, loaded: Any) -> str | None:
    """Why ranks cannot be told to switch to the stage together; None: they can.

    What is asked here has one answer for all ranks, or an answer that is not to change between the vote and
    the call.
    """
    if loaded.guard is not None:
        return "it has collectives and assumes something of its sizes, which may hold on some ranks only"
    if graph.forwards is None:
        return None
    if loaded.mutated:
        return "it has collectives, is trained and updates its inputs in place"
    return graph.forwards.stays
