"""Eight processes with the same model and one farm: the farm compiles once.

    python examples/eight_ranks.py [--ranks 8] [--seconds 300]

Each rank compiles the model by `backend="fxfarm"` and waits for its stage; at the end the ranks' counters are
printed with where each got its artifact from.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any


def rank(number: int, seconds: float) -> dict[str, Any]:
    """One process of the job; returns what it saw."""
    import torch

    import fxfarm

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.compile(
        torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256)),
        backend="fxfarm",
    )
    with torch.no_grad():
        model(torch.randn(32, 256))
        reached = fxfarm.wait(timeout=seconds)
        model(torch.randn(32, 256))
    graphs = fxfarm.graphs()
    return {
        "rank": number,
        "reached": reached,
        "stages": [(g.stage, [(s.name, s.state, s.source, s.error) for s in g.stages]) for g in graphs],
        "stats": fxfarm.stats(),
    }


def main() -> int:
    """0 when every rank reached its last stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long each rank waits at most")
    options = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.ranks, context) as ranks:
        found = list(ranks.map(rank, range(options.ranks), repeat(options.seconds)))

    total: Counter[str] = Counter()
    for told in found:
        total.update(told["stats"])
        for stage, stages in told["stages"]:
            print(
                f"rank {told['rank']}: runs {stage}; " + ", ".join(" ".join(filter(None, s)) for s in stages)
            )
    print("all ranks together: " + json.dumps(dict(total), indent=2, sort_keys=True))
    return 0 if all(f["reached"] for f in found) else 1


if __name__ == "__main__":
    sys.exit(main())
