"""Models on a GPU: first call, switch, steady calls, and what the process compiles, beside Inductor and
PyTorch's own modes.

    python bench/gpu.py [--models gpt2,bert,llama,vit,resnet,tiny] [--kinds inference,training]
        [--ways eager,fxfarm,inductor,async,progressive] [--stages default,reduce-overhead,max-autotune]
        [--seconds 3600] [--switch-seconds 240] [--ddp] [--device cpu --small] [--json FILE]

Runs from the installed package; needs transformers, and takes torchvision's resnet50 where that is there.
Each line is a part of one process's life, which begins with a built model. "first_s" is the time to the
first answer, with imports of the way's own, "call_s" that of the call alone; "compiled_s" the time to the
end of the first call that ran the stage, "ms" the median of its last calls. Each call is waited for on the
device. In a training the optimizer's step is a part of the call, and is not compiled.

A "cold" process has nothing that was compiled before. With fxfarm it asks for all stages at once, and the
farm that it starts compiles on the same GPU; Inductor compiles the modes one after the other ("order") in
the same process. A "warm" one comes after it: with fxfarm its own caches are empty and the farm is full,
with Inductor the local caches are full; either way one stage after the other. "async" and "progressive" are
PyTorch's modes, without the caches, which they do not work with. "eager" is not compiled, "traced" is
`backend="eager"`. What they compile within the first call is "first" and "fast".

"over_ms" is the worst call in the two seconds before a switch ("before_over_ms") or after it, over the
median of the stage that it ran; of Inductor the worst of the first calls, in which CUDA graphs are
recorded. What Python's garbage collection took of such a call does not count; "gc_ms" is the most that it
took of one. "apart" is the greatest difference to eager in terms of eager's greatest value: of the output,
and of gradients. "children" are programs that the process's Python started, "triton" compiles by Triton in
it, "ptxas" its runs, "measured" kernel configurations that were timed; for fxfarm "warm" all have to be 0.
"mib" is the GPU's memory, allocated and reserved, "source" the store or the worker that a stage came from.
"tiny" is a model whose calls are overhead: microseconds of the host for a call of the compiled model, of
fxfarm's slot, and of what is in the slot.

--ddp measures two processes in place of all this: with two GPUs (or on the CPU) ranks with
DistributedDataParallel, and with a collective in the graph; with one GPU two that know nothing of each
other.
"""

from __future__ import annotations

import argparse
import functools
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_child
import gpu_ranks
import gpu_ways
import harness
import links
import results
from ranks import farm_counters, started_jobs
from timeline import VARIABLES

Found = dict[str, Any]

MODELS = ("gpt2", "bert", "llama", "vit", "resnet", "tiny")
KINDS = ("inference", "training")
WAYS = ("eager", "fxfarm", "inductor", "async", "progressive")
STAGES = ("default", "reduce-overhead", "max-autotune")
OVER_MS_MAX = 20.0
APART_MAX = 0.05
"""Of bfloat16 with 8 bits of precision, after some dozens of layers."""
RANKS = 2
NOTE_CHARS = 300
CHILD_S_MIN = 30.0
"""A process for which less is left is not begun."""


class OutOfTime(Exception):
    """What comes next would not end in time."""


class Bench:
    """Processes one after the other, until the time is over."""

    def __init__(self, options: argparse.Namespace, report: results.Report) -> None:
        self.options = options
        self.report = report
        self._end = time.monotonic() + options.seconds
        names = ("device", "dtype", "small", "switch_seconds")
        self.told = {name: getattr(options, name) for name in names}

    def left_s(self) -> float:
        """Raises OutOfTime when it is too little for a process."""
        left: float = self._end - time.monotonic()
        if left < CHILD_S_MIN:
            raise OutOfTime
        return left

    def tried(self, row: Found, measure: Callable[[], None]) -> None:
        """What `measure` fails with goes into a row, and so does that there was no time for it."""
        try:
            self.left_s()
            measure()
        except OutOfTime:
            self.report.add(**row, note="not reached: the time is over")
        except Exception as e:
            failed(self.report, row, f"{type(e).__name__}: {e}")
        if self.options.json:
            # Whoever ends the benchmark has what it measured until then.
            Path(self.options.json).write_text(json.dumps(self.report.document, indent=1) + "\n")

    def phases(self, children: Sequence[harness.Child], count: int = 1) -> list[list[Found]]:
        """What each child measured, `count` phases; one that it left unfinished has the `error`. What
        becomes of a child that has told of all of them says nothing about these."""
        found = []
        for child in children:
            status = child.ended(max(0.0, self._end - time.monotonic()))
            phases: list[Found] = child.answer()["result"] if child.answered else []
            if len(phases) == count:
                pass
            elif status == -signal.SIGKILL and time.monotonic() >= self._end:
                phases.append({"error": "stopped: the time is over"})
            elif status != 0:
                phases.append({"error": f"ended with {status}: {child.output()}"})
            found.append(phases)
        return found


