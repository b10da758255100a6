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
        mine, theirs = case.arguments(number), case.arguments(number)
        wanted, got = case.eager(*theirs), stage.call(list(mine))
        if case.trains:
            sum(o.float().sum() for o in wanted).backward()
            sum(o.float().sum() for o in got).backward()
            wanted = [*wanted, *(t.grad for t in theirs if isinstance(t, torch.Tensor) and t.requires_grad)]
            got = [*got, *(t.grad for t in mine if isinstance(t, torch.Tensor) and t.requires_grad)]
        # A product of float32 matrices whose additions have another order.
        torch.testing.assert_close(list(got), list(wanted), rtol=2e-2, atol=2e-2)


def main() -> None:
    directory = Path(sys.argv[1])
    report: dict[str, Any] = {}
    for file in sorted(directory.glob("*.artifact")):
        case = gpu_cases.CASES[file.stem.partition(".")[0]]
        stage = loaded_beside(directory, file.read_bytes())
        # CUDA graphs: the first call warms up, the second records, of a training the forward alone, the third
        # its backward; the others replay.
        compare(case, stage, 5)
        report[file.stem] = "equal"
    torch.cuda.synchronize()
    # Triton itself comes with Dynamo where there is a GPU.
    compilers = ("torch._inductor.compile_fx", "torch._inductor.runtime.triton_heuristics")
    report["modules"] = [m for m in compilers if m in sys.modules]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
