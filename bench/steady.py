"""The compiled steady state beside Inductor's, and how far the outputs are apart.

    python bench/steady.py [--models gpt2,bert] [--blocks 20] [--calls 20] [--json FILE]

One process holds the model three times over the same weights: compiled by Inductor, by fxfarm, and not.
Blocks of calls take turns; a ratio is that of one block's median to its neighbour's, and the median of
fxfarm's ratios to Inductor is held to the target. The outputs of the two must be equal, or as close as
torch.testing.assert_close wants float32 to be.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cpu_models
import harness
import results

TARGET = 1.02
RTOL, ATOL = 1.3e-6, 1e-5
SWITCH_S_MAX = 600.0


def steady(model: str, blocks: int, calls: int) -> dict[str, Any]:
    """Block medians by way in milliseconds, and the greatest difference of outputs."""
    import torch

    import fxfarm

    module, inputs, tensor = cpu_models.build(model)
    ways: dict[str, Callable[..., Any]] = {
        "eager": module,
        "inductor": harness.compiled(module, "inductor"),
        "fxfarm": harness.compiled(module, "fxfarm"),
    }
    with torch.no_grad():
        outputs = {name: tensor(way(*inputs)) for name, way in ways.items()}
        if not fxfarm.wait(timeout=SWITCH_S_MAX):
            raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
        outputs["fxfarm"] = tensor(ways["fxfarm"](*inputs))
        for way in ways.values():
            timed(way, inputs, calls)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for block in range(blocks):
            for name in ways if block % 2 == 0 else reversed(ways):
                times[name].append(timed(ways[name], inputs, calls))
    runs = fxfarm.graphs()[0].runs
    if runs["default"] < (blocks + 1) * calls:
        raise RuntimeError(f"not every call ran compiled code: {runs}")

    def difference(a: str, b: str) -> float:
        return float((outputs[a] - outputs[b]).abs().max())

    return {
        "ms": times,
        "from_inductor": difference("fxfarm", "inductor"),
        "from_eager": difference("fxfarm", "eager"),
        "equal": torch.equal(outputs["fxfarm"], outputs["inductor"]),
        "close": torch.allclose(outputs["fxfarm"], outputs["inductor"], rtol=RTOL, atol=ATOL),
    }


def timed(way: Callable[..., Any], inputs: Sequence[Any], calls: int) -> float:
    """Median milliseconds of a call; the first is left out, for it changes the way."""
    way(*inputs)
    taken = []
    for _ in range(calls):
        begin = time.perf_counter()
        way(*inputs)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e3


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="gpt2,bert")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--calls", type=int, default=20, help="calls per block")
    options = parser.parse_args(argv)
    report = results.Report("steady")
    for model in options.models.split(","):
        with harness.Place() as place:
            found = place.run(steady, model=model, blocks=options.blocks, calls=options.calls)
        times = found["ms"]
        for name, taken in times.items():
            row: dict[str, Any] = {"model": model, "way": name, "ms": taken}
            if name != "inductor":
                row["ratio_to_inductor"] = [a / b for a, b in zip(taken, times["inductor"], strict=True)]
            if name == "fxfarm":
                row |= {
                    "target": TARGET,
                    "from_inductor": found["from_inductor"],
                    "from_eager": found["from_eager"],
                }
                report.hold(f"{model}: a call in terms of Inductor's", row["ratio_to_inductor"], TARGET)
                how = "equal to the bit" if found["equal"] else f"{found['from_inductor']:.2g} apart"
                report.demand(f"{model}: outputs are Inductor's: {how}", found["close"])
            report.add(**row)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
