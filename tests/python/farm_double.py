"""A farm in the test's own process: what is submitted waits until the test lets a stage arrive or fail."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass
class Loaded:
    """What an artifact is loaded to."""

    call: Callable[..., Any]
    boxed: bool = False
    guard: Callable[..., Any] | None = None
    mutates_inputs: bool = False
    manifest: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Task:
    """Stands for _core.LoadTask."""

    client: Client
    graph: int
    stage: int
    artifact: Any
    answers: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def done(self, code: str = "none", message: str = "") -> None:
        self.answers.append((code, message))
        self.client.settle(self.graph, self.stage, "loaded" if code == "none" else "failed", message)


class Client:
    """Stands for _core.Client."""

    made: list[Client] = []  # noqa: RUF012 - one list for all

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.stopped = False
        self.abandoned = False
        self.graph_states: dict[int, dict[str, Any]] = {}
        self.released: list[int] = []
        self.rolled_back: list[tuple[int, int, str]] = []
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        Client.made.append(self)

    def submit(self, graph_key: str, name: str, graph: bytes, stages: list[Any], target: Any) -> int:
        with self._changed:
            ident = len(self.graph_states) + 1
            blank = {"stage_key": "", "source": "", "error": "", "phases": {}, "state": "waiting"}
            times = dict.fromkeys(
                ("seconds_to_ready", "seconds_to_switch", "seconds_load", "seconds_queued"), 0.0
            )
            self.graph_states[ident] = {
                "id": ident,
                "graph_key": graph_key,
                "name": name,
                "stage": "eager",
                "settled": False,
                "stages": [{"name": s["name"], **blank, **times} for s in stages],
            }
            self._changed.notify_all()
        return ident

    def arrive(self, graph: int, stage: int, loaded: Any) -> Task:
        """Lets a stage's artifact arrive; `loaded` is what it loads to, or the exception that loading
        raises."""
        task = Task(self, graph, stage, loaded)
        self._tasks.put(task)
        return task

    def settle(self, graph: int, stage: int, state: str, error: str = "") -> None:
        with self._changed:
            g = self.graph_states[graph]
            g["stages"][stage].update(state=state, error=error)
            g["settled"] = all(s["state"] in ("loaded", "failed") for s in g["stages"])
            self._changed.notify_all()
        if state == "failed":
            self._tasks.put(None)

    def release(self, graph: int) -> None:
        with self._changed:
            self.released.append(graph)
            self.graph_states.pop(graph)
            self._changed.notify_all()

    def roll_back(self, graph: int, stage: int, why: str) -> None:
        with self._changed:
            self.rolled_back.append((graph, stage, why))
            self.graph_states[graph]["stages"][stage].update(state="rolled_back", error=why)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, 10)

    def wait_slice(self, stage: str, timeout_ms: int) -> str:
        with self._changed:
            settled = self._changed.wait_for(
                lambda: all(g["settled"] for g in self.graph_states.values()), timeout_ms / 1000
            )
            failed = any(s["state"] == "failed" for g in self.graph_states.values() for s in g["stages"])
        return "timed_out" if not settled else "failed" if failed else "reached"

    def next_task(self, timeout_ms: int) -> Task | None:
        return self._tasks.get()

    def graphs(self) -> list[dict[str, Any]]:
        with self._changed:
            return [dict(g) for g in self.graph_states.values()]

    def stats(self) -> dict[str, int]:
        return {"lookups": len(self.graph_states)}

    def reset_stats(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True
        self._tasks.put(None)

    def abandon(self) -> None:
        self.abandoned = True
