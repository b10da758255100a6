"""Writes a graph for examples/cpp_client: what the Python package would send for a small model.

    python examples/cpp_client/export_graph.py DIRECTORY

DIRECTORY gets `graph`, the bytes, and `graph.txt`: lines "name value" with the key and the platform. A C++
program has no TorchDynamo; where its graphs come from is its own affair.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fxfarm import _torch


def main(argv: Sequence[str]) -> int:
    """0 when the files are there, 2 when no directory is named."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print(__doc__)
        return 2
    directory = Path(argv[0])
    directory.mkdir(parents=True, exist_ok=True)

    def writing(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        serialized = _torch.serialize(_torch.snapshot(graph, inputs))
        (directory / "graph").write_bytes(serialized.payload)
        fields = {"graph_key": serialized.key, **_torch.client_platform(serialized.device)}
        lines = (f"{name} {value}\n" for name, value in fields.items() if value != "")
        (directory / "graph.txt").write_text("".join(lines), encoding="utf-8")
        return graph.forward

    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
    with torch.no_grad():
        torch.compile(model, backend=writing)(torch.randn(8, 64))
    print(f"wrote {directory}/graph and {directory}/graph.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
