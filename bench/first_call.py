"""How long the first call of a model that nobody has compiled takes, and how long it is to compiled code.

    python bench/first_call.py [--models gpt2,bert,...] [--ways eager,fxfarm,...] [--rounds 3] [--called]
        [--seconds 7200] [--plot FILE] [--json FILE]

Every process is a new one with empty caches; the ways take turns. "eager" is `backend="eager"`, which is
tracing alone and the floor of a first call. With "fxfarm" a farm with a warm engine, which has compiled
nothing, runs on the same cores; with "local" none runs, and the process starts its own. "async" and
"progressive" are PyTorch's own modes, without its caches, with which they do not work. "mega" compiles and
saves mega-cache's blob ("save_s" on top); "mega, loaded" is another process that loads it in its first call.

"first_s" is the first call, "all_s" counts `import fxfarm` and `torch.compile()`, too, and "thread_s" is the
processor time of the calling thread in the call, which other load on the machine changes least. "compiled_s"
is from the first call to the end of the first call that runs compiled code: the first one where that waits.
Of "progressive" it is that of the fast compile, and "last_s" is to the better one, as with "async", which
compiles within the first call what runs until another process has compiled it. "first_ratio" is in terms
of eager's of the same round, "compiled_ratio" in terms of Inductor's. Between the two calls the model is not
called, as it cannot be while Inductor compiles, but looked at by a call now and then where a way needs that;
--called calls it without a pause.

The medians of "first" and "all" of "fxfarm" and "local" in terms of eager's are held to a target, and neither
may have imported Inductor's compiler when it has switched.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cpu_models
import farms
import gpu_ways
import harness
import peers
import results
from timeline import VARIABLES
from turns import Turns

Found = dict[str, Any]

WAYS = ("eager", "fxfarm", "local", "inductor", "async", "progressive", "mega")
FARMED = ("fxfarm", "local")
LOADED = "mega, loaded"
TARGET = 1.15
SWITCH_S_MAX = 600.0
READY_S_MAX = 600.0
PAUSE_S = 0.1
"""Between two calls that look whether another process has compiled."""
TOLD = ("first", "all", "thread", "compiled", "last", "save")


# In children.


def to_compiled(way: str, model: str, called: bool = False, go: str = "") -> Found:
    """Seconds in this process from the first call, made once the file `go` is there if it has a name."""
    import torch

    module, inputs, _ = cpu_models.build(model)
    begin = time.perf_counter()
    farmed = way in FARMED
    if farmed:
        import fxfarm  # noqa: F401
    upstream = gpu_ways.Upstream(way) if way in VARIABLES else None
    run = harness.compiled(module, "fxfarm" if farmed else "inductor" if upstream else way)
    made = time.perf_counter() - begin
    if go and not harness.wait_until(Path(go).exists, READY_S_MAX):
        raise RuntimeError("was not told to go")
    with torch.no_grad():
        begin, thread = time.perf_counter(), time.thread_time()
        run(*inputs)
        found: Found = {"first": time.perf_counter() - begin, "thread": time.thread_time() - thread}
        found["all"] = made + found["first"]

        def until(done: Callable[[], bool], pause_s: float) -> float:
            """Calls until then; seconds."""
            took = []
            while not done():
                if time.perf_counter() - begin > SWITCH_S_MAX:
                    raise RuntimeError("no compiled stage in time")
                time.sleep(0.0 if called else pause_s)
                began = time.perf_counter()
                run(*inputs)
                took.append(time.perf_counter() - began)
            if called and took:
                found["call_ms"] = statistics.median(took) * 1e3
            return time.perf_counter() - begin

        if farmed:
            found["compiled"] = until(ran_compiled(called), 0.0)
            found["compiler_modules"] = harness.compiler_modules()
        elif upstream:
            found["last"] = until(lambda: upstream.look()[1], PAUSE_S)
            # What "async" runs before is compiled, too, though it calls it eager.
            found["compiled"] = found["first"]
            found["notes"] = upstream.notes()
        elif way == "inductor":
            found["compiled"] = found["first"]
    return found


def ran_compiled(called: bool) -> Callable[[], bool]:
    """Whether a call has run fxfarm's compiled stage; unless the model is called all the while, it waits."""
    import fxfarm

    def ran() -> bool:
        if fxfarm.stats()["compiled_runs"] > 0:
            return True
        if not called and not fxfarm.wait(timeout=SWITCH_S_MAX):
            raise RuntimeError(f"not compiled: {fxfarm.graphs()}")
        failed = [s.error for graph in fxfarm.graphs() for s in graph.stages if s.state == "failed"]
        if failed:
            raise RuntimeError(f"a stage failed: {failed}")
        return False

    return ran


