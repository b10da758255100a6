"""GPT-2 on fxfarm: answers from the first call at eager speed, and becomes faster while it runs.

    python examples/gpt2.py [--stages default,max-autotune] [--seconds 300]

Requests come one by one, with pauses as long as the answers. Random weights, so nothing is downloaded.
Prints each call's latency and the stage that ran it, and at the end the medians of eager and compiled calls
and how far their outputs are apart. Needs `transformers`.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import fxfarm

AFTER_LAST_STAGE_S = 5.0
"""How long it goes on at least once nothing better can come."""
CALLS_AFTER_LAST_STAGE = 10
"""How many calls it makes at least by then."""
PLAIN_LINE_S = 2.0
"""How often a line is printed when the output is no terminal."""


class Display:
    """One live line on a terminal; elsewhere, a plain line now and then and at each change of stage."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._printed = float("-inf")
        self._stage = ""

    def show(self, call: int, seconds: float, stage: str) -> None:
        """Tells about one call."""
        changed, self._stage = stage != self._stage, stage
        if self._live and changed and call > 1:
            print()
        line = f"call {call:5d}  {seconds * 1e3:9.1f} ms  stage {stage}"
        now = time.monotonic()
        if self._live:
            print(f"\r{line:60}", end="", flush=True)
        elif changed or now - self._printed >= PLAIN_LINE_S:
            print(line, flush=True)
            self._printed = now

    def close(self) -> None:
        """Leaves the live line."""
        if self._live:
            print()


def stage_now() -> str:
    """The stage that the model runs; "tracing" before it has a graph."""
    found = fxfarm.graphs()
    return found[0].stage if found else "tracing"


def settled() -> bool:
    """Whether every graph has all it will get."""
    found = fxfarm.graphs()
    return bool(found) and all(g.settled for g in found)


def report(latencies: dict[str, list[float]]) -> None:
    """The median of each stage, worst to best, beside eager's."""
    medians = {stage: statistics.median(found) for stage, found in latencies.items()}
    print()
    for stage, median in medians.items():
        faster = ""
        if stage != "eager" and "eager" in medians:
            faster = f"{medians['eager'] / median:6.2f} x eager's speed"
        print(f"{stage:16} median {median * 1e3:8.1f} ms of {len(latencies[stage]):5} calls{faster}")


def unfinished(graph: fxfarm.GraphStatus) -> str:
    """What is said of a graph whose stages have not all come by the end."""
    found = (
        ", ".join(f"{stage.name} is {stage.state}" for stage in graph.stages) or "the farm has not answered"
    )
    return (
        f"{graph.name}: stopped too early, {found}; --seconds says how long to go on, and FXFARM_NICE=0 "
        "gives compiles as much of busy cores as other programs get"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default="default", help="stages to ask for, worst to best, with commas")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long at the latest")
    return parser.parse_args()


def main() -> int:
    """0 when a compiled stage was reached."""
    options = parse()
    logging.basicConfig(format="%(name)s: %(message)s")
    torch.manual_seed(0)
    sizes = GPT2Config()
    eager: torch.nn.Module = GPT2LMHeadModel(sizes).eval()
    tokens = torch.randint(0, sizes.vocab_size, (1, 64))
    model = torch.compile(eager, backend="fxfarm", options={"stages": options.stages.split(",")})

    print("A farm compiles GPT-2 for this process, which answers eager until it has; the first call traces.")
    display = Display()
    latencies: dict[str, list[float]] = {}
    last_stage_at: float | None = None
    call = last_stage_call = 0
    with torch.no_grad():
        expected = eager(tokens).logits
        started = time.monotonic()
        while time.monotonic() - started < options.seconds:
            call += 1
            begin = time.perf_counter()
            logits = model(tokens).logits
            seconds = time.perf_counter() - begin
            stage = stage_now()
            # The first call traces the model.
            if call > 1:
                latencies.setdefault(stage, []).append(seconds)
            display.show(call, seconds, stage)
            # Half of the time goes to requests, as in a server that is not yet too small.
            time.sleep(seconds)
            if last_stage_at is None and settled():
                last_stage_at, last_stage_call = time.monotonic(), call
            if (
                last_stage_at is not None
                and time.monotonic() - last_stage_at > AFTER_LAST_STAGE_S
                and call - last_stage_call >= CALLS_AFTER_LAST_STAGE
            ):
                break
    display.close()

    report(latencies)
    print(f"largest difference from eager: {(logits - expected).abs().max().item():.2e}")
    for graph in fxfarm.graphs():
        for problem in (graph.error, *(s.error for s in graph.stages)):
            if problem:
                print(f"{graph.name}: {problem}")
        if not graph.settled:
            print(unfinished(graph))
    return 0 if stage_now() not in ("eager", "tracing") else 1


if __name__ == "__main__":
    sys.exit(main())
