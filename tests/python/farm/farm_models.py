"""The models of the farm's tests: tiny, and equal in every process."""

from __future__ import annotations

import hashlib

import msgpack
import torch


class Wave(torch.nn.Module):
    """One graph for each `height`, given that it is compiled with `dynamic=False`."""

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height = height
        self.register_buffer("mix", torch.linspace(-1, 1, 64).reshape(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[8, 8] to [8, 8]."""
        return torch.sin(x @ self.mix) * self.height


def wave_input() -> torch.Tensor:
    return torch.linspace(0, 3, 64).reshape(8, 8)


def graph_digest(payload: bytes) -> str:
    """The name that the fast engine knows a graph by."""
    return hashlib.sha256(msgpack.unpackb(payload)["graph"]).hexdigest()


PREPARED = (1.0, 2.0)
"""Heights whose artifacts the fast engine has; that of the last one is large."""
UNLOADABLE = 5.0
"""A height whose artifact needs a library newer than any machine's."""