# One model and kind of call.


def compare(bench: Bench, model: str, kind: str, way: str) -> None:
    """All lines of one way."""
    options = bench.options
    stages = options.stages.split(",")
    singly = [[stage] for stage in stages]
    fixed: Found = {"model": model, "kind": kind, "options": bench.told}
    row = {"model": model, "kind": kind, "way": way}

    def measure(place: harness.Place, run: str, plans: Sequence[Sequence[str]], **variables: str) -> None:
        # Each process has an empty Triton cache, unless it is said to have another's.
        caches = {"TRITON_CACHE_DIR": place.fresh("triton"), **variables}
        child = place.start(gpu_child.measured, variables=caches, way=way, plans=plans, **fixed)
        for order, found in enumerate(bench.phases([child], len(plans))[0]):
            add(bench.report, {**row, "run": run, "order": order + 1}, found)

    if way == "eager":
        with harness.Place() as place:
            bench.tried(row, lambda: measure(place, "", [["eager"], ["traced"]]))
    elif way == "fxfarm":
        # A stage that is slower is to be seen, not left.
        with harness.Place(FXFARM_ROLL_BACK="0") as place:
            bench.tried({**row, "run": "cold"}, lambda: measure(place, "cold", [stages]))
            empty = {"FXFARM_ARTIFACT_DIR": f"{place.fresh('artifacts')}/artifacts"}
            bench.tried({**row, "run": "warm"}, lambda: measure(place, "warm", singly, **empty))
    elif way == "inductor":
        with harness.Place() as place:
            kept = {"TORCHINDUCTOR_CACHE_DIR": place.fresh("kept"), "TRITON_CACHE_DIR": place.fresh("kept")}
            for run in ("cold", "warm"):
                bench.tried({**row, "run": run}, functools.partial(measure, place, run, singly, **kept))
    else:
        with harness.Place() as place:
            bench.tried({**row, "run": "cold"}, lambda: measure(place, "cold", [[way]], **VARIABLES[way]))


def failed(report: results.Report, row: Found, why: str) -> None:
    """A line without figures; what fxfarm fails with is a target missed, too."""
    report.add(**row, note=one_line(why))
    if row["way"] == "fxfarm":
        report.demand(f"{name_of(row)}: measured", False)


def one_line(text: str) -> str:
    """The end of a text, which says most in what a process has written."""
    return " ".join(text.split())[-NOTE_CHARS:]


def name_of(row: Found) -> str:
    """Of a line, in a target's text."""
    return " ".join(str(row[part]) for part in ("model", "kind", "run") if row.get(part))


def add(report: results.Report, row: Found, found: Found) -> None:
    """A line for each stage that calls have run, and what fxfarm has to keep to."""
    if "device" in found:
        report.document["machine"].update(found["device"])
    if "error" in found:
        failed(report, {**row, "stage": " ".join(found.get("plan", ()))}, found["error"])
        return
    notes = [*map(one_line, found["notes"]), *([] if found["settled"] else ["the last stage has not come"])]
    entered = {switch["to"]: switch for switch in found["switches"]}
    last = found["stages"][-1]
    for stage in found["stages"]:
        first, switch = stage is found["stages"][0], entered.get(stage["stage"], {})
        columns = {"first_s": found["first_s"], "call_s": found["call_s"]} if first else {}
        columns |= {
            **{"compiled_s": stage["since_s"], "calls": stage["calls"], "ms": stage["ms"]},
            **{name: switch.get(name) for name in ("before_over_ms", "over_ms", "gc_ms")},
            **{"mib": told_mib(stage["memory_mib"]), "source": found["sources"].get(stage["stage"])},
        }
        if stage is last:
            apart = [f"{value:.2g}" for value in found.get("difference", {}).values()]
            columns |= {"apart": " ".join(apart) or None, "note": "; ".join(notes) or None}
            columns |= {name: found[name] for name in ("children", "triton", "ptxas", "measured")}
            columns["programs"] = " ".join(f"{n}:{c}" for n, c in found["programs"].items()) or None
        if row["way"] == "inductor" and found["begin_worst_ms"] is not None:
            columns["over_ms"] = found["begin_worst_ms"] - stage["ms"]
        report.add(**row, stage=stage["stage"], **columns)
    if row["way"] == "fxfarm":
        hold(report, row, found)


def told_mib(memory: Sequence[float] | None) -> str | None:
    """Allocated and reserved, as a text."""
    return f"{memory[0]:.0f} of {memory[1]:.0f}" if memory else None


