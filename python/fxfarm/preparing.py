"""Serializes graphs and submits them to the farm, on a thread of its own beside the model's calls."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fxfarm import _core, config, manifest, pace
from fxfarm.graph import Graph, describe
from fxfarm.logs import log

if TYPE_CHECKING:
    from fxfarm.ranks import Place, Places


class Preparer:
    """The prepare thread of one runtime, and the graphs that it has submitted."""

    def __init__(
        self, options: config.Config, *, connect: Callable[[], _core.Client], stopping: threading.Event
    ) -> None:
        """`connect` gives the client, made when there is none; it is called on the thread."""
        self.asked = 0
        """Stages asked for."""
        # None ends the thread.
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.later: Callable[[Callable[[], None]], None] = self._commands.put
        """Has the thread run a function after those before it. Any thread, at any allocation."""
        self._options = options
        self._connect = connect
        self._stopping = stopping
        self._thread: threading.Thread | None = None
        # Held from a submit until the graph can be found by the client's id, which the loader may need before
        # that. It guards the table.
        self._submitting = threading.Lock()
        self._by_client: dict[int, Graph] = {}
        # Once a graph has collectives.
        self._places: Places | None = None
        o = options
        self._recorder = manifest.Recorder(o.record, o.record_bytes) if o.record is not None else None

    def start(self) -> bool:
        """Starts the thread unless it runs already; whether it has. Raises RuntimeError when there can be no
        further thread; a later call tries again. Not from two threads at once.
        """
        if self._thread is not None:
            return False
        thread = threading.Thread(target=self._run, name="fxfarm-prepare", daemon=True)
        thread.start()
        self._thread = thread
        return True

    def end(self) -> None:
        """Has the thread end once it has run what it was given before, or at once where `stopping` is set."""
        self._commands.put(None)

    def join(self, seconds: float) -> None:
        """Waits for the end of the thread; not from within it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def find(self, client_id: int) -> Graph | None:
        """The graph with that id of the client's. Any thread."""
        with self._submitting:
            return self._by_client.get(client_id)

    def forget(self, client_id: int) -> None:
        """The graph is not to be found any longer."""
        with self._submitting:
            self._by_client.pop(client_id, None)

    def _run(self) -> None:
        while (command := self._commands.get()) is not None and not self._stopping.is_set():
            try:
                command()
            except pace.Stopped:
                return
            except Exception as e:
                # The graphs to come need this thread.
                log.warning("the farm's client goes on after %s", describe(e))

    def submit(self, graph: Graph) -> None:
        """Serializes the graph and asks the farm for its stages, unless the model is gone. On the thread.

        Raises whatever serializing and connecting raise, Unserializable among it, and pace.Stopped.
        """
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
        graph.judged = self._options.roll_back and serialized.device == "cpu" and alone
        pace.step()
        target = target_platform(serialized.device, self._options.isa, graph.stages)
        client = self._connect()
        with self._submitting:
            graph.times.sent_at = time.monotonic()
            prepared_s = graph.times.sent_at - graph.times.asked_at
            graph.client_id = client.submit(
                graph.key, graph.name, serialized.payload, graph.stages, target, serialized.parts, prepared_s
            )
            self._by_client[graph.client_id] = graph
        self._record(serialized, graph, target)
        self.asked += len(graph.stages)
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
            self._places = Places(self._options.job)
        return self._places.find(graph.key, graph.groups)
