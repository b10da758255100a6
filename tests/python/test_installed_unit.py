"""The farm inside Inductor against a farm that the test plays itself: seam, counters, what goes wrong."""

from __future__ import annotations

import copy
import gc
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import marks
import pytest
import torch
from farm_double import Loaded, client, doubled_farm
from torch._inductor import compile_fx, metrics
from torch._inductor.codecache import FxGraphCache

import fxfarm
from fxfarm import _torch, installed
from fxfarm._torch import said, scheme

pytestmark = marks.seam

ORIGINAL = compile_fx.fx_codegen_and_compile, FxGraphCache._save_graph


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    # Inductor's caches are on, and new.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    with doubled_farm(monkeypatch, tmp_path):
        yield
        fxfarm.uninstall()


NOTHING: dict[str, Any] = {"logs": [], "warnings": [], "metrics": {}, "lost": 0}


def loaded(call: Callable[[list[Any]], Any], told: Any = NOTHING, guard: Any = None) -> Loaded:
    return Loaded(call, guard=guard, manifest={"inner": {"is_backward": False, "said": told}})


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def tripled(args: list[Any]) -> Any:
    return (args.pop() * 3,)


X = torch.ones(3)
COUNTED = ("bg_started", "bg_finished", "eager_runs", "compiled_runs", "fast_runs", "optimized_runs")


def counts() -> dict[str, int]:
    stats = fxfarm.stats()
    return {name: stats[name] for name in COUNTED if stats[name]}


def test_a_graph_of_inductors_answers_at_once_and_switches() -> None:
    fxfarm.install()
    fn = torch.compile(doubled)
    assert fn(X).tolist() == [2, 2, 2]
    assert counts() == {"bg_started": 1, "eager_runs": 1}
    client().arrive(1, 0, loaded(tripled))
    assert fxfarm.wait(timeout=10)
    assert counts() == {"bg_started": 1, "bg_finished": 1, "eager_runs": 1}
    assert fn(X).tolist() == [3, 3, 3]
    assert counts() == {"bg_started": 1, "bg_finished": 1, "eager_runs": 1, "compiled_runs": 1}
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.runs) == ("default", {"eager": 1, "default": 1})
    assert compile_fx.FxCompile._compile_stats[scheme.FarmFxCompile].codegen_and_compile > 0


def test_progressive_mode_tells_fast_runs_from_optimized_ones() -> None:
    fxfarm.install("progressive")
    fn = torch.compile(doubled)
    fn(X)
    farm = client()
    assert [s["name"] for s in farm.graphs()[0]["stages"]] == ["default", "progression-1"]
    farm.arrive(1, 0, loaded(tripled))
    farm.until(lambda: farm.graphs()[0]["stages"][0]["state"] == "loaded")
    fn(X)
    assert counts() == {
        **{"bg_started": 2, "bg_finished": 1},
        **{"eager_runs": 1, "compiled_runs": 1, "fast_runs": 2},
    }
    farm.arrive(1, 1, loaded(tripled))
    assert fxfarm.wait(timeout=10)
    fn(X)
    assert counts() == {
        **{"bg_started": 2, "bg_finished": 2},
        **{"eager_runs": 1, "compiled_runs": 2, "fast_runs": 2, "optimized_runs": 1},
    }
    fxfarm.reset_stats()
    assert counts() == {}
    fn(X)
    assert counts() == {"compiled_runs": 1, "optimized_runs": 1}


def test_the_progression_is_inductors_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        compile_fx, "_get_progression_configs", lambda: [{"max_autotune": True}, {"epilogue_fusion": False}]
    )
    assert installed.plan_of("async") == [{"name": "default", "options": {}}]
    assert installed.plan_of("progressive") == [
        {"name": "default", "options": {}},
        {"name": "progression-1", "options": {"max_autotune": "true"}},
        {"name": "progression-2", "options": {"epilogue_fusion": "false"}},
    ]


