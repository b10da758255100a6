"""Which architectures of `transformers` the farm serves, in inference and in a training step, and whether
they then answer as in eager.

    python bench/architectures.py [--models gpt2,bert] [--kinds inference,training] [--shard 1/1] [--jobs N]
        [--seconds 600] [--engine-cache-dir DIR] [--json FILE]

Every row is a process of its own that runs a model of small_models.py in eager, in eager with 64-bit floats,
and through the farm until each graph has its stage; then once more, and that answer is compared. Where a
graph stays eager or an answer differs, Inductor gets the same model in another process, and its column says
what became of it.

A tensor agrees with eager when it is close to it (TOLERANCE, relative and absolute), or when its error
against the 64-bit run is at most ERROR_FACTOR times eager's own plus a tenth of TOLERANCE, root mean square
each: the measure of PyTorch's own benchmarks of Inductor (benchmarks/dynamo). A training step is loss,
backward and an SGD step; its loss, all gradients, and all parameters and buffers after it are compared.
Numbers that are not floating must be equal.

Exits with 1 when Inductor compiles what was not served wholly, or where a result differs from eager's while
Inductor's own does not.
"""

from __future__ import annotations

import concurrent.futures
import copy
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import harness
import results
import small_models
from small_architectures import ARCHITECTURES
from small_inputs import Inputs

KINDS = ("inference", "training")
TOLERANCE = 1e-4
ERROR_FACTOR = 2.0
ROUNDS_MAX = 5
"""Calls after which no new graph may come."""
SHOWN_CHARS_MAX = 300
GOOD = {
    "served": "every graph runs what the farm compiled",
    "as inductor": "served, and Inductor's own code differs from eager in the same tensors by as much",
    "eager": "a graph stays eager, and Inductor refuses the model too",
    "absent": "this version of transformers has no such model",
    "not run": "the model runs neither in this way nor with Inductor",
}
BAD = {
    "not served": "a graph stays eager, and Inductor compiles the model",
    "differs": "a result differs from eager, and Inductor's own does not",
    "failed": "the process failed, and Inductor's did not",
}

Tensors = dict[str, Any]
Run = Callable[[Callable[..., Any], Any, Inputs], Tensors]


# What runs in a child.


def tensors(value: Any, path: str = "") -> Tensors:
    """The tensors of a model's output by their place in it, those of a key-value cache too; what is neither
    container nor tensor is passed over."""
    import torch

    if isinstance(value, torch.Tensor):
        return {path: value.detach().clone()}
    if isinstance(value, Mapping):
        parts = [(str(name), part) for name, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(str(number), part) for number, part in enumerate(value)]
    elif type(value).__module__ == "transformers.cache_utils":
        parts = list(vars(value).items())
    else:
        parts = []
    return {
        place: tensor
        for name, part in parts
        for place, tensor in tensors(part, f"{path}.{name}" if path else name).items()
    }


def inference(call: Callable[..., Any], _: Any, inputs: Inputs) -> Tensors:
    """The outputs of one call."""
    import torch

    with torch.no_grad():
        return tensors(call(**inputs))


def training(call: Callable[..., Any], module: Any, inputs: Inputs) -> Tensors:
    """What one step of training leaves; the module is then put back as it was."""
    import torch

    before = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    optimizer.zero_grad()
    loss = call(**inputs).loss
    loss.backward()
    optimizer.step()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    found = tensors({"loss": loss, "gradient": gradients, "after": module.state_dict()})
    module.load_state_dict(before)
    return found


def prepared(model: str, kind: str) -> tuple[Run, Any, Inputs]:
    """How to run the model, the model, and its inputs."""
    module, inputs = small_models.build(model)
    if kind == "training":
        return training, module, inputs
    return inference, module.eval(), small_models.without_labels(inputs)


def references(run: Run, module: Any, inputs: Inputs) -> tuple[Tensors, Tensors]:
    """Eager's results, and those with 64-bit floats."""
    exact, exact_inputs = small_models.in_double(module, inputs)
    return run(module, module, inputs), run(exact, exact, exact_inputs)


