"""The backend and its runtime against a farm that the test plays itself."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from farm_double import Client, Loaded, client, compiled, doubled_farm, prepared, seen_by_the_loader
from marks import forks
from programs import forked, until

import fxfarm
from fxfarm import _core, _torch, runtime, trial


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with doubled_farm(monkeypatch, tmp_path):
        yield


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


X = torch.ones(3)


def test_answers_at_once_and_switches_when_a_stage_arrives() -> None:
    fn = compiled(doubled)
    assert fn(X).tolist() == [2, 2, 2]
    client().arrive(1, 0, Loaded(lambda args: [args[0] * 3], boxed=True))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [3, 3, 3]
    (graph,) = fxfarm.graphs()
    assert (graph.key, graph.name, graph.stage, graph.settled) == ("k" * 64, "model", "default", True)
    assert graph.runs == {"eager": 1, "default": 1}
    assert graph.stages[0].state == "loaded"


@pytest.mark.parametrize(
    ("kwargs", "plan"),
    [
        ({}, ["max-autotune"]),
        ({"options": {"stages": ["default", "max-autotune"]}}, ["default", "max-autotune"]),
        ({"mode": "reduce-overhead"}, ["default", "reduce-overhead"]),
    ],
)
def test_stages_come_from_the_call_before_the_configuration(kwargs: dict[str, Any], plan: list[str]) -> None:
    fxfarm.configure(stages=["max-autotune"])
    compiled(doubled, **kwargs)(X)
    assert [s["name"] for s in client().graphs()[0]["stages"]] == plan


def test_a_plan_of_eager_alone_asks_nobody() -> None:
    assert compiled(doubled, options={"stages": ["eager"]})(X).tolist() == [2, 2, 2]
    assert (fxfarm.graphs(), Client.made, fxfarm.wait(timeout=0)) == ([], [], True)


def test_a_graph_that_cannot_be_serialized_stays_eager_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Any) -> Any:
        raise _torch.Unserializable("it holds a socket")

    monkeypatch.setattr(_torch, "serialize", refuse, raising=False)
    fn = compiled(doubled)
    with caplog.at_level(logging.WARNING, "fxfarm"):
        assert fn(X).tolist() == [2, 2, 2]
        assert fxfarm.wait(timeout=10)
    (graph,) = fxfarm.graphs()
    assert "it holds a socket" in graph.error
    assert (graph.stage, graph.settled) == ("eager", True)
    assert sum("it holds a socket" in r.message for r in caplog.records) == 1
    assert fn(X).tolist() == [2, 2, 2]


def test_what_fails_in_the_backend_leaves_eager_and_a_record() -> None:
    assert compiled(doubled, options={"stages": ["no-such-stage"]})(X).tolist() == [2, 2, 2]
    assert "no-such-stage" in fxfarm.graphs()[0].error


def test_a_torch_that_fxfarm_does_not_know_leaves_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    from fxfarm._torch import compat

    monkeypatch.setattr(compat, "SUPPORTED", ((1, 0), (1, 13)))
    assert compiled(doubled)(X).tolist() == [2, 2, 2]
    assert "fxfarm supports torch 1.0 to 1.13, this is " + torch.__version__ in fxfarm.graphs()[0].error


def test_a_torch_whose_inductor_is_not_known_is_not_installed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import compile_fx

    from fxfarm._torch import compat

    original = compile_fx.fx_codegen_and_compile
    monkeypatch.setattr(torch, "__version__", "2.12.1+cpu")
    compat.check_version()
    with pytest.raises(RuntimeError, match=r"install\(\) supports torch 2\.13, this is 2\.12\.1"):
        fxfarm.install()
    assert compile_fx.fx_codegen_and_compile is original


def test_a_bad_variable_leaves_eager(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FXFARM_LOCAL", "maybe")
    assert compiled(doubled)(X).tolist() == [2, 2, 2]
    assert "FXFARM_LOCAL" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_torch.CorruptArtifact("cut off"), "corrupt"),
        (_torch.LoadError("no such kernel"), "load_failed"),
        (ZeroDivisionError("odd"), "load_failed"),
    ],
)
def test_what_cannot_be_loaded_is_answered_with_its_reason(error: Exception, code: str) -> None:
    fn = compiled(doubled)
    fn(X)
    task = client().arrive(1, 0, error)
    assert client().until(lambda: bool(task.answers))
    assert task.answers[0][0] == code
    assert str(error) in task.answers[0][1]
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [2, 2, 2]


def test_a_stage_that_fails_in_the_farm_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    compiled(doubled)(X)
    client().settle(1, 0, "failed", "compile_failed: no such pass")
    assert fxfarm.wait(timeout=10)
    assert fxfarm.wait(timeout=10)
    assert caplog.text.count("no such pass") == 1


def test_a_failure_is_logged_though_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    logged = threading.Event()

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "no such pass" in record.getMessage():
                logged.set()

    handler = Told()
    logging.getLogger("fxfarm").addHandler(handler)
    try:
        compiled(doubled)(X)
        client().settle(1, 0, "failed", "compile_failed: no such pass")
        assert logged.wait(10)
    finally:
        logging.getLogger("fxfarm").removeHandler(handler)


CALLS = 80
"""More than are timed before two stages are compared."""


def slow(x: torch.Tensor) -> tuple[torch.Tensor]:
    # Longer than what calls take longer by when other programs want the cores.
    time.sleep(0.02)
    return (x * 3,)


def test_a_stage_that_is_slower_is_left_again(caplog: pytest.LogCaptureFixture) -> None:
    fn = compiled(doubled)
    for _ in range(CALLS):
        fn(X)
    farm = client()
    farm.arrive(1, 0, Loaded(slow))
    assert fxfarm.wait(timeout=10)

    def left_again() -> bool:
        fn(X)
        return bool(farm.rolled_back)

    until("the stage is left again", left_again)
    assert farm.rolled_back[0][:2] == (1, 0)
    assert fn(X).tolist() == [2, 2, 2]
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.settled, graph.stages[0].state) == ("eager", True, "rolled_back")
    assert graph.seconds_per_call["default"] > graph.seconds_per_call["eager"] > 0
    assert "goes back from stage default: it is slower" in caplog.text


def test_a_stage_that_is_not_slower_stays_and_eager_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever else runs on the machine.
    monkeypatch.setattr(trial, "MARGIN", 1e9)
    fn = compiled(doubled)
    farm = runtime.get()
    for _ in range(CALLS):
        fn(X)
    slot = next(iter(farm._graphs.values())).living_slot()
    client().arrive(1, 0, Loaded(lambda x: (x,)))
    assert fxfarm.wait(timeout=10)
    for _ in range(CALLS):
        fn(X)
    prepared()
    assert fxfarm.graphs()[0].stage == "default"
    assert slot is not None
    assert slot.roll_back(1) is False


@pytest.mark.parametrize("kind", ["trained", "told not to"])
def test_a_slower_stage_stays_where_calls_do_not_tell(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "told not to":
        fxfarm.configure(roll_back=False)
    fn = compiled(doubled)
    x = torch.ones(3, requires_grad=kind == "trained")
    for _ in range(CALLS):
        fn(x)
    farm = client()
    farm.arrive(1, 0, Loaded(slow))
    assert fxfarm.wait(timeout=10)
    for _ in range(CALLS):
        fn(x)
    prepared()
    assert (farm.rolled_back, fxfarm.graphs()[0].stage) == ([], "default")


def test_a_dropped_model_releases_its_graph() -> None:
    farm = runtime.get()
    slot = _core.Slot(lambda: 0)
    farm.add(types.SimpleNamespace(name="model"), slot, [{"name": "default", "options": {}}])
    started = client()
    assert len(fxfarm.graphs()) == 1
    del slot
    gc.collect()
    assert started.until(lambda: started.released == [1])
    assert fxfarm.graphs() == []


def test_wait_times_out_and_ctrl_c_ends_it() -> None:
    assert fxfarm.wait() is True
    compiled(doubled)(X)
    client()
    assert fxfarm.wait(timeout=0) is False
    # A shell that starts this in the background has it ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        farm = client()
        farm.waited_for.clear()

        def interrupt() -> None:
            assert farm.waited_for.wait(10)
            signal.raise_signal(signal.SIGINT)

        other = threading.Thread(target=interrupt)
        other.start()
        with pytest.raises(KeyboardInterrupt):
            fxfarm.wait()
        other.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_statistics_count_from_the_last_reset() -> None:
    fn = compiled(doubled)
    fn(X)
    client().arrive(1, 0, Loaded(lambda x: (x * 2,)))
    assert fxfarm.wait(timeout=10)
    fn(X)
    fn(X)
    told = fxfarm.stats()
    assert {k: told[k] for k in ("bg_started", "bg_finished", "lookups")} == {
        "bg_started": 1,
        "bg_finished": 1,
        "lookups": 1,
    }
    fxfarm.reset_stats()
    fn(X)
    told = fxfarm.stats()
    assert (told["bg_finished"], told["eager_runs"], told["compiled_runs"]) == (0, 0, 1)


def test_statistics_begin_at_zero_again_after_a_shutdown() -> None:
    fn = compiled(doubled)
    fn(X)
    client()
    fxfarm.shutdown()
    torch._dynamo.reset()
    del fn
    gc.collect()
    compiled(doubled)(X)
    client()
    told = fxfarm.stats()
    assert (told["bg_started"], told["eager_runs"], told["compiled_runs"]) == (1, 1, 0)


def test_configure_is_refused_once_started_and_allowed_after_shutdown() -> None:
    compiled(doubled)(X)
    with pytest.raises(RuntimeError, match="has started"):
        fxfarm.configure(space="other")
    with pytest.raises(fxfarm.ConfigError):
        fxfarm.shutdown()
        fxfarm.configure(spcae="other")
    fxfarm.configure(space="other", endpoints=["tcp://farm:7070"], local=False)
    torch._dynamo.reset()
    compiled(doubled)(X)
    options = client().options
    assert (options["space"], options["endpoints"], options["local_command"]) == (
        "other",
        ["tcp://farm:7070"],
        [],
    )


def test_a_model_outlives_a_shutdown() -> None:
    fn = compiled(doubled)
    fn(X)
    started = client()
    started.arrive(1, 0, Loaded(lambda x: (x * 3,)))
    assert fxfarm.wait(timeout=10)
    fxfarm.shutdown()
    assert started.stopped
    assert fn(X).tolist() == [3, 3, 3]
    assert fxfarm.graphs() == []


@forks
def test_a_fork_is_harmless_and_the_child_can_compile() -> None:
    fn = compiled(doubled)
    fn(X)
    started = client()

    def compiles() -> bool:
        ok = started.abandoned and runtime.current() is None and fn(X).tolist() == [2, 2, 2]
        torch._dynamo.reset()
        return ok and compiled(doubled)(X).tolist() == [2, 2, 2] and client() is not started

    assert forked(compiles) == 0
    assert not started.abandoned


def test_training_waits_with_the_switch_for_the_backward_of_a_mutating_graph() -> None:
    model = torch.nn.BatchNorm1d(3)
    fn = compiled(model)
    x = torch.randn(4, 3)
    loss = fn(x).sum()
    farm = client()
    task = farm.arrive(1, 0, Loaded(lambda *args: (args[0],), mutated=(0,)))
    seen_by_the_loader()
    assert task.answers == []
    assert fxfarm.graphs()[0].stage == "eager"
    loss.backward()
    assert task.answers == [("none", "")]
    assert fxfarm.graphs()[0].stage == "default"


def test_a_graph_that_mutates_nothing_switches_at_once_in_training() -> None:
    model = torch.nn.Linear(3, 3)
    fn = compiled(model)
    kept = fn(torch.randn(4, 3))
    client().arrive(1, 0, Loaded(lambda *args: (args[0],)))
    assert fxfarm.wait(timeout=10)
    assert fxfarm.graphs()[0].stage == "default"
    assert kept.requires_grad
