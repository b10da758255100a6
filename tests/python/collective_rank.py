"""One rank of a job whose graph has a collective; see test_ranks.py.

usage: collective_rank.py RANK RANKS FOLDER ENDPOINT JSON

Trains a model whose collective is inside its graph, and its twin without the farm. Leaves what it saw as one
line of JSON. The last argument says what is wrong with this rank: `late` (calls before its artifact may be
loaded), `slow` (seconds that each of its calls takes longer), `leaves` (the farm, at that call), `deaf`
(hears no verdict). All train until each has made some calls at the stage, or has what `until` names.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from model_farm import STAGE_S, farmed

import fxfarm
from fxfarm import _torch, ranks

CALLS_AFTER = 5


def step(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    hidden = torch.relu(x @ w)
    total = functional.all_reduce(hidden, "sum", dist.group.WORLD)
    return (total.sin() * hidden).sum()


def hold_artifacts(let: threading.Event) -> None:
    load = _torch.load_artifact

    def held(*args: Any) -> Any:
        assert let.wait(STAGE_S)
        return load(*args)

    _torch.load_artifact = held  # type: ignore[assignment]


def hear_no_verdict() -> None:
    """Lets proposals come in, and no commit."""
    follow = ranks.Agreement._follow

    def deaf(self: Any, notice: Any) -> None:
        if notice["verdict"] != "commit":
            follow(self, notice)

    ranks.Agreement._follow = deaf  # type: ignore[method-assign]


def has_as_many(wanted: dict[str, int], calls: int) -> bool:
    if not wanted:
        return False
    armed = sum(s.state == "armed" for g in fxfarm.graphs() for s in g.stages)
    found = {**fxfarm.stats(), "calls": calls, "armed": armed}
    return any(found[name] >= count for name, count in wanted.items())


def train(faults: dict[str, Any]) -> dict[str, Any]:
    rank = dist.get_rank()
    let = threading.Event()
    hold_artifacts(let)
    if faults.get("deaf"):
        hear_no_verdict()
    torch.manual_seed(rank)
    x = torch.randn(4, 16)
    weights = [torch.full((16, 16), 0.01).requires_grad_() for _ in range(2)]
    compiled = farmed(step)
    stages, equal = [], True
    while True:
        if len(stages) == faults.get("late", 0):
            let.set()
        if faults.get("leaves") == len(stages):
            fxfarm.shutdown()
        time.sleep(faults.get("slow", 0))
        losses = [f(x, w) for f, w in zip((step, compiled), weights, strict=True)]
        for loss, w in zip(losses, weights, strict=True):
            loss.backward()
            with torch.no_grad():
                assert w.grad is not None
                w -= 0.01 * w.grad
                w.grad = None
        equal = equal and torch.allclose(*weights, rtol=1e-4, atol=1e-5)
        graphs = fxfarm.graphs()
        stages.append(graphs[0].stage if graphs else "eager")
        enough = stages.count("default") >= CALLS_AFTER or has_as_many(faults.get("until", {}), len(stages))
        # All end after the same call.
        done = torch.tensor(float(enough))
        dist.all_reduce(done, dist.ReduceOp.MIN)
        if done:
            break
    return {
        "first": stages.index("default") if "default" in stages else None,
        "calls": len(stages),
        "equal": equal,
        "states": [s.state for g in graphs for s in g.stages],
        "errors": [g.error + "".join(s.error for s in g.stages) for g in graphs],
        "stats": fxfarm.stats(),
    }


def main() -> None:
    rank, world, folder, endpoint, faults = sys.argv[1:]
    place = Path(folder)
    dist.init_process_group(
        "gloo", init_method=f"file://{place}/rendezvous", rank=int(rank), world_size=int(world)
    )
    fxfarm.configure(endpoints=[endpoint], local=False, artifact_dir=place / f"artifacts-{rank}")
    print(json.dumps(train(json.loads(faults))), flush=True)
    fxfarm.shutdown()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