def differences(got: Tensors, eager: Tensors, exact: Tensors) -> list[str]:
    """The tensors that do not agree with eager, with how far they are from it."""
    import torch

    if got.keys() != eager.keys():
        return [f"{name} is not in both" for name in sorted(got.keys() ^ eager.keys())]
    found = []
    for name, want in eager.items():
        have = got[name]
        if have.dtype != want.dtype or have.shape != want.shape:
            found.append(f"{name} is {have.dtype} {list(have.shape)}, not {want.dtype} {list(want.shape)}")
        elif not want.is_floating_point():
            found += [] if torch.equal(have, want) else [f"{name} is not equal"]
        elif not agrees(have, want, exact[name]):
            found.append(f"{name} by {float((have - want).abs().max()):.2g}")
    return found


def agrees(got: Any, eager: Any, exact: Any) -> bool:
    """The measure that the head of this file describes."""
    import torch

    if torch.allclose(got, eager, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        return True
    error, own_error = (float((t.double() - exact.double()).square().mean().sqrt()) for t in (got, eager))
    return error <= ERROR_FACTOR * own_error + TOLERANCE / 10


def by_fxfarm(model: str, kind: str, seconds: float) -> results.Row:
    """Runs the model until nothing more changes, and tells of its last run."""
    import fxfarm

    lacking = small_models.lacking(model)
    if lacking:
        return {"absent": lacking}
    run, module, inputs = prepared(model, kind)
    eager, exact = references(run, module, inputs)
    compiled = harness.compiled(module, "fxfarm")
    first = run(compiled, module, inputs)
    for _ in range(ROUNDS_MAX):
        if not fxfarm.wait(timeout=seconds):
            raise RuntimeError(f"no stage in {seconds:g} s: {fxfarm.graphs()}")
        before = fxfarm.graphs()
        last = run(compiled, module, inputs)
        after = fxfarm.graphs()
        if len(before) == len(after):
            found = differences(first, eager, exact) + differences(last, eager, exact)
            return {**served(before, after), "differs": found}
    raise RuntimeError(f"every call of {ROUNDS_MAX} brought new graphs")


def served(before: Sequence[Any], after: Sequence[Any]) -> results.Row:
    """What one run called: `fxfarm.graphs()` before and after it."""
    reached, eager, misses = set(), [], 0
    graphs = 0
    for old, new in zip(before, after, strict=True):
        calls = {stage: count - old.runs.get(stage, 0) for stage, count in new.runs.items()}
        ran = [stage for stage, count in calls.items() if count]
        graphs += bool(ran)
        reached |= set(ran)
        misses += new.guard_misses - old.guard_misses
        if "eager" in ran:
            why = new.error or next((s.error for s in new.stages if s.error), "outside its guards")
            eager.append(f"{new.name}: {why}")
    return {
        "graphs": graphs,
        "served": graphs - len(eager),
        "stage": ", ".join(sorted(reached)),
        "guard_misses": misses,
        "eager": eager,
    }


def by_inductor(model: str, kind: str) -> results.Row:
    """What Inductor itself makes of the model; `error` is empty when it compiles it."""
    run, module, inputs = prepared(model, kind)
    eager, exact = references(run, module, inputs)
    compiled, refused = inductor_compiled(module)
    try:
        got = run(compiled, module, inputs)
    except Exception as e:  # whatever Inductor cannot do is the answer
        return {"error": short(f"{type(e).__name__}: {e}"), "differs": []}
    return {"error": short("; ".join(refused)), "differs": differences(got, eager, exact)}


def inductor_compiled(module: Any) -> tuple[Callable[..., Any], list[str]]:
    """`module` compiled by Inductor, and a list that gets the reason for each graph that it refuses: with
    some errors Dynamo then runs the graph eagerly and says nothing.
    """
    import torch

    inductor = torch._dynamo.lookup_backend("inductor")
    refused: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        try:
            return inductor(graph, inputs)
        except Exception as e:
            refused.append(f"{type(e).__name__}: {e}")
            raise

    return harness.compiled(module, backend), refused


# The parent's side.


def short(text: str) -> str:
    """On one line and not long."""
    return " ".join(text.split())[:SHOWN_CHARS_MAX]


def answer_of(child: harness.Child, seconds: float) -> results.Row:
    """What a child found out; its failure is an `error`."""
    try:
        if child.wait_answered(seconds):
            found: results.Row = child.result()
            return {"error": "", **found}
    except RuntimeError as e:
        return {"error": str(e).strip().splitlines()[-1]}
    child.process.kill()
    child.process.wait()
    return {"error": f"no answer in {seconds:g} s"}


def examined(place: harness.Place, model: str, kind: str, seconds: float) -> results.Row:
    """The row of one model and kind."""
    found = answer_of(place.start(by_fxfarm, model=model, kind=kind, seconds=seconds), seconds)
    inductor = None
    if found["error"] or found.get("eager") or found.get("differs"):
        inductor = answer_of(place.start(by_inductor, model=model, kind=kind), seconds)
    return {
        "model": model,
        "family": ARCHITECTURES[model].family,
        "kind": kind,
        "verdict": verdict(found, inductor),
        **{name: found.get(name) for name in ("graphs", "served", "stage", "guard_misses")},
        "reason": short(reason(found)),
        "inductor": None if inductor is None else short(reason(inductor) or "compiles"),
    }


def verdict(found: results.Row, inductor: results.Row | None) -> str:
    """What became of a model: a word of GOOD or of BAD."""
    if found.get("absent"):
        return "absent"
    if found.get("differs"):
        same = inductor is not None and set(found["differs"]) <= set(inductor.get("differs", []))
        return "as inductor" if same and not found["eager"] else "differs"
    if inductor is None:
        return "served"
    if inductor["error"]:
        return "not run" if found["error"] else "eager"
    return "failed" if found["error"] else "not served"


def reason(found: results.Row) -> str:
    """Why something is not as wanted; empty when all is."""
    differs = [f"differs: {what}" for what in found.get("differs", [])]
    return "; ".join(filter(None, [found.get("absent"), found["error"], *found.get("eager", []), *differs]))


def summary(rows: Sequence[results.Row]) -> results.Row:
    """How many rows have each verdict, and how many models are served in all that was asked for."""
    by_model: dict[str, set[str]] = {}
    for row in rows:
        by_model.setdefault(row["model"], set()).add(row["verdict"])
    return {
        "models": len(by_model),
        "models_served": sum(found == {"served"} for found in by_model.values()),
        **{word: sum(row["verdict"] == word for row in rows) for word in [*GOOD, *BAD]},
    }


def names(text: str, known: Sequence[str], what: str) -> list[str]:
    """The names in a list with commas, all for an empty one. Raises SystemExit for one that is not known."""
    wanted = text.split(",") if text else list(known)
    for name in wanted:
        if name not in known:
            raise SystemExit(f"no {what} {name!r}; there are {', '.join(known)}")
    return wanted


def shard(text: str, models: Sequence[str]) -> list[str]:
    """The part I of N of `models`, as "I/N" asks for it. Raises SystemExit for another text."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise SystemExit(f"--shard takes I/N with I from 1 to N, not {text!r}")
    return list(models[int(part) - 1 :: int(parts)])


def main(argv: Sequence[str]) -> int:
    """Examines and prints; 1 when a row's verdict is a bad one."""
    parser = harness.parser(__doc__)
    parser.add_argument("--models", default="", help="all of small_architectures.py unless named")
    parser.add_argument("--kinds", default="", help="both unless named")
    parser.add_argument("--shard", default="1/1", help="I/N: every Nth model, from the Ith on")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--seconds", type=float, default=600, help="longest time for one model and kind")
    parser.add_argument("--engine-cache-dir", help="keeps the engines' headers for another run")
    options = parser.parse_args(argv)
    models = shard(options.shard, names(options.models, list(ARCHITECTURES), "model"))
    wanted = [(model, kind) for model in models for kind in names(options.kinds, KINDS, "kind")]
    farm = {
        "FXFARM_SLOTS": str(options.jobs),
        "FXFARM_ENGINE_CORES": "0",
        "FXFARM_NICE": "0",
        "FXFARM_ROLL_BACK": "0",
    }
    if options.engine_cache_dir:
        farm["FXFARM_ENGINE_CACHE_DIR"] = options.engine_cache_dir
    report = results.Report("architectures")
    # The place ends first: without its processes no thread waits.
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, harness.Place(**farm) as place:
        for row in pool.map(lambda step: examined(place, step[0], step[1], options.seconds), wanted):
            report.add(**row)
    report.document["summary"] = counts = summary(report.document["rows"])
    for word, meaning in BAD.items():
        report.demand(f"none {word}: {meaning}", counts[word] == 0)
    status = report.finish(options.json)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
