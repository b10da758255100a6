"""Ranks of a job that switch to compiled code, each in a process of its own: see bench/gpu.py, --ddp."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import gpu_child
import gpu_ways

Found = dict[str, Any]


def environment(number: int, ranks: int, port: int, device: str) -> dict[str, str]:
    """What torchrun would set. Each rank has its GPU as the first, so that all share the compiles."""
    found = {
        **{"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(ranks)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    if device == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return {**found, "CUDA_VISIBLE_DEVICES": visible.split(",")[number] if visible else str(number)}
    return {**found, "GLOO_SOCKET_IFNAME": "lo"}


def rank(kind: str, stages: Sequence[str], model: str, options: Mapping[str, Any]) -> list[Found]:
    """One phase of a model in DistributedDataParallel ("ddp"), or of one whose graph has a collective
    ("collective"), whose ranks have to switch at the same call."""
    import gpu_counts

    counts = gpu_counts.Counts()
    counts.begin()
    import gpu_models
    import torch
    import torch.distributed as dist

    device = gpu_ways.Device(options["device"])
    dist.init_process_group("nccl" if options["device"] == "cuda" else "gloo")
    trained = "training" if kind == "ddp" else "inference"
    work = gpu_models.build(model, trained, options["device"], options["dtype"], options["small"])
    if kind == "ddp":
        work.module = torch.nn.parallel.DistributedDataParallel(work.module)
    else:
        work.module = with_collective(work.module)
    work.remember()

    def together(done: bool) -> bool:
        all_done = torch.tensor(float(done), device=options["device"])
        dist.all_reduce(all_done, dist.ReduceOp.MIN)
        return bool(all_done)

    counts.taken()
    make = functools.partial(gpu_ways.way_of, "fxfarm", stages)
    found = gpu_child.phase(make, work, device, counts, options["switch_seconds"], together)
    import fxfarm

    agreed = {name: count for name, count in fxfarm.stats().items() if name.startswith("switches_")}
    fxfarm.shutdown()
    dist.destroy_process_group()
    return [{"plan": list(stages), **found, **agreed, "device": device.facts}]


def with_collective(module: Any) -> Any:
    """The mean of the ranks' answers, taken within the graph."""
    import torch
    import torch.distributed as dist
    import torch.distributed._functional_collectives as functional

    world: Any = dist.group.WORLD

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = self.module(x).float().mean(-1)
            total: torch.Tensor = functional.all_reduce(answer, "sum", world)
            return total / dist.get_world_size()

    return Mean()
