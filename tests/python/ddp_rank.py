"""One rank of a training job under DistributedDataParallel; see test_ddp.py.

usage: ddp_rank.py RANK RANKS FOLDER ENDPOINT SWITCH_AT

Trains a model eagerly and its twin through the farm, and lets artifacts be loaded from step SWITCH_AT on.
Leaves the gradients of each step in FOLDER, and prints what it saw as one line of JSON.
"""

from __future__ import annotations

import copy
import json
import sys
import threading
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from model_farm import STAGE_S, farmed, same
from torch.nn.parallel import DistributedDataParallel

import fxfarm
from fxfarm import _torch

STEPS = 6


class Classifier(torch.nn.Module):
    """In a class of its own: DistributedDataParallel's forward is not traced, and then torch's own is not."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            *(torch.nn.Linear(32, 640), torch.nn.BatchNorm1d(640), torch.nn.ReLU()),
            *(torch.nn.Linear(640, 640), torch.nn.ReLU(), torch.nn.Linear(640, 4)),
        )

    def forward(self, x: torch.Tensor) -> Any:
        return self.layers(x)


def hold_artifacts() -> threading.Event:
    """Lets the loader go on once the event is set."""
    let, load = threading.Event(), _torch.load_artifact

    def held(*args: Any) -> Any:
        assert let.wait(STAGE_S)
        return load(*args)

    _torch.load_artifact = held  # type: ignore[assignment]
    return let


def train(rank: int, folder: Path, switch_at: int) -> dict[str, Any]:
    let = hold_artifacts()
    torch.manual_seed(0)
    model = Classifier()
    # Buckets of 1 MiB, at which Dynamo splits the graph.
    models = [DistributedDataParallel(m, bucket_cap_mb=1) for m in (model, copy.deepcopy(model))]
    calls = [models[0], farmed(models[1])]
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in models]
    torch.manual_seed(rank)
    stages, steps = [], []
    for step in range(STEPS):
        if step == switch_at:
            let.set()
            assert fxfarm.wait(timeout=STAGE_S)
        x = torch.randn(8, 32)
        for call, optimizer in zip(calls, optimizers, strict=True):
            optimizer.zero_grad()
            call(x).square().mean().backward()
        found = [[p.grad.clone() for p in m.parameters() if p.grad is not None] for m in models]
        same(found[1], found[0])
        steps.append(found[1])
        for optimizer in optimizers:
            optimizer.step()
        stages.append(sorted({g.stage for g in fxfarm.graphs()}))
    same(models[1].state_dict(), models[0].state_dict())
    torch.save(steps, folder / f"rank-{rank}")
    return {
        "stages": stages,
        "graphs": len(fxfarm.graphs()),
        "errors": [g.error + "".join(s.error for s in g.stages) for g in fxfarm.graphs()],
        "keys": sorted(s.key for g in fxfarm.graphs() for s in g.stages),
    }


def main() -> None:
    rank, ranks, folder, endpoint, switch_at = sys.argv[1:]
    place = Path(folder)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/rendezvous", rank=int(rank), world_size=int(ranks)
    )
    fxfarm.configure(endpoints=[endpoint], local=False, artifact_dir=place / f"artifacts-{rank}")
    print(json.dumps(train(int(rank), place, int(switch_at))), flush=True)
    fxfarm.shutdown()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
