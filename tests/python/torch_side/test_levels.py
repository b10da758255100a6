"""CPU levels: kernels are written and compiled for the level that a job names, whatever this machine has."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from farm import graphs_of, stage_of

from fxfarm import _torch
from fxfarm._torch import pack, platform

started: list[str] = []
sys.addaudithook(lambda event, args: started.append(str(args[1])) if event == "subprocess.Popen" else None)

ABOVE = {"x86-64-v3": ("-mavx512", "-mamx", "-march=native"), "x86-64-v4": ("-mamx", "vnni", "-march=native")}


@pytest.mark.parametrize("level", list(ABOVE))
def test_no_kernel_uses_more_than_its_level_and_this_cpu_is_not_probed(level: str) -> None:
    if platform.isa_rank(platform.cpu_isa()) < platform.isa_rank(level):
        pytest.skip(f"this CPU has no {level}")

    def fn(x: torch.Tensor) -> torch.Tensor:
        return (x.exp() + len(level)).sum(0)

    (graph,) = graphs_of(fn, torch.ones(64, 32))
    target: dict[str, Any] = {**_torch.client_platform(), "isa": level}
    started.clear()
    _torch.compile_graph(graph.payload, stage_of({}), target)
    compilers = [c for c in started if "-march=" in c]
    assert compilers
    assert [c for c in compilers if f"-march={level}" not in c or any(m in c for m in ABOVE[level])] == []
    assert [c for c in started if sys.executable in c] == []


def test_the_number_of_threads_changes_the_code() -> None:
    # A loop over 4 rows of x around one over 4096 of y: many threads are busy only when both are shared out.
    (graph,) = graphs_of(lambda x, y: x[:, None] + y[None], torch.ones(4, 64), torch.ones(4096, 64))
    kernels = []
    for threads in (2, 64):
        target: dict[str, Any] = {**_torch.client_platform(), "threads": threads}
        made = _torch.compile_graph(graph.payload, stage_of({}), target)
        (kernel,) = pack.unpack(made.data).files
        kernels.append(kernel["digest"])
    assert kernels[0] != kernels[1]