# In the benchmark's process.


def measured(way: str, model: str, called: bool) -> dict[str, Found]:
    """One measurement in places of its own: rows by their names."""
    if way == "mega":
        return with_mega_cache(model)
    told = {"way": way, "model": model, "called": called}
    with harness.Place() as place:
        if way == "fxfarm":
            with farms.elsewhere() as endpoint:
                return {way: place.run(to_compiled, variables=farms.client(endpoint), **told)}
        return {way: place.run(to_compiled, variables=VARIABLES.get(way), **told)}


def with_mega_cache(model: str) -> dict[str, Found]:
    """A process that compiles and saves, and one that loads."""

    def row(times: Mapping[str, float]) -> Found:
        saved = {"save": times["save"]} if "save" in times else {}
        return {"first": times["answer"], "compiled": times["compiled"], **saved}

    found = peers.mega_cache(model)
    return {"mega": row(found[peers.FIRST]), LOADED: row(found[peers.OTHER])}


def rows(rounds: Sequence[dict[str, Found]], report: results.Report, model: str) -> None:
    """A row of each way that was measured, and what is held."""
    for way in (*WAYS, LOADED):
        found = [one for one in rounds if way in one]
        if not found:
            continue
        columns: Found = {"rounds": len(found)}
        for name in TOLD:
            if name in found[0][way]:
                columns[f"{name}_s"] = [one[way][name] for one in found]
        for name, other in (("first", "eager"), ("all", "eager"), ("compiled", "inductor")):
            pairs = [(one[way], one[other]) for one in found if other in one and other != way]
            if pairs and name in pairs[0][0]:
                columns[f"{name}_ratio"] = [here[name] / there[name] for here, there in pairs]
        if notes := found[-1][way].get("notes"):
            columns["notes"] = notes
        report.add(model=model, way=way, **columns)
        if way in FARMED:
            hold(report, f"{model}, {way}", columns, found[-1][way]["compiler_modules"])


def hold(report: results.Report, what: str, columns: Found, imported: Sequence[str]) -> None:
    """The targets of one model and way."""
    for name in ("first", "all"):
        if f"{name}_ratio" in columns:
            report.hold(f"{what}: {name} in terms of eager's", columns[f"{name}_ratio"], TARGET)
    shown = " ".join(imported) or "none"
    report.demand(f"{what}: modules of the compiler imported by the switch: {shown}", not imported)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default=",".join(cpu_models.MODELS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--called", action="store_true", help="call the model while it is compiled elsewhere")
    parser.add_argument("--seconds", type=float, default=7200, help="nothing is begun after it")
    parser.add_argument("--plot", metavar="FILE", help="draw bars (needs matplotlib)")
    options = parser.parse_args(argv)
    report = results.Report("first_call")
    ways, turns = options.ways.split(","), Turns(report, options.seconds)
    for model in options.models.split(","):
        rounds: list[dict[str, Found]] = []
        for turn in range(options.rounds):
            rounds.append({})
            for way in ways if turn % 2 == 0 else reversed(ways):
                measure = functools.partial(measured, way, model, options.called)
                rounds[-1] |= turns.tried(f"{model}, {way}, round {turn + 1}", measure) or {}
        rows(rounds, report, model)
        report.keep(options.json)
    if options.plot:
        plot(report.document["rows"], Path(options.plot))
    return report.finish(options.json)


def plot(found: Sequence[Found], file: Path) -> None:
    """Bars of the medians: the first call, and the time to compiled code."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    models = list(dict.fromkeys(row["model"] for row in found))
    ways = list(dict.fromkeys(row["way"] for row in found))
    figure, axes = plt.subplots(2, 1, figsize=(2 + 1.4 * len(models), 7), squeeze=False)
    for ax, name in zip(axes[:, 0], ("first_s", "compiled_s"), strict=True):
        for row in found:
            if name in row:
                number = ways.index(row["way"])
                at = models.index(row["model"]) + (number - (len(ways) - 1) / 2) / (len(ways) + 1)
                ax.bar(at, results.summary(row[name])[0], 1 / (len(ways) + 1), color=f"C{number}")
        ax.set_xticks(range(len(models)), models)
        ax.set(ylabel=name.replace("_s", ", seconds"), yscale="log")
    handles = [Patch(color=f"C{n}", label=way) for n, way in enumerate(ways)]
    axes[0, 0].legend(handles=handles, ncols=len(ways), fontsize="small")
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
