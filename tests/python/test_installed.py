"""`backend="inductor"` through a real farm: what upstream's asynchronous modes promise, with caches on."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import marks
import pytest
import torch
from torch._inductor import compile_fx, metrics

import fxfarm
from fxfarm import _torch

pytestmark = marks.seam

STAGE_S = 600
"""Longest wait for a stage; a compile takes seconds on a machine that does nothing else."""


@pytest.fixture(autouse=True)
def inside(farm_client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Inductor's caches are on, as they are by default, and new.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    compile_fx.FxCompile._reset_stats()
    yield
    fxfarm.uninstall()


def counts() -> dict[str, int]:
    names = ("bg_started", "bg_finished", "eager_runs", "compiled_runs", "fast_runs", "optimized_runs")
    stats = fxfarm.stats()
    return {name: stats[name] for name in names if stats[name]}


def switched(stage: str = "default") -> list[fxfarm.GraphStatus]:
    """Waits for the last stage of every graph, and says that all of them run it."""
    assert fxfarm.wait(timeout=STAGE_S), "no stage in time"
    graphs = fxfarm.graphs()
    assert graphs
    assert {(g.stage, g.error, *(s.error for s in g.stages if s.error)) for g in graphs} == {(stage, "")}
    return graphs


def same(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, rtol=2e-4, atol=2e-5)


def compiled_here() -> int:
    """Graphs that Inductor has compiled in this process."""
    return compile_fx.FxCompile._compile_stats[compile_fx._InProcessFxCompile].codegen_and_compile


def adding(times: int) -> Callable[..., torch.Tensor]:
    """Upstream's test's model; each test has one of its own, which the farm does not have yet."""

    def added(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for _ in range(times):
            x = torch.add(x, y)
        return x

    return added


def leaves() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(10, 10, requires_grad=True), torch.randn(10, 10, requires_grad=True)


def test_async_runs_eager_until_both_halves_are_there_and_counts_exactly() -> None:
    fxfarm.install("async")
    fn = torch.compile(adding(20), fullgraph=True)
    steps = 0
    while steps == 0 or not fxfarm.wait(timeout=0.05):
        x, y = leaves()
        fn(x, y).sum().backward()
        same((x.grad, y.grad), (torch.ones(10, 10), torch.full((10, 10), 20.0)))
        steps += 1
    switched()
    told = counts()
    assert told.pop("eager_runs") + told.pop("compiled_runs", 0) == 2 * steps
    assert told == {"bg_started": 2, "bg_finished": 2}
    fxfarm.reset_stats()
    for _ in range(2):
        x, y = leaves()
        fn(x, y).sum().backward()
        same((x.grad, y.grad), (torch.ones(10, 10), torch.full((10, 10), 20.0)))
    assert counts() == {"compiled_runs": 4}
    assert [g.name for g in fxfarm.graphs()] == ["added 0/0 forward", "0/0 backward"]
    assert compiled_here() == 0


def test_progressive_goes_on_to_what_was_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    load = _torch.load_artifact

    def spied(data: Any, directory: Path, groups: Any) -> Any:
        stage = load(data, directory, groups)
        asked.append(stage.manifest["stage"]["options"])
        return stage

    monkeypatch.setattr(_torch, "load_artifact", spied)
    fxfarm.install("progressive")
    added = adding(21)
    fn = torch.compile(added, fullgraph=True)
    x, y = leaves()
    fn(x, y).sum().backward()
    assert fxfarm.stats()["fast_runs"] > 0
    switched("progression-1")
    fxfarm.reset_stats()
    for _ in range(2):
        same(fn(x, y), added(x, y))
    assert counts() == {"compiled_runs": 2, "optimized_runs": 2}
    assert sorted(asked, key=len)[-2:] == [{"max_autotune": "true"}] * 2
    assert compiled_here() == 0


def test_gpt2_is_served_and_its_first_call_compiles_nothing() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=90, bos_token_id=1, eos_token_id=2)
    model, ids = GPT2LMHeadModel(config).eval(), torch.randint(3, 90, (2, 12))
    fxfarm.install()
    compiled = torch.compile(model)
    with torch.no_grad():
        want = model(input_ids=ids).logits
        same(compiled(input_ids=ids).logits, want)
        while not fxfarm.wait(timeout=0.02):
            same(compiled(input_ids=ids).logits, want)
        switched()
        same(compiled(input_ids=ids).logits, want)
    assert compiled_here() == 0


@pytest.mark.parametrize("mode", ["async", "progressive"])
def test_a_model_is_trained_through_the_switches(mode: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5))
    other, x = copy.deepcopy(model), torch.randn(8, 16)
    fxfarm.install(mode)
    compiled = torch.compile(other, options={"fallback_random": True})
    pairs = [(m, torch.optim.SGD(m.parameters(), lr=0.1), f) for m, f in ((model, model), (other, compiled))]
    for i in range(12):
        if i == 10:
            assert fxfarm.wait(timeout=STAGE_S)
        for _, optimizer, call in pairs:
            torch.manual_seed(i)
            optimizer.zero_grad()
            call(x).square().mean().backward()
            optimizer.step()
        same(dict(other.state_dict()), dict(model.state_dict()))
    graphs = switched("default" if mode == "async" else "progression-1")
    assert all(g.runs[g.stage] > 0 for g in graphs)
    assert len(graphs) == 2


def test_caches_may_stay_on_from_run_to_run() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x.sin() * 3).cos()

    fxfarm.install()
    x = torch.randn(7, requires_grad=True)
    for i in range(2):
        torch._dynamo.reset()
        fxfarm.reset_stats()
        compiled = torch.compile(fn)
        compiled(x).sum().backward()
        switched()
        same(compiled(x), fn(x))
        assert fxfarm.stats()["bg_finished"] == 2
        assert [s.source for g in fxfarm.graphs() for s in g.stages].count("memory") == 2 * i
    assert compiled_here() == 0


def test_what_inductors_cache_holds_is_served_from_there() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return x @ x  # takes no C++ compiler

    x = torch.randn(7, 7)
    same(torch.compile(fn)(x), fn(x))
    assert compiled_here() == 1
    torch._dynamo.reset()
    fxfarm.install()
    same(torch.compile(fn)(x), fn(x))
    assert compiled_here() == 1
    assert fxfarm.graphs() == []


def test_one_stage_serves_many_sizes_and_others_run_eager() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x.softmax(0) * x.shape[0]).sum(0)

    fxfarm.install()
    compiled = torch.compile(fn, dynamic=True)
    compiled(torch.randn(6, 4))
    switched()
    fxfarm.reset_stats()
    for rows in (6, 9, 33):
        x = torch.randn(rows, 4)
        same(compiled(x), fn(x))
    assert counts() == {"compiled_runs": 3}
    # The engine's compile took sizes to be below 4097.
    x = torch.randn(5000, 4)
    same(compiled(x), fn(x))
    assert counts() == {"compiled_runs": 3, "eager_runs": 1}
    assert [g.guard_misses for g in fxfarm.graphs()] == [1]


def test_an_operator_that_the_engine_lacks_leaves_eager_with_the_reason() -> None:
    @torch.library.custom_op("fxfarm_installed::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @twice.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    fxfarm.install()
    compiled, x = torch.compile(lambda x: twice(x) + 1), torch.randn(3)
    for _ in range(2):
        same(compiled(x), x * 2 + 1)
        assert fxfarm.wait(timeout=STAGE_S)
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.runs) == ("eager", {"eager": 2})
    assert "fxfarm_installed::twice is not registered" in graph.stages[0].error


def test_a_graph_that_cannot_be_sent_leaves_eager_with_the_reason() -> None:
    import torch._inductor.config as config

    fxfarm.install()
    compiled, x = torch.compile(lambda x: x.sin() + 2), torch.randn(3)
    with config.patch({"post_grad_custom_pre_pass": lambda _: None}):
        same(compiled(x), x.sin() + 2)
    assert fxfarm.wait(timeout=STAGE_S)
    same(compiled(x), x.sin() + 2)
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.settled, graph.runs) == ("eager", True, {"eager": 2})
    assert "post_grad_custom_pre_pass" in graph.error


def test_records_warnings_and_metrics_of_the_compile_are_this_processs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    logger, loud = logging.getLogger("torch._inductor"), logging.getLogger("torch._inductor.compile_fx")
    logger.addHandler(handler)
    # Not by its attribute: loggers remember what an earlier level has let through.
    quiet = loud.level
    loud.setLevel(logging.INFO)
    fxfarm.install()
    compiled, x = torch.compile(lambda x: x * (1 + 2j)), torch.ones(3, dtype=torch.complex64)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            same(compiled(x), x * (1 + 2j))
            before = metrics.ir_nodes_pre_fusion
            switched()
            fxfarm.shutdown()
    finally:
        logger.removeHandler(handler)
        loud.setLevel(quiet)
    told = [r for r in records if "torchinductor compiling FORWARDS graph" in r.getMessage()]
    assert len(told) == 1
    assert told[0].levelno == logging.INFO
    assert sum("complex operators" in str(w.message) for w in caught) == 1
    assert metrics.ir_nodes_pre_fusion > before
    assert compiled_here() == 0