def test_runs_are_still_counted_when_the_model_is_gone() -> None:
    fxfarm.install("progressive")
    fn = torch.compile(doubled)
    fn(X)
    fn(X)
    farm = client()
    del fn
    torch._dynamo.reset()
    gc.collect()
    assert farm.until(lambda: farm.released == [1])
    assert fxfarm.graphs() == []
    assert counts() == {"bg_started": 2, "eager_runs": 2, "fast_runs": 2}


def test_a_copy_of_a_model_shares_its_code() -> None:
    code = scheme.FarmOutputCode(tripled)
    assert copy.deepcopy({"code": code})["code"] is code


def test_uninstalling_gives_inductor_its_own_back_and_pending_graphs_go_on() -> None:
    fxfarm.install()
    assert compile_fx.fx_codegen_and_compile is not ORIGINAL[0]
    fn = torch.compile(doubled)
    fn(X)
    for _ in range(2):
        fxfarm.uninstall()
        assert (compile_fx.fx_codegen_and_compile, FxGraphCache._save_graph) == ORIGINAL
    client().arrive(1, 0, loaded(tripled))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [3, 3, 3]


def test_the_mode_may_change_for_graphs_to_come() -> None:
    for mode in ("progressive", "async", "async"):
        fxfarm.install(mode)
    torch.compile(doubled)(X)
    assert [s["name"] for s in client().graphs()[0]["stages"]] == ["default"]
    fxfarm.uninstall()
    assert (compile_fx.fx_codegen_and_compile, FxGraphCache._save_graph) == ORIGINAL


def test_what_somebody_else_has_put_there_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def inductors_own(*_: Any, **__: Any) -> Any:
        raise LookupError("Inductor's own")

    fxfarm.install()
    ours = compile_fx.fx_codegen_and_compile
    with monkeypatch.context() as patched:
        patched.setattr(compile_fx, "fx_codegen_and_compile", lambda *a, **k: ours(*a, **k))
        patched.setattr(scheme, "_original_compile", inductors_own)
        theirs = compile_fx.fx_codegen_and_compile
        fxfarm.uninstall()
        assert compile_fx.fx_codegen_and_compile is theirs
        with pytest.raises(Exception, match="Inductor's own"):
            torch.compile(doubled)(X)
    fxfarm.uninstall()
    assert compile_fx.fx_codegen_and_compile is ORIGINAL[0]


def test_an_unknown_mode_is_refused_by_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="'later'; allowed: async, progressive"):
        fxfarm.install("later")
    assert compile_fx.fx_codegen_and_compile is ORIGINAL[0]


def test_what_is_kept_or_packaged_is_compiled_by_inductor() -> None:
    import torch._functorch.config as functorch_config

    assert scheme._can_wait({"cpp_wrapper": False, "extern_node_serializer": None})
    assert not scheme._can_wait({"cpp_wrapper": True})
    assert not scheme._can_wait({"fx_wrapper": True})
    with functorch_config.patch(bundled_autograd_cache=True):
        assert not scheme._can_wait({})


def test_a_call_outside_the_assumptions_of_a_stage_runs_eager() -> None:
    fxfarm.install()
    fn = torch.compile(doubled, dynamic=True)
    fn(X)
    client().arrive(1, 0, loaded(lambda args: (args[-1] * 3,), guard=lambda args: args[-1].shape[0] < 5))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [3, 3, 3]
    assert fn(torch.ones(5)).tolist() == [2] * 5
    (graph,) = fxfarm.graphs()
    assert (graph.runs, graph.guard_misses) == ({"eager": 2, "default": 1}, 1)


