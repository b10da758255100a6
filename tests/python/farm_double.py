"""A farm in the test's own process: what is submitted waits until the test lets a stage arrive or fail."""

from __future__ import annotations

import dataclasses
import gc
import queue
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from fxfarm import _core, _torch, runtime
from fxfarm._torch.double_backward import Notice


@dataclasses.dataclass
class Loaded:
    """What an artifact is loaded to."""

    call: Callable[..., Any]
    boxed: bool = False
    guard: Callable[..., Any] | None = None
    mutated: tuple[int, ...] = ()
    double_backward: Notice = dataclasses.field(default_factory=Notice)
    manifest: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Task:
    """Stands for _core.LoadTask."""

    client: Client
    graph: int
    stage: int
    artifact: Any
    answers: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def told(self) -> dict[str, Any]:
        return dict(self.client.graph_states[self.graph]["stages"][self.stage])

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
        self.waited_for = threading.Event()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        Client.made.append(self)

    def submit(
        self,
        graph_key: str,
        name: str,
        graph: bytes,
        stages: list[Any],
        target: Any,
        parts: dict[str, str],
        prepare_seconds: float,
    ) -> int:
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
                "farm": "",
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
            g = self.graph_states.get(graph)
            if g is not None:
                g["stages"][stage].update(state=state, error=error)
                g["settled"] = all(s["state"] in ("loaded", "failed") for s in g["stages"])
            self._changed.notify_all()
        if g is not None and state == "failed":
            self._tasks.put(None)

    def release(self, graph: int) -> None:
        with self._changed:
            self.released.append(graph)
            self.graph_states.pop(graph)
            self._changed.notify_all()

    def roll_back(self, graph: int, stage: int, code: str, why: str) -> None:
        with self._changed:
            self.rolled_back.append((graph, stage, f"{code}: {why}"))
            self.graph_states[graph]["stages"][stage].update(state="rolled_back", error=why)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, 10)

    def wait_slice(self, stage: str, timeout_ms: int) -> str:
        self.waited_for.set()
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


@contextmanager
def doubled_farm(monkeypatch: pytest.MonkeyPatch, artifacts: Path) -> Iterator[None]:
    """Has the backend meet this file's client, and artifacts that are what they load to."""

    def serialize(snapshot: Any) -> Any:
        return types.SimpleNamespace(
            key="k" * 64, payload=b"graph", name="model", node_count=1, device="cpu", groups=(), parts={}
        )

    def load_artifact(data: Any, directory: Any, groups: Any) -> Any:
        if isinstance(data, Exception):
            raise data
        return data

    snapshot = types.SimpleNamespace(problem=None, groups=(), name="model")
    monkeypatch.setattr(_torch, "snapshot", lambda gm, inputs: snapshot, raising=False)
    monkeypatch.setattr(_torch, "serialize", serialize, raising=False)
    monkeypatch.setattr(
        _torch, "target_platform", lambda device, isa, stages: {"torch": "2.13"}, raising=False
    )
    monkeypatch.setattr(_torch, "load_artifact", load_artifact, raising=False)
    monkeypatch.setattr(_core, "Client", Client)
    monkeypatch.setenv("FXFARM_ARTIFACT_DIR", str(artifacts))
    Client.made.clear()
    torch._dynamo.reset()
    # Slots that other tests have left behind would be counted when they go.
    gc.collect()
    yield
    runtime.shutdown()
    runtime._given = {}
    torch._dynamo.reset()


def compiled(fn: Callable[..., Any], **kwargs: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = torch.compile(fn, backend="fxfarm", **kwargs)
    return found


def client() -> Client:
    """The client that has been started, once it has a graph."""
    farm = runtime.current()
    assert farm is not None
    with farm._changed:
        assert farm._changed.wait_for(lambda: farm._unprepared == 0, 10)
    assert Client.made[-1].until(lambda: bool(Client.made[-1].graph_states))
    return Client.made[-1]


def prepared() -> None:
    """Returns when the prepare thread has done all that was put there so far."""
    done = threading.Event()
    runtime.get()._preparer.later(done.set)
    assert done.wait(10)


def seen_by_the_loader() -> None:
    """Returns when the loader is through with all that has arrived so far."""
    no_graph = 0
    probe = client().arrive(no_graph, 0, None)
    assert client().until(lambda: bool(probe.answers))
