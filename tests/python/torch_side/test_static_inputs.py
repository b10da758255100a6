"""Which inputs stay where they are in memory: a remote compile knows as Inductor in the caller does.
Each other one is copied before every replay of a CUDA graph, and looked at for its alignment.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from farm import farm

from fxfarm._torch.pack import unpack


def stock_static_inputs(module: torch.nn.Module, x: torch.Tensor) -> list[int]:
    """Those of the forward that Inductor is told of in this process."""
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner

    told: list[list[int]] = []

    def inner(graph: Any, inputs: Any, **settings: Any) -> Any:
        told.append(list(settings["static_input_idxs"]))
        return compile_fx_inner(graph, inputs, **settings)

    torch._dynamo.reset()
    torch.compile(module, backend=lambda graph, inputs: compile_fx(graph, inputs, inner_compile=inner))(x)
    return told[0]


@pytest.mark.parametrize("trains", [False, True])
def test_parameters_and_buffers_are_static_and_what_is_given_is_not(trains: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 8)).eval()
    x = torch.ones(2, 8)
    with torch.set_grad_enabled(trains):
        wanted = stock_static_inputs(module, x)
        torch._dynamo.reset()
        compiled, done = farm(module, tmp_path)
        compiled(x)
    entry = pickle.loads(unpack(done[0].artifact).entry)
    assert sorted(entry.compiled_fw.result.fx_kwargs["static_input_idxs"]) == sorted(wanted)
    assert len(wanted) == len(list(module.parameters())) + 2  # the running mean and variance