def test_caches_that_are_on_keep_nothing_of_a_pending_graph(caplog: pytest.LogCaptureFixture) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    fxfarm.install()
    for _ in range(2):
        torch._dynamo.reset()
        torch.compile(doubled)(torch.ones(3, requires_grad=True)).sum().backward()
    assert counters["inductor"]["fxgraph_cache_miss"] == 4
    assert counters["aot_autograd"]["autograd_cache_miss"] == 2
    assert counters["aot_autograd"]["autograd_cache_saved"] == 0
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_variable_that_cannot_be_read_leaves_eager(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FXFARM_LOCAL", "maybe")
    fxfarm.install()
    assert torch.compile(doubled)(X).tolist() == [2, 2, 2]
    assert "FXFARM_LOCAL" in caplog.text


def test_what_cannot_be_captured_leaves_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(scheme, "inner_snapshot", broken)
    fxfarm.install()
    assert torch.compile(doubled)(X).tolist() == [2, 2, 2]
    assert "ZeroDivisionError: odd" in fxfarm.graphs()[0].error


@pytest.mark.parametrize("failure", ["in the farm", "in the loader"])
def test_a_stage_that_fails_leaves_eager_with_its_reason(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    fxfarm.install()
    fn = torch.compile(doubled)
    fn(X)
    if failure == "in the farm":
        client().settle(1, 0, "failed", "no such pass")
    else:
        client().arrive(1, 0, _torch.LoadError("no such pass"))
    assert fxfarm.wait(timeout=10)
    assert fn(X).tolist() == [2, 2, 2]
    assert "no such pass" in fxfarm.graphs()[0].stages[0].error
    assert caplog.text.count("no such pass") == 1


TOLD: dict[str, Any] = {
    "logs": [
        ["loud 100%", "torch._inductor.fxfarm_test", logging.WARNING, "/lowering.py", 7, "lower"],
        ["quiet", "torch._inductor.fxfarm_test", logging.DEBUG, "/lowering.py", 8, "lower"],
    ],
    "warnings": [["slow operator", "DeprecationWarning", "/lowering.py", 9]],
    "metrics": {"generated_kernel_count": 2, "a metric of another version": 5},
    "lost": 3,
}


class Heard(logging.Handler):
    """Inductor's loggers pass nothing on to the root."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def heard() -> Iterator[list[logging.LogRecord]]:
    handler = Heard()
    logger = logging.getLogger("torch._inductor")
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


def arrived(told: dict[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A compiled function whose stage has been loaded, and has told what its compile said."""
    fxfarm.install()
    fn = torch.compile(doubled)
    fn(X)
    client().arrive(1, 0, loaded(tripled, told))
    assert fxfarm.wait(timeout=10)
    return fn


def test_what_a_compile_said_is_said_once_by_this_process(heard: list[logging.LogRecord]) -> None:
    before = metrics.generated_kernel_count
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arrived(TOLD)
    assert [(r.getMessage(), r.levelname, r.lineno) for r in heard] == [
        ("loud 100%", "WARNING", 7),
        ("3 more records of this compile were not kept", "WARNING", heard[-1].lineno),
    ]
    assert [(str(w.message), w.category, w.lineno) for w in caught] == [
        ("slow operator", DeprecationWarning, 9)
    ]
    assert metrics.generated_kernel_count - before == 2


def test_a_warning_that_the_program_makes_an_error_stays_out_of_its_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fn = arrived(TOLD)
    assert fn(X).tolist() == [3, 3, 3]
    assert "slow operator" in caplog.text


def test_what_a_compile_says_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said, "RECORDS_MAX", 2)
    monkeypatch.setattr(said, "TEXT_BYTES_MAX", 100)
    logger = logging.getLogger("torch._inductor.fxfarm_test")
    with said.recorded({"torch._inductor.fxfarm_test": logging.INFO}) as kept:
        logger.debug("not asked for")
        logger.info("%s", "first")
        logger.info("x" * 101)
        warnings.warn("second", FutureWarning, stacklevel=1)
        warnings.warn("third", FutureWarning, stacklevel=1)
        metrics.generated_kernel_count += 1
    data = kept.as_data()
    assert [r[:3] for r in data["logs"]] == [["first", logger.name, logging.INFO]]
    assert [w[:2] for w in data["warnings"]] == [["second", "FutureWarning"]]
    assert data["lost"] == 2
    assert data["metrics"]["generated_kernel_count"] == 1
    assert logger.level == logging.NOTSET
