"""Training on fxfarm: the loss goes down from the first step, and the steps become faster on the way.

    python examples/train.py [--seconds 600]

A small convolutional network with batch normalization, whose running statistics the graph updates in place:
the switch waits for the backward of every eager forward.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time

import torch

import fxfarm

REPORT_STEPS = 20
STEPS_AFTER_LAST_STAGE = 100


def network() -> torch.nn.Module:
    """Classifies 16x16 pictures into ten classes."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1),
        torch.nn.BatchNorm2d(32),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.BatchNorm2d(64),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 10),
    )


def unfinished(graph: fxfarm.GraphStatus) -> str:
    """What is said of a graph whose stages have not all come by the end."""
    found = (
        ", ".join(f"{stage.name} is {stage.state}" for stage in graph.stages) or "the farm has not answered"
    )
    return (
        f"{graph.name}: stopped too early, {found}; --seconds says how long to go on, and FXFARM_NICE=0 "
        "gives compiles as much of busy cores as other programs get"
    )


def main() -> int:
    """0 when the training ended on a compiled stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long at the latest")
    options = parser.parse_args()
    logging.basicConfig(format="%(name)s: %(message)s")

    torch.manual_seed(0)
    pictures, classes = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    trained = network()
    model = torch.compile(trained, backend="fxfarm")
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.05, momentum=0.9)

    seconds: dict[str, list[float]] = {}
    started = time.monotonic()
    step = steps_settled = 0
    while time.monotonic() - started < options.seconds and steps_settled < STEPS_AFTER_LAST_STAGE:
        step += 1
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pictures), classes)
        loss.backward()
        optimizer.step()
        graphs = fxfarm.graphs()
        stage = graphs[0].stage if graphs else "eager"
        if step > 1:
            seconds.setdefault(stage, []).append(time.perf_counter() - begin)
        if step % REPORT_STEPS == 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  stage {stage}", flush=True)
        steps_settled += bool(graphs) and all(g.settled for g in graphs)

    for stage, found in seconds.items():
        print(f"{stage:24} median {statistics.median(found) * 1e3:8.1f} ms of {len(found)} steps")
    for graph in fxfarm.graphs():
        if not graph.settled:
            print(unfinished(graph))
    return 0 if any(stage != "eager" for stage in seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
