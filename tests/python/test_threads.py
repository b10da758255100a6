"""The two threads of the runtime: they outlive what fails in them, leave when told to, and keep no model."""

from __future__ import annotations

import gc
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from farm_double import Client, Loaded, client, compiled, doubled_farm, prepared, seen_by_the_loader

import fxfarm
from fxfarm import _torch, pace, runtime, trial
from fxfarm.backend import fxfarm as farm_backend

X = torch.ones(3)


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with doubled_farm(monkeypatch, tmp_path):
        yield


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fxfarm"]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("fxfarm-")]


class Endless:
    """Work that has no end of its own, in steps."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.given_up = threading.Event()
        self.started = 0

    def __call__(self, *_: object) -> Any:
        self.started += 1
        self.begun.set()
        while not self.given_up.is_set():
            pace.step()


@pytest.fixture
def endless() -> Iterator[Endless]:
    made = Endless()
    yield made
    made.given_up.set()


def test_a_shutdown_ends_serializing_at_its_next_step(
    endless: Endless, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_torch, "serialize", endless, raising=False)
    for fn in (doubled, lambda x: x * 3):
        compiled(fn)(X)
    assert endless.begun.wait(10)
    fxfarm.shutdown()
    assert threads() == []
    # The second graph, which waited its turn, was not begun; nothing was sent, and nothing went wrong.
    assert (endless.started, Client.made, said(caplog)) == (1, [], [])


def test_a_shutdown_ends_loading_at_its_next_step_and_publishes_nothing(
    endless: Endless, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_torch, "load_artifact", endless, raising=False)
    fn = compiled(doubled)
    fn(X)
    task = client().arrive(1, 0, None)
    assert endless.begun.wait(10)
    fxfarm.shutdown()
    assert threads() == []
    assert (task.answers, fn(X).tolist(), said(caplog)) == ([], [2, 2, 2], [])


def test_a_shutdown_wakes_work_that_pauses(endless: Endless, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_S", 0.0)
    monkeypatch.setattr(pace, "DUTY", 1e-9)
    monkeypatch.setattr(pace, "PAUSE_S_MAX", 3600.0)
    monkeypatch.setattr(_torch, "serialize", endless, raising=False)
    compiled(doubled)(X)
    assert endless.begun.wait(10)
    fxfarm.shutdown()
    assert threads() == []


def test_a_shutdown_ends_a_wait_for_a_graph_that_is_not_sent(
    endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_torch, "serialize", endless, raising=False)
    compiled(doubled)(X)
    waiter = threading.Thread(target=fxfarm.wait, daemon=True)
    waiter.start()
    assert endless.begun.wait(10)
    fxfarm.shutdown()
    waiter.join(10)
    assert not waiter.is_alive()


def test_a_command_that_fails_is_logged_and_the_next_ones_are_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled(doubled)(X)

    def fail(*_: object) -> None:
        raise OSError("no release today")

    monkeypatch.setattr(client(), "release", fail)
    torch._dynamo.reset()
    gc.collect()
    prepared()
    assert caplog.text.count("OSError: no release today") == 1
    compiled(lambda x: x * 3)(X)
    assert [g["name"] for g in client().graphs()] == ["model", "model"]
    client().settle(1, 0, "failed")
    client().settle(2, 0, "failed")
    assert fxfarm.wait(timeout=10)


NOT_CALLABLE: Any = 3


def test_a_stage_that_cannot_be_published_is_answered_and_the_next_ones_are_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fn = compiled(doubled, options={"stages": ["default", "max-autotune"]})
    fn(X)
    task = client().arrive(1, 0, Loaded(NOT_CALLABLE))
    seen_by_the_loader()
    assert task.answers == [
        ("load_failed", "TypeError: target must be callable, guard and measured callable or None")
    ]
    client().arrive(1, 1, Loaded(lambda x: (x * 3,)))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [3, 3, 3]
    assert caplog.text.count("target must be callable") == 1


def test_a_stage_that_cannot_be_published_after_a_backward_does_not_raise_there() -> None:
    fn = compiled(torch.nn.BatchNorm1d(3))
    loss = fn(torch.randn(4, 3)).sum()
    task = client().arrive(1, 0, Loaded(NOT_CALLABLE, mutated=(0,)))
    seen_by_the_loader()
    assert task.answers == []
    loss.backward()
    assert [code for code, _ in task.answers] == ["load_failed"]
    assert fn(torch.randn(4, 3)).shape == (4, 3)


def test_what_fails_around_a_load_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fn = compiled(torch.nn.BatchNorm1d(3))
    fn(torch.randn(4, 3)).sum().backward()
    farm = runtime.get()
    (graph,) = farm._graphs.values()

    def refuse(*_: object) -> None:
        raise ArithmeticError("no place for it")

    monkeypatch.setattr(graph, "forwards", types.SimpleNamespace(publish=refuse))
    task = client().arrive(1, 0, Loaded(lambda *args: args))
    seen_by_the_loader()
    assert task.answers == [("load_failed", "ArithmeticError: no place for it")]
    assert "the loader goes on after ArithmeticError: no place for it" in caplog.text


def test_a_failed_look_at_failures_ends_no_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fn = compiled(doubled)
    fn(X)
    graphs = client().graphs
    monkeypatch.setattr(client(), "graphs", lambda: [{}])
    client()._tasks.put(None)
    seen_by_the_loader()
    assert "the loader goes on after KeyError" in caplog.text
    monkeypatch.setattr(client(), "graphs", graphs)
    client().arrive(1, 0, Loaded(lambda x: (x * 3,)))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [3, 3, 3]


CALLS = 80
"""More than are timed before two stages are compared."""


class Watched:
    """The backend, with a weak reference to each graph that Dynamo hands it."""

    def __init__(self) -> None:
        self.graphs: list[weakref.ref[torch.fx.GraphModule]] = []

    def __call__(self, gm: torch.fx.GraphModule, inputs: Any, **options: Any) -> Callable[..., Any]:
        self.graphs.append(weakref.ref(gm))
        return farm_backend(gm, inputs, **options)

    def alive(self) -> list[bool]:
        gc.collect()
        return [graph() is not None for graph in self.graphs]


def inference(watched: Watched, stages: list[str]) -> Callable[[], object]:
    fn: Any = torch.compile(doubled, backend=watched, options={"stages": stages})
    return lambda: fn(X)


def training(watched: Watched, stages: list[str]) -> Callable[[], object]:
    model = torch.nn.BatchNorm1d(3)
    fn: Any = torch.compile(model, backend=watched, options={"stages": stages})
    return lambda: fn(torch.randn(4, 3)).sum().backward()


def compiled_code(*args: torch.Tensor) -> tuple[torch.Tensor]:
    return (args[0] * 2,)


@pytest.mark.parametrize(
    ("kind", "mutated", "freed"),
    [(inference, (), True), (inference, (0,), False), (training, (), False), (training, (0,), False)],
)
def test_the_last_stage_frees_the_models_graph_where_nothing_goes_back_to_eager(
    kind: Any, mutated: tuple[int, ...], freed: bool
) -> None:
    fxfarm.configure(roll_back=False)
    watched = Watched()
    step = kind(watched, ["default", "max-autotune"])
    step()
    client().arrive(1, 0, Loaded(compiled_code, mutated=mutated))
    seen_by_the_loader()
    # A better stage may need eager for what its guard refuses.
    assert watched.alive() == [True]
    client().arrive(1, 1, Loaded(compiled_code, mutated=mutated))
    seen_by_the_loader()
    assert watched.alive() == [not freed]
    assert fxfarm.graphs()[0].stage == "max-autotune"


@pytest.mark.parametrize("first", ["published", "failed"])
def test_so_does_the_failure_of_all_that_could_have_been_better(first: str) -> None:
    fxfarm.configure(roll_back=False)
    watched = Watched()
    step = inference(watched, ["default", "max-autotune"])
    step()
    happen = [
        lambda: client().arrive(1, 0, Loaded(compiled_code)),
        lambda: client().settle(1, 1, "failed", "compile_failed: odd"),
    ]
    for what in happen if first == "published" else reversed(happen):
        what()
        seen_by_the_loader()
    assert fxfarm.graphs()[0].stage == "default"
    assert watched.alive() == [False]


def test_so_does_the_verdict_that_the_stage_is_not_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever else runs on the machine.
    monkeypatch.setattr(trial, "MARGIN", 1e9)
    watched = Watched()
    step = inference(watched, ["default"])
    for _ in range(CALLS):
        step()
    client().arrive(1, 0, Loaded(compiled_code))
    seen_by_the_loader()
    assert watched.alive() == [True]
    for _ in range(CALLS):
        step()
    prepared()
    assert watched.alive() == [False]


def test_a_guard_keeps_the_graph_for_what_it_refuses() -> None:
    watched = Watched()
    step = training(watched, ["default"])
    step()
    client().arrive(1, 0, Loaded(compiled_code, guard=lambda *_: False))
    seen_by_the_loader()
    step()
    assert (watched.alive(), fxfarm.graphs()[0].guard_misses) == ([True], 1)


def test_a_model_that_is_dropped_takes_its_graph_along(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    step = training(watched, ["default"])
    step()
    started = client()
    del step
    torch._dynamo.reset()
    gc.collect()
    assert started.until(lambda: started.released == [1])
    prepared()
    assert watched.alive() == [False]
    assert said(caplog) == []


def test_a_thread_that_cannot_start_leaves_the_graph_eager_and_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("fxfarm-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert compiled(doubled)(X).tolist() == [2, 2, 2]
        assert fxfarm.wait(timeout=10)
    assert said(caplog) == ["graph-1 stays eager: RuntimeError: can't start new thread"]
    # The next one tries again.
    compiled(lambda x: x * 3)(X)
    assert client().graphs()
    assert sorted(threads()) == ["fxfarm-loader", "fxfarm-prepare"]


def test_a_loader_that_cannot_start_is_tried_again_with_the_next_graph(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "fxfarm-loader":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        compiled(doubled)(X)
        prepared()
    assert Client.made[-1].stopped
    assert caplog.text.count("stays eager: RuntimeError: can't start new thread") == 1
    fn = compiled(lambda x: x * 3)
    fn(X)
    client().arrive(1, 0, Loaded(lambda x: x * 3))
    assert fxfarm.wait(timeout=10)
    assert (fxfarm.graphs()[-1].stage, Client.made[-1].stopped) == ("default", False)


def test_a_graph_that_meets_a_shutdown_stays_eager_and_starts_no_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = runtime.get()
    ended.shutdown()
    assert compiled(doubled)(X).tolist() == [2, 2, 2]
    assert threads() == []
    assert fxfarm.wait(timeout=10)
    assert "stays eager: fxfarm was shut down meanwhile" in caplog.text
