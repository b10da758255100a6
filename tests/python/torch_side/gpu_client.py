"""Loads artifacts in a process that has nothing of Triton's and runs them beside eager; prints a report.

python gpu_client.py DIRECTORY    artifacts CASE.STAGE.artifact, with CASE in gpu_cases.CASES
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import gpu_cases
import torch

from fxfarm import _torch


def loaded_beside(directory: Path, artifact: bytes) -> Any:
    """The stage, loaded on a thread of its own as a client's loader does."""
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


def main() -> None:
    directory = Path(sys.argv[1])
    report: dict[str, Any] = {"recorded": {}}
    for file in sorted(directory.glob("*.artifact")):
        case = gpu_cases.CASES[file.stem.partition(".")[0]]
        stage = loaded_beside(directory, file.read_bytes())
        # CUDA graphs: one call each for their manager, the forward's warm-up and recording, a backward's.
        counted(report["recorded"], file.stem)
        compare(case, stage, 7)
    torch.cuda.synchronize()
    # Triton itself comes with Dynamo where there is a GPU.
    compilers = ("torch._inductor.compile_fx", "torch._inductor.runtime.triton_heuristics")
    report["modules"] = [m for m in compilers if m in sys.modules]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
