"""The trace of what happened to the graphs of a process: what is in it, and when it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from farm_double import Client, Loaded, client, compiled, doubled_farm, seen_by_the_loader

import fxfarm
from fxfarm import timeline

X = torch.ones(3)


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with doubled_farm(monkeypatch, tmp_path):
        yield


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def spans(path: Path) -> dict[str, dict[str, Any]]:
    """Everything with a duration, by the row's name and its own."""
    events = json.loads(path.read_text())["traceEvents"]
    rows = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    return {f"{rows[e['pid'], e['tid']]}: {e['name']}": e for e in events if e["ph"] == "X"}


def test_a_trace_has_what_happened_to_a_graph_in_its_order(tmp_path: Path) -> None:
    fn = compiled(doubled, options={"stages": ["default", "max-autotune"]})
    fn(X)
    told = {"source": "worker-1", "seconds_queued": 1.0, "phases": {"pack": 0.5, "compile": 2.0}}
    farm = client()
    farm.graph_states[1]["stages"][0].update(seconds_to_ready=4.0, **told)
    farm.arrive(1, 0, Loaded(doubled))
    seen_by_the_loader()
    fxfarm.trace(tmp_path / "trace.json")
    found = spans(tmp_path / "trace.json")
    assert set(found) == {
        *("calls: eager", "calls: default", "prepare: prepare"),
        *(f"default: {name}" for name in ("queue", "compile", "pack", "transfer", "load")),
        "max-autotune: wait",
    }
    order = [found[f"default: {name}"] for name in ("queue", "compile", "pack", "transfer")]
    ends = [round(e["ts"] + e["dur"]) for e in order]
    assert [round(e["ts"]) for e in order[1:]] == pytest.approx(ends[:-1], abs=2)
    assert [round(e["dur"] / 1e6, 3) for e in order] == [1.0, 2.0, 0.5, 0.5]
    eager, default = found["calls: eager"], found["calls: default"]
    assert eager["ts"] + eager["dur"] == pytest.approx(default["ts"], abs=1)
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_comes_from_the_store_was_not_compiled_now(tmp_path: Path) -> None:
    compiled(doubled)(X)
    farm = client()
    farm.graph_states[1]["stages"][0].update(source="redis", phases={"compile": 60.0}, seconds_to_ready=0.1)
    farm.arrive(1, 0, Loaded(doubled))
    assert fxfarm.wait(timeout=10)
    fxfarm.trace(tmp_path / "trace.json")
    found = spans(tmp_path / "trace.json")
    assert {"default: wait", "default: load"} <= set(found)
    assert found["default: wait"]["args"] == {"source": "redis"}
    assert not any("compile" in name for name in found)


def test_the_option_writes_the_trace_at_the_end_and_tells_failures_and_graphs_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    fxfarm.configure(trace=tmp_path / "t.json")
    fn = compiled(doubled)
    fn(X)
    client().arrive(1, 0, RuntimeError("broken"))
    assert fxfarm.wait(timeout=10)
    seen_by_the_loader()
    del fn
    torch._dynamo.reset()
    assert client_without_graphs()
    fxfarm.shutdown()
    events = json.loads((tmp_path / "t.rank3.json").read_text())["traceEvents"]
    failed = [e["args"]["why"] for e in events if e["name"] == "failed"]
    assert failed == ["RuntimeError: broken"]


def client_without_graphs() -> bool:
    farm = Client.made[-1]
    return farm.until(lambda: not farm.graph_states)


def test_a_trace_that_cannot_be_written_is_no_failure_of_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fxfarm.configure(trace=tmp_path / "nowhere" / "t.json")
    compiled(doubled)(X)
    client()
    fxfarm.shutdown()
    assert caplog.text.count("the trace cannot be written") == 1
    with pytest.raises(OSError, match="nowhere"):
        fxfarm.trace(tmp_path / "nowhere" / "t.json")


@pytest.mark.parametrize("rank", ["", "3"])
@pytest.mark.parametrize("path", [".", "/"])
def test_a_trace_without_a_name_is_no_failure_of_the_end(
    path: str, rank: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    fxfarm.configure(trace=path)
    compiled(doubled)(X)
    client()
    fxfarm.shutdown()
    assert caplog.text.count("the trace cannot be written") == 1


def test_a_trace_that_a_dead_process_left_half_written_goes_after_a_while(tmp_path: Path) -> None:
    for name in (".t.json.1.tmp", ".u.json.1.tmp"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1, 1))
    timeline.Timeline().write(tmp_path / "t.json")
    assert {p.name for p in tmp_path.iterdir()} == {"t.json", ".u.json.1.tmp"}


def test_a_trace_tells_of_a_bounded_number_of_graphs() -> None:
    line = timeline.Timeline()
    for number in range(timeline.GRAPHS_KEPT + 10):
        line.begin(f"graph-{number}", 0.0, ["default"])
    named = [e for e in line.trace()["traceEvents"] if e["name"] == "process_name"]
    assert len(named) == timeline.GRAPHS_KEPT
    assert named[0]["args"]["name"] == "graph-10"
