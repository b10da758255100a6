"""Prints the key of a small model's graph. Run from here or from a copy elsewhere."""

from __future__ import annotations

from typing import Any

import torch

from fxfarm import _torch


class Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(8, 8)
        self.register_buffer("scale", torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(self.inner(x), approximate="tanh") * self.scale


def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
    print(_torch.serialize(_torch.snapshot(gm, inputs)).key)
    return gm.forward


# The thread count belongs to the platform and not to the graph.
torch.compile(Scaled(), backend=backend)(torch.ones(4, 8))
