"""Artifacts with Triton kernels: made by a real engine, run by a process that has nothing of Triton's. Where
there is no GPU, none of it runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_cases
import pytest
import torch
from engine_talk import Talk
from farm import HERE, PYTHON, stage_of

from fxfarm import _torch, stages
from fxfarm._torch.pack import unpack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

NAMED = ("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
GENERATOR_BYTES = 2 * 512
"""The seed and offset that torch's generator of a GPU keeps for all graphs, from the first recording on."""


class Traced(Exception):
    """In place of the run of a graph."""


def payload(name: str) -> bytes:
    """The graph of a case as it is sent to the farm; it is not run."""
    case = gpu_cases.CASES[name]
    found: list[_torch.SerializedGraph] = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        found.append(_torch.serialize(_torch.snapshot(gm, inputs)))

        def run(*_: Any) -> Any:
            raise Traced

        return run

    torch._dynamo.reset()
    with torch.set_grad_enabled(case.trains), pytest.raises(Traced):
        torch.compile(case.eager, backend=backend)(*case.arguments(0))
    return found[0].payload


@pytest.fixture(scope="module")
def engine() -> Iterator[Talk]:
    talk = Talk()
    hello, ready = talk.channel.receive(), talk.channel.receive()
    assert hello is not None
    assert ready is not None, "the engine does not start"
    assert ready["platform"]["device"] == "cuda"
    assert ready["platform"]["gpu"] == _torch.client_platform("cuda")["gpu"]
    yield talk
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.process.wait(60) == 0


def compiled(talk: Talk, name: str, stage: dict[str, Any], attempts: int = 1) -> dict[str, Any]:
    target, graph = _torch.client_platform("cuda"), payload(name)
    talk.channel.send(type="compile", id="j", stage=stage, target=target, graph=graph, attempts=attempts)
    while (frame := talk.channel.receive()) is not None:
        if frame["type"] != "progress":
            return frame
    raise AssertionError("the engine left")


def test_a_client_runs_every_stage_with_nothing_of_triton(engine: Talk, tmp_path: Path) -> None:
    plan = {stage["name"]: stage for stage in stages.resolve(stages=NAMED)}
    cases = [("block", name) for name in NAMED] + [("training", "default"), ("training", "reduce-overhead")]
    cases.append(("names", "default"))
    for case, stage in cases:
        done = compiled(engine, case, plan[stage])
        assert done["type"] == "done", done
        found = unpack(done["artifact"])
        assert found.gpu_kernels
        assert found.manifest["unmeasured"] == ""
        assert found.manifest["needs"] == []
        assert found.manifest["cuda_graphs"] == ("triton.cudagraphs" in plan[stage]["options"])
        (tmp_path / f"{case}.{stage}.artifact").write_bytes(done["artifact"])
    report = loaded_elsewhere(tmp_path)
    assert report["modules"] == []
    assert report["kept"] == 0
    # What recordings keep goes with them, and the better stage takes no more where a worse one came before.
    memory = report["memory"]
    assert memory["after it"] == memory["after both"], memory
    assert memory["after it"] in (0, GENERATOR_BYTES), memory
    assert memory["the better stage, after the other"] <= memory["both"], memory
    recorded = {"reduce-overhead": 1, "max-autotune": 1}
    assert report["recorded"] == {
        f"{case}.{stage}": recorded.get(stage, 0) * (2 if case == "training" else 1) for case, stage in cases
    }


def loaded_elsewhere(directory: Path) -> dict[str, Any]:
    """The report of gpu_client.py, in a process where any use of Triton or a compiler fails."""
    cache = directory / "cache"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PYTHONPATH": f"{PYTHON}:{HERE}:{os.environ.get('PYTHONPATH', '')}",
        "TRITON_CACHE_DIR": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "TRITON_PTXAS_PATH": "/nowhere",
        "CC": "/nowhere",
        "CXX": "/nowhere",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "gpu_client.py"), str(directory)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not cache.exists() or not any(cache.rglob("*.cubin"))
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize(
    ("measured", "answer"), [(False, "done"), (True, "failed")], ids=["a plain stage", "an autotuned stage"]
)
def test_too_little_memory_to_measure_costs_an_autotuned_stage_and_no_more(
    measured: bool, answer: str, engine: Talk
) -> None:
    told = compiled(engine, "vast", stage_of({"max_autotune_pointwise": measured}))
    assert told["type"] == answer, told.get("reason")
    if measured:
        assert (told["code"], "to measure kernels" in told["reason"]) == ("compile_failed", True)
    else:
        assert "CUDA out of memory" in unpack(told["artifact"]).manifest["unmeasured"]
    # What it had taken is given back, and the next job has it.
    assert compiled(engine, "block", stage_of())["type"] == "done"


def test_an_engine_whose_gpu_context_is_lost_leaves_without_an_answer() -> None:
    talk = Talk()
    assert talk.channel.receive() is not None
    assert talk.channel.receive() is not None
    target = _torch.client_platform("cuda")
    talk.channel.send(type="compile", id="j", stage=stage_of(), target=target, graph=payload("asserts"))
    # No answer: the worker counts an engine that has died, and the job is tried again.
    while (frame := talk.channel.receive()) is not None:
        assert frame["type"] == "progress", frame
    assert talk.process.wait(60) == 1


def test_what_may_have_cost_two_engines_their_gpu_is_not_run_again_for_a_plain_stage(engine: Talk) -> None:
    done = compiled(engine, "asserts", stage_of(), attempts=3)
    assert done["type"] == "done", done
    assert unpack(done["artifact"]).manifest["unmeasured"] == "attempt 3: none before it has come to an end"


def test_engines_measure_one_at_a_time(tmp_path: Path) -> None:
    """While another process holds the GPU, a job waits before it measures, and goes on after."""
    talk = Talk(FXFARM_ENGINE_HEADERS_DIR=str(tmp_path))
    assert talk.channel.receive() is not None
    assert talk.channel.receive() is not None
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    graph = payload("block")
    talk.channel.send(
        type="compile", id="j", stage=stage_of(), target=_torch.client_platform("cuda"), graph=graph
    )
    phases = [talk.channel.receive(), talk.channel.receive()]
    assert [p["phase"] for p in phases if p is not None] == ["deserialize", "compile"]
    while not waits_for_a_lock(talk.process.pid):
        told, _, _ = select.select([talk.process.stdout], [], [], 0)
        assert not told, "it did not wait"
    fcntl.flock(handle, fcntl.LOCK_UN)
    rest = [talk.channel.receive(), talk.channel.receive()]
    assert [frame["type"] for frame in rest if frame is not None] == ["progress", "done"]
    os.close(handle)
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.process.wait(60) == 0


def waits_for_a_lock(pid: int) -> bool:
    """Whether that process waits for a lock on a file."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)
