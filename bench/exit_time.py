"""How long a model's process takes to end, with and without fxfarm.

    python bench/exit_time.py [--model mlp] [--rounds 5] [--json FILE]

"exit" is from the last statement of the program to the end of its process: with the model compiled, and with
a compile pending. "Ctrl-C" is from SIGINT, while the model is being called, to the end of the process. The
ways take turns. "over_eager" is the time less that of the same process without fxfarm in the same round; its
median over the rounds is held to the target.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import cpu_models
import harness
import results

TARGET_S = 0.25
"""Ending is not to feel any different."""
READY_S_MAX = 600.0
END_S_MAX = 60.0
CASES = (
    ("eager", "settled", "exit"),
    ("fxfarm", "settled", "exit"),
    ("fxfarm", "pending", "exit"),
    ("eager", "settled", "Ctrl-C"),
    ("fxfarm", "settled", "Ctrl-C"),
    ("fxfarm", "pending", "Ctrl-C"),
)


def model_process(way: str, state: str, end: str, model: str) -> None:
    """Runs the model until the state is reached, and ends or is ended."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    compiled = harness.compiled(module, way)
    with torch.no_grad():
        compiled(*inputs)
        if way == "fxfarm":
            import fxfarm

            if state == "settled" and not fxfarm.wait(timeout=READY_S_MAX):
                raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
            if state == "pending":
                # Its request is on its way to the farm, which does not even run yet.
                while not fxfarm.graphs()[0].key:
                    compiled(*inputs)
        compiled(*inputs)
        harness.answer_now(None)
        while end == "Ctrl-C":
            compiled(*inputs)


def ending(place: harness.Place, way: str, state: str, end: str, model: str) -> float:
    """Seconds from the end's cause to the end."""
    child = place.start(model_process, way=way, state=state, end=end, model=model)
    if not child.wait_answered(READY_S_MAX):
        raise RuntimeError("the model's process is not ready in time")
    begin: float = child.answer()["monotonic"]
    if end == "Ctrl-C":
        begin = time.monotonic()
        child.process.send_signal(signal.SIGINT)
    child.process.wait(END_S_MAX)
    ended = time.monotonic()
    child.result()
    return ended - begin


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when fxfarm makes an end longer than the target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="mlp", choices=cpu_models.MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    report = results.Report("exit_time")
    found: dict[tuple[str, str, str], list[float]] = {case: [] for case in CASES}
    with harness.Place() as warm:
        for turn in range(options.rounds):
            for case in CASES if turn % 2 == 0 else reversed(CASES):
                if case[1] == "pending":
                    with harness.Place() as cold:
                        found[case].append(ending(cold, *case, options.model))
                else:
                    found[case].append(ending(warm, *case, options.model))
    for (way, state, end), taken in found.items():
        row: dict[str, Any] = {"way": way, "state": state, "end": end, "seconds": taken}
        if way != "eager":
            row["over_eager_s"] = [a - b for a, b in zip(taken, found["eager", "settled", end], strict=True)]
            report.hold(f"{end}, {state}: seconds over eager", row["over_eager_s"], TARGET_S)
        report.add(**row)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
