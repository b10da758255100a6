"""The steady state of each compiled stage beside Inductor's in the same mode, and how far outputs are apart.

    python bench/steady.py [--models gpt2,bert] [--stages default,max-autotune] [--rounds 3] [--blocks 20]
        [--calls 20] [--seconds 7200] [--json FILE]

For each stage and round one process holds the model three times over the same weights: compiled by Inductor
in the mode of that name, by fxfarm with that stage alone, and not. Blocks of calls take turns; a ratio is
the median of those of one block's median to its neighbour's, "ms" the median of the block medians, both of
each round. The median of fxfarm's ratios to Inductor is held to the target. The outputs of the two must be
equal, or as close as torch.testing.assert_close wants float32 to be; where kernels are chosen by measuring,
the two may have chosen others, which add in another order: they must be close to eager's.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cpu_models
import harness
import results
from turns import Turns

TARGET = 1.02
RTOL, ATOL = 1.3e-6, 1e-5
TUNED_TOLERANCE = 1e-3
SWITCH_S_MAX = 600.0


def steady(model: str, stage: str, blocks: int, calls: int) -> dict[str, Any]:
    """Block medians by way in milliseconds, and the greatest difference of outputs."""
    import torch

    import fxfarm

    module, inputs, tensor = cpu_models.build(model)
    own: dict[str, Any] = {"stages": [stage]}
    ways: dict[str, Callable[..., Any]] = {
        "eager": module,
        "inductor": torch.compile(module, mode=stage),
        "fxfarm": torch.compile(module, backend="fxfarm", options=own),
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
    if runs.get(stage, 0) < (blocks + 1) * calls:
        raise RuntimeError(f"not every call ran {stage}: {runs}: {fxfarm.graphs()}")

    def difference(a: str, b: str) -> float:
        return float((outputs[a] - outputs[b]).abs().max())

    ratios = {
        name: statistics.median(a / b for a, b in zip(taken, times["inductor"], strict=True))
        for name, taken in times.items()
    }
    beside, rtol, atol = "inductor", RTOL, ATOL
    if "autotune" in stage:
        beside, rtol, atol = "eager", TUNED_TOLERANCE, TUNED_TOLERANCE
    return {
        "ms": {name: statistics.median(taken) for name, taken in times.items()},
        "ratio": ratios,
        "from_inductor": difference("fxfarm", "inductor"),
        "from_eager": difference("fxfarm", "eager"),
        "equal": torch.equal(outputs["fxfarm"], outputs["inductor"]),
        "close": torch.allclose(outputs["fxfarm"], outputs[beside], rtol=rtol, atol=atol),
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


def measured(**what: Any) -> Any:
    """One process with a place of its own."""
    with harness.Place() as place:
        return place.run(steady, **what)


def rows(report: results.Report, model: str, stage: str, rounds: Sequence[dict[str, Any]]) -> None:
    """A row of each way, and what is held."""
    for name in rounds[0]["ms"] if rounds else ():
        row: dict[str, Any] = {"model": model, "stage": stage, "way": name}
        row["ms"] = [one["ms"][name] for one in rounds]
        if name != "inductor":
            row["ratio_to_inductor"] = [one["ratio"][name] for one in rounds]
        if name == "fxfarm":
            apart = {part: max(one[part] for one in rounds) for part in ("from_inductor", "from_eager")}
            row |= {"target": TARGET, **apart}
            what = f"{model}, {stage}"
            report.hold(f"{what}: a call in terms of Inductor's", row["ratio_to_inductor"], TARGET)
            equal = all(one["equal"] for one in rounds)
            how = "equal to the bit" if equal else f"{apart['from_inductor']:.2g} apart"
            report.demand(f"{what}: outputs are Inductor's: {how}", all(one["close"] for one in rounds))
        report.add(**row)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="gpt2,bert")
    parser.add_argument("--stages", default="default,max-autotune")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--calls", type=int, default=20, help="calls per block")
    parser.add_argument("--seconds", type=float, default=7200, help="nothing is begun after it")
    options = parser.parse_args(argv)
    report = results.Report("steady")
    turns = Turns(report, options.seconds)
    sizes = {"blocks": options.blocks, "calls": options.calls}
    for model in options.models.split(","):
        for stage in options.stages.split(","):
            rounds = []
            for turn in range(options.rounds):
                measure = functools.partial(measured, model=model, stage=stage, **sizes)
                if found := turns.tried(f"{model}, {stage}, round {turn + 1}", measure):
                    rounds.append(found)
            rows(report, model, stage, rounds)
            report.keep(options.json)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