def hold(report: results.Report, row: Found, found: Found) -> None:
    """The targets of one process with fxfarm."""
    what = f"{name_of(row)}, {' '.join(found['plan'])}"
    there = found["settled"] and not found["notes"]
    report.demand(f"{what}: the last stage runs", there)
    if not there:
        return
    for switch in found["switches"]:
        over = [ms for ms in (switch["before_over_ms"], switch["over_ms"]) if ms is not None]
        if over:
            text = f"{what}: worst call around the switch to {switch['to']}, ms over the median"
            report.hold(text, [max(over)], OVER_MS_MAX)
    for part, apart in found.get("difference", {}).items():
        report.hold(f"{what}: {part} apart from eager's", [apart], APART_MAX)
    if row["run"] == "warm":
        for part in ("children", "triton", "ptxas", "measured"):
            report.hold(f"{what}: {part}", [float(found[part])], 0.0)


def tiny(bench: Bench, way: str) -> None:
    """The host's time for a call."""
    row = {"model": "tiny", "kind": "inference", "way": way}

    def measure() -> None:
        with harness.Place() as place:
            variables = {"TRITON_CACHE_DIR": place.fresh("triton")}
            child = place.start(gpu_child.overhead, variables=variables, way=way, options=bench.told)
            found: Found = child.result(bench.left_s())
            bench.report.document["machine"].update(found.pop("device"))
            bench.report.add(**row, **found)

    bench.tried(row, measure)


# Ranks.


def ranks(bench: Bench, model: str, kind: str, gpus: int) -> None:
    """Two processes that begin together; `kind` is of `measured`, or of a rank."""
    stages = bench.options.stages.split(",")
    device = bench.options.device
    row = {"model": model, "kind": kind, "way": "fxfarm", "run": f"{RANKS} on {min(gpus, RANKS) or 'no'} GPU"}

    def measure() -> None:
        with harness.Place(FXFARM_ROLL_BACK="0") as place:
            children = []
            meeting, port = place.fresh("meeting"), links.free_port()
            for number in range(RANKS):
                variables = {"TRITON_CACHE_DIR": place.fresh("triton")}
                common: Found = {"model": model, "kind": kind, "options": bench.told}
                if kind in KINDS:
                    alone: Found = {"way": "fxfarm", "plans": [stages], "meeting": meeting, "ranks": RANKS}
                    child = place.start(gpu_child.measured, variables=variables, **alone, **common)
                else:
                    variables |= gpu_ranks.environment(number, RANKS, port, device)
                    child = place.start(gpu_ranks.rank, variables=variables, stages=stages, **common)
                children.append(child)
            found = bench.phases(children)
            jobs = started_jobs(farm_counters(place))
        for number, phases in enumerate(found):
            for one in phases:
                add(bench.report, {**row, "order": number}, one)
        in_step(bench.report, row, [phases[0] for phases in found], jobs, len(stages))

    bench.tried(row, measure)


def in_step(report: results.Report, row: Found, found: Sequence[Found], jobs: int, want: int) -> None:
    """What ranks have to keep to together."""
    switched = [[switch["call"] for switch in one.get("switches", ())] for one in found]
    report.add(**row, note=f"calls of the switches: {switched}; compiles: {jobs}")
    if row["kind"] == "collective":
        report.demand(
            f"{row['model']} collective: the ranks switch at the same calls",
            bool(switched[0]) and all(calls == switched[0] for calls in switched),
        )
    if row["kind"] != "ddp":
        what = f"{row['model']} {row['kind']}: compiles for all: {jobs}, want {want}"
        report.demand(what, jobs == want)


def all_ranks(bench: Bench, models: Sequence[str], gpus: int) -> None:
    """Of each model."""
    kinds = bench.options.kinds.split(",") if gpus == 1 else ["collective", "ddp"]
    for model in models:
        for kind in kinds:
            if model != "tiny":
                ranks(bench, model, kind, gpus)


def gpu_count(device: str) -> int:
    """Found by a process of its own: this one is to leave the GPU alone."""
    if device == "cpu":
        return 0
    with harness.Place() as place:
        count: int = place.run(gpu_ways.gpus)
    return count


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when fxfarm misses a target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--stages", default=",".join(STAGES), help="worst to best")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--small", action="store_true", help="models of a few layers")
    parser.add_argument("--seconds", type=float, default=3600, help="what is not done by then is left out")
    parser.add_argument("--switch-seconds", type=float, default=240, help="longest wait for a last stage")
    parser.add_argument("--ddp", action="store_true", help="measure two ranks, and nothing else")
    options = parser.parse_args(argv)
    report = results.Report("gpu")
    bench = Bench(options, report)
    gpus = gpu_count(options.device)
    if options.device == "cuda" and gpus == 0:
        print("gpu: left out: there is no GPU, or torch is not built for one", file=sys.stderr)
        return report.finish(options.json)
    models = options.models.split(",")
    if options.ddp:
        all_ranks(bench, models, gpus)
        return report.finish(options.json)
    for model in models:
        for kind in options.kinds.split(",") if model != "tiny" else [""]:
            for way in options.ways.split(","):
                if model != "tiny":
                    compare(bench, model, kind, way)
                elif way in ("eager", "fxfarm", "inductor"):
                    tiny(bench, way)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
