"""How long a graph that nobody has compiled takes to its compiled stage, as idle slots are added to the farm.

    python bench/cold.py [--models bert4,convnet] [--ways fxfarm,local,...] [--slots 0,2,8] [--rounds 3]
        [--seconds 7200] [--json FILE]

The model's process and one worker have the same two cores, the host; the worker has one slot. Each of the
`--slots` that are added is a worker of its own on one other core, and idle: it compiles kernels of the job
([how](../docs/decisions/kernels.md)). All engines are warm and have no kernels, as on a farm that runs; the
local cache of the model's process is empty. "compiled" is from the first call to the end of the first call
that runs compiled code; between the two the model is not called, as it cannot be while Inductor compiles.
"kernels" is how many of the kernels were made elsewhere. Inductor, with its pool of compilers, is measured on
the same two cores, its first call and what it imports included, in turns with the others. The ratio to it is
held to 0.9 without slots that are added, and to 0.5 with eight, as far as there are cores for them.

"local" is what a process has that sets nothing, where no farm runs: it starts one by itself, on the same two
cores, whose engine has to start first. "new-host" is the same on a host where there never was a farm, whose
engine has to make its headers before it starts, and "called" is "local" when the model is called without a
pause, so that engines, which have a lower priority, have what it leaves them; "call_ms" is the median of
those calls. With "called-niceN" the engines' niceness is N (`FXFARM_NICE`), 0 being the model's.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import farms
import first_call
import harness
import results
from turns import Turns

Found = dict[str, Any]

HOST_CORES = 2
ALONE_TARGET, HELPED_TARGET, HELPED_SLOTS = 0.9, 0.5, 8
WAYS = ("fxfarm", "local", "new-host", "called", "called-nice0")
INDUCTOR = "inductor"


def host_cores() -> list[int]:
    """Those of the model's process."""
    return sorted(os.sched_getaffinity(0))[:HOST_CORES]


def by_farm(model: str, added: int) -> Found:
    """One cold compile with so many idle slots beside the host's own."""
    cores = sorted(os.sched_getaffinity(0))
    host, others = host_cores(), cores[HOST_CORES:] or cores
    each = [host, *([others[number % len(others)]] for number in range(added))]
    with harness.Place() as place:
        socket = f"ipc://{place.root}/farm.sock"
        with farms.started(place, socket, [farms.on_cores(own) for own in each], options=("--slots", "1")):
            go = Path(place.fresh("go")) / "go"
            child = place.start(
                first_call.to_compiled,
                variables=farms.client(socket),
                before=farms.on_cores(host),
                **{"way": "fxfarm", "model": model, "go": str(go)},
            )
            farms.await_warm(socket, len(each))
            go.touch()
            told: Found = child.result()
            counted = farms.asked(socket, "stats")["values"]
        return {**told, "kernels": counted.get("kernels_asked_made", 0)}


def by_itself(way: str, model: str) -> Found:
    """With Inductor in the model's process, or with the farm that fxfarm starts there."""
    called = way.startswith("called")
    told: Found = {"way": "inductor" if way == INDUCTOR else "local", "model": model, "called": called}
    niceness = way.partition("-nice")[2]
    with harness.Place(**({"FXFARM_NICE": niceness} if niceness else {})) as place:
        if called or way == "local":
            farm_before(place)
        found: Found = place.run(first_call.to_compiled, before=farms.on_cores(host_cores()), **told)
        return found


def farm_before(place: harness.Place) -> None:
    """A local farm that has compiled nothing, on the cores of the host; it has ended. It leaves headers."""
    socket = f"{place.root}/before.sock"
    words = ("--socket", socket, "--python", sys.executable, "--nice", "0")
    with harness.farm_process(place, "local", *words, before=farms.on_cores(host_cores())):
        farms.await_warm(f"ipc://{socket}", 1)


def rows(report: results.Report, model: str, rounds: Sequence[dict[str, Found]], ways: Sequence[str]) -> None:
    """A row of each way, with the ratios to Inductor in the same round."""
    for way in ways:
        found = [one for one in rounds if way in one and INDUCTOR in one]
        if not found:
            continue
        columns: Found = {f"{name}_s": [one[way][name] for one in found] for name in ("first", "compiled")}
        if "call_ms" in found[0][way]:
            columns["call_ms"] = [one[way]["call_ms"] for one in found]
        if way != INDUCTOR:
            columns["ratio"] = [one[way]["compiled"] / one[INDUCTOR]["compiled"] for one in found]
        name, _, slots = way.partition("+")
        if slots:
            columns = {"slots_added": int(slots), **columns, "kernels": [o[way]["kernels"] for o in found]}
        report.add(model=model, way=name, **columns)
        target = {"0": ALONE_TARGET, str(HELPED_SLOTS): HELPED_TARGET}.get(slots)
        if target is not None and len(os.sched_getaffinity(0)) >= HOST_CORES + int(slots):
            report.hold(f"{model}: {slots} slots added: part of Inductor's time", columns["ratio"], target)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="bert4,convnet")
    parser.add_argument("--ways", default=",".join(WAYS), help="beside Inductor")
    parser.add_argument("--slots", default="0,2,8", help="numbers of idle slots that are added")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=7200, help="nothing is begun after it")
    options = parser.parse_args(argv)
    report = results.Report("cold")
    wanted, turns = options.ways.split(","), Turns(report, options.seconds)
    # By name, and for the farm with the number of slots: "fxfarm+8".
    ways = [INDUCTOR, *(f"fxfarm+{count}" for count in options.slots.split(",") if "fxfarm" in wanted)]
    ways += [way for way in wanted if way != "fxfarm"]
    for model in options.models.split(","):
        rounds: list[dict[str, Found]] = []
        for turn in range(options.rounds):
            rounds.append({})
            for way in ways if turn % 2 == 0 else reversed(ways):
                slots = way.partition("+")[2]
                measure = (
                    functools.partial(by_farm, model, int(slots))
                    if slots
                    else functools.partial(by_itself, way, model)
                )
                if found := turns.tried(f"{model}, {way}, round {turn + 1}", measure):
                    rounds[-1][way] = found
        rows(report, model, rounds, ways)
        report.keep(options.json)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
