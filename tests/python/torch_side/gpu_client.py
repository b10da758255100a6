"""Loads artifacts in a process that has nothing of Triton's and runs them beside eager; prints a report.

python gpu_client.py DIRECTORY    artifacts CASE.STAGE.artifact, with CASE in gpu_cases.CASES; block.default,
                                  block.reduce-overhead and block.max-autotune are among them
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_cases
import torch

from fxfarm import _torch


def stage_in(directory: Path, name: str) -> Any:
    """The stage of that artifact, loaded on a thread of its own as a client's loader does."""
    artifact = (directory / f"{name}.artifact").read_bytes()
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(_torch.load_artifact(artifact, directory / "kernels"))
    )
    thread.start()
    thread.join()
    return found[0]


def compare(case: gpu_cases.Case, stage: Any, calls: int) -> None:
    """Holds each output and gradient of so many calls against eager's; AssertionError says which differs."""
    for number in range(calls):
        if trees := sys.modules.get("torch._inductor.cudagraph_trees"):
            # As Dynamo does for what it has compiled: what the call before has returned may be written over.
            trees.mark_step_begin()
        mine, theirs = case.arguments(number), case.arguments(number)
        wanted, got = case.eager(*theirs), stage.call(list(mine))
        if case.trains:
            sum(o.float().sum() for o in wanted).backward()
            sum(o.float().sum() for o in got).backward()
            wanted = [*wanted, *(t.grad for t in theirs if isinstance(t, torch.Tensor) and t.requires_grad)]
            got = [*got, *(t.grad for t in mine if isinstance(t, torch.Tensor) and t.requires_grad)]
        # A product of float32 matrices whose additions have another order.
        torch.testing.assert_close(list(got), list(wanted), rtol=2e-2, atol=2e-2)


def counted(report: dict[str, int], stage: str) -> None:
    """Has CUDA graphs counted that are recorded from now on, as those of that stage."""
    report[stage] = 0
    trees = sys.modules.get("torch._inductor.cudagraph_trees")
    if trees is None:
        return
    manager = trees.CUDAGraphTreeManager
    stock = getattr(manager.record_function, "stock", manager.record_function)

    def record(*args: Any) -> Any:
        report[stage] += 1
        return stock(*args)

    record.stock = stock  # type: ignore[attr-defined]
    manager.record_function = record


# About two tenths of a second.
_CYCLES = 300_000_000


def on_a_stream_of_its_own(case: gpu_cases.Case, stage: Any) -> None:
    """Holds that the stage runs where its caller does: after what makes its inputs, before who reads its
    outputs, though both are late."""
    made, wanted = case.arguments(1), case.eager(*case.arguments(1))
    late = [torch.zeros_like(t) for t in made]
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(_CYCLES)
        for to, source in zip(late, made, strict=True):
            to.copy_(source)
        got = [t.clone() for t in stage.call(list(late))]
    stream.synchronize()
    torch.testing.assert_close(got, list(wanted), rtol=2e-2, atol=2e-2)


def in_a_capture(case: gpu_cases.Case, stage: Any, load: Callable[[], Any]) -> None:
    """Holds that the program may record the stage into a graph of its own, and what is loaded meanwhile on
    another thread does not spoil that."""
    inputs = case.arguments(1)
    # A capture wants what it launches to be loaded.
    stage.call(list(inputs))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = stage.call(list(inputs))
        load()
    for to, source in zip(inputs, case.arguments(2), strict=True):
        to.copy_(source)
    graph.replay()
    torch.testing.assert_close(list(got), list(case.eager(*case.arguments(2))), rtol=2e-2, atol=2e-2)


def memory(of: str = "allocated") -> int:
    """Bytes of the GPU that tensors of this process have, or that it has `reserved` for them."""
    gc.collect()
    torch.cuda.synchronize()
    # What cuBLAS has taken for each stream that it was used on.
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    return torch.cuda.memory_stats()[f"{of}_bytes.all.current"]


def memory_of_stages(directory: Path) -> dict[str, int]:
    """Bytes that are taken, compared with before, at points of a plan whose stages record CUDA graphs."""
    case = gpu_cases.CASES["block"]
    # What the libraries keep for themselves is there from here on.
    compare(case, stage_in(directory, "block.default"), 2)

    def recorded(name: str) -> Any:
        stage = stage_in(directory, f"block.{name}")
        compare(case, stage, 7)
        return stage

    told = {}
    before = {of: memory(of) for of in ("allocated", "reserved")}
    better = recorded("max-autotune")
    told["the better stage alone"] = memory("reserved") - before["reserved"]
    del better
    told["after it"] = memory() - before["allocated"]
    worse = recorded("reduce-overhead")
    better = recorded("max-autotune")
    told["both"] = memory("reserved") - before["reserved"]
    del worse
    told["the better stage, after the other"] = memory("reserved") - before["reserved"]
    compare(case, better, 2)
    del better
    told["after both"] = memory() - before["allocated"]
    return told


def main() -> None:
    directory = Path(sys.argv[1])
    report: dict[str, Any] = {"recorded": {}}
    block = stage_in(directory, "block.default")
    on_a_stream_of_its_own(gpu_cases.CASES["block"], block)
    before = memory()
    # Of another graph, so that its kernels are not there yet.
    in_a_capture(gpu_cases.CASES["block"], block, lambda: stage_in(directory, "names.default"))
    report["kept"] = memory() - before
    del block
    report["memory"] = memory_of_stages(directory)
    for file in sorted(directory.glob("*.artifact")):
        case = gpu_cases.CASES[file.stem.partition(".")[0]]
        stage = stage_in(directory, file.stem)
        # CUDA graphs: a call each for their manager, for memory that is given back, the forward's warm-up and
        # recording, a backward's.
        counted(report["recorded"], file.stem)
        compare(case, stage, 7)
    # Triton itself comes with Dynamo where there is a GPU.
    compilers = ("torch._inductor.compile_fx", "torch._inductor.runtime.triton_heuristics")
    report["modules"] = [m for m in compilers if m in sys.modules]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
