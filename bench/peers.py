"""How long a process waits for its first answer, and until it runs compiled code, beside PyTorch's own ways
to keep what was compiled: in a first process, in a second one, and on another machine.

    python bench/peers.py [--model bert4] [--rounds 3] [--seconds 3600] [--ways fxfarm,aoti,...] [--json FILE]

Each way has directories of its own. "first" is a process for which nobody has compiled anything; "second" is
one after it on the same machine; "other machine" is one whose local directories are empty, and only what the
way is there to share is left: the farm, Redis, the blob of mega-cache, the package of AOTInductor, the
storage of a compiler's cache. It is simulated on this host, so transport costs nothing. "answer" is the time
from the built model to the end of the first call, with imports of the way's own and the loading of what was
saved; "compiled" that to the end of the first call of compiled code: the same where the first call waits for
it. With fxfarm the process calls the model all the while, on the cores that compile. Of AOTInductor "first"
exports, compiles and loads in one process. "save" is what a first process takes longer to save for others.
Every answer is held against eager.

Inductor's Redis cache needs the package `redis` and redis-server, a compiler's cache sccache or ccache; a way
whose needs are not there is named and left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cpu_models
import farms
import harness
import links
import results
from turns import Missing

Times = dict[str, float]
Found = dict[str, Times]

FIRST, SECOND, OTHER = "first", "second", "other machine"
SWITCH_S_MAX = 600.0
READY_S_MAX = 300.0
NO_COMPILER = {"CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}
TOLERANCE = 1e-3


# In children.


def model_of(name: str) -> tuple[Any, tuple[Any, ...]]:
    """A module whose answer is one tensor, as `torch.export` likes it too, and its inputs."""
    import torch

    module, inputs, take = cpu_models.build(name)

    class Answer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Any) -> Any:
            return take(self.module(x))

    return Answer().eval(), inputs


def checked(module: Any, inputs: tuple[Any, ...], got: Any) -> None:
    """Raises AssertionError for an answer that is not eager's."""
    import torch

    torch.testing.assert_close(got, module(*inputs), rtol=TOLERANCE, atol=TOLERANCE)


def farmed(model: str) -> Times:
    """Calls the model until a compiled stage has answered."""
    import torch

    module, inputs = model_of(model)
    with torch.no_grad():
        begin = time.perf_counter()
        import fxfarm

        run = harness.compiled(module, "fxfarm")
        run(*inputs)
        first = time.perf_counter()
        while fxfarm.stats()["compiled_runs"] == 0:
            if time.perf_counter() - first > SWITCH_S_MAX:
                raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
            got = run(*inputs)
        end = time.perf_counter()
        checked(module, inputs, got)
    return {"answer": first - begin, "compiled": end - begin}


def with_inductor(model: str, load: str = "", save: str = "") -> Times:
    """The first call with Inductor; `load` and `save` are files of mega-cache."""
    import torch

    module, inputs = model_of(model)
    with torch.no_grad():
        begin = time.perf_counter()
        if load:
            torch.compiler.load_cache_artifacts(Path(load).read_bytes())
        got = harness.compiled(module, "inductor")(*inputs)
        end = time.perf_counter()
        checked(module, inputs, got)
    times = {"answer": end - begin, "compiled": end - begin}
    if save:
        begin = time.perf_counter()
        saved = torch.compiler.save_cache_artifacts()
        if saved is None:
            raise RuntimeError("mega-cache has nothing to save")
        Path(save).write_bytes(saved[0])
        times["save"] = time.perf_counter() - begin
    return times


def with_aoti(model: str, package: str, build: bool) -> Times:
    """The first call of a package of AOTInductor; `build`: it is made here first."""
    import torch

    module, inputs = model_of(model)
    with torch.no_grad():
        begin = time.perf_counter()
        if build:
            exported = torch.export.export(module, inputs)
            torch._inductor.aoti_compile_and_package(exported, package_path=package)
        got = torch._inductor.aoti_load_package(package)(*inputs)
        end = time.perf_counter()
        checked(module, inputs, got)
    return {"answer": end - begin, "compiled": end - begin}


# The ways.


def fxfarm_local(model: str) -> Found:
    """The farm that the first process starts on its host."""
    with harness.Place() as place:
        return {kind: place.run(farmed, model=model) for kind in (FIRST, SECOND)}


def fxfarm_farm(model: str) -> Found:
    """A farm that runs; no process of the models' has a compiler."""
    with farms.elsewhere() as endpoint:
        variables = {"FXFARM_ENDPOINTS": endpoint, "FXFARM_LOCAL": "false", **NO_COMPILER}
        with harness.Place(**variables) as machine:
            found: Found = {kind: machine.run(farmed, model=model) for kind in (FIRST, SECOND)}
        with harness.Place(**variables) as machine:
            return {**found, OTHER: machine.run(farmed, model=model)}


def inductor(model: str) -> Found:
    """Its local caches, which are on by default."""
    with harness.Place() as place:
        kept = {"TORCHINDUCTOR_CACHE_DIR": place.fresh("kept")}
        found: Found = {
            kind: place.run(with_inductor, variables=kept, model=model) for kind in (FIRST, SECOND)
        }
        # Nothing is shared.
        return {**found, OTHER: place.run(with_inductor, model=model)}


@contextlib.contextmanager
def redis() -> Iterator[dict[str, str]]:
    """A Redis; the variables of a process whose Inductor has its remote caches there. Raises Missing."""
    if importlib.util.find_spec("redis") is None or shutil.which("redis-server") is None:
        raise Missing("the package redis or redis-server")
    port = str(links.free_port())
    with harness.Place() as place:
        where = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", place.fresh("redis")]
        server = subprocess.Popen(["redis-server", *where], stdout=subprocess.DEVNULL)
        try:
            if not harness.wait_until(lambda: answers(port), READY_S_MAX):
                raise RuntimeError("redis-server does not answer")
            yield {
                **{"TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1", "TORCHINDUCTOR_AUTOGRAD_REMOTE_CACHE": "1"},
                **{"TORCHINDUCTOR_REDIS_PORT": port},
            }
        finally:
            server.terminate()
            server.wait()


def inductor_redis(model: str) -> Found:
    """Its remote caches, with a Redis of their own."""
    with redis() as variables, harness.Place() as place:
        kept = {**variables, "TORCHINDUCTOR_CACHE_DIR": place.fresh("kept")}
        found = {kind: place.run(with_inductor, variables=kept, model=model) for kind in (FIRST, SECOND)}
        return {**found, OTHER: place.run(with_inductor, variables=variables, model=model)}


def answers(port: str) -> bool:
    """Whether a Redis is there."""
    done = subprocess.run(["redis-cli", "-p", port, "ping"], capture_output=True, check=False)
    return done.stdout.strip() == b"PONG"


def mega_cache(model: str) -> Found:
    """Inductor's caches as one blob, which the other machine has."""
    with harness.Place() as place:
        blob = str(Path(place.fresh("blob")) / "blob")
        first = place.run(with_inductor, model=model, save=blob)
        other = place.run(with_inductor, model=model, load=blob)
        return {FIRST: first, OTHER: {**other, "mib": Path(blob).stat().st_size / 2**20}}


def aoti(model: str) -> Found:
    """A package, which the second process and the other machine have; these need no compiler."""
    with harness.Place() as place:
        package = str(Path(place.fresh("package")) / "model.pt2")
        first = place.run(with_aoti, model=model, package=package, build=True)
        later = {"model": model, "package": package, "build": False}
        second = place.run(with_aoti, variables=NO_COMPILER, **later)
        other = place.run(with_aoti, variables=NO_COMPILER, **later)
        return {FIRST: first, SECOND: second, OTHER: {**other, "mib": Path(package).stat().st_size / 2**20}}


def compiler_cache(tool: str, model: str) -> Found:
    """A cache before Inductor's C++ compiler; its storage stands for a shared one. Inductor's directory on
    the other machine has the same path, and is empty."""
    if shutil.which(tool) is None:
        raise Missing(tool)
    with harness.Place() as place:
        wrapper = Path(place.fresh("bin")) / "g++"
        wrapper.write_text(f'#!/bin/sh\nexec {tool} /usr/bin/g++ "$@"\n')
        wrapper.chmod(0o755)
        kept = place.root / "kept"
        variables = {
            **{"CXX": str(wrapper), "TORCHINDUCTOR_CACHE_DIR": str(kept)},
            **{"CCACHE_DIR": place.fresh("ccache"), "CCACHE_CONFIGPATH": os.devnull},
            **{"SCCACHE_DIR": place.fresh("sccache"), "SCCACHE_SERVER_PORT": str(links.free_port())},
        }
        first = place.run(with_inductor, variables=variables, model=model)
        second = place.run(with_inductor, variables=variables, model=model)
        shutil.rmtree(kept)
        before = hits(tool, place.environment(**variables))
        other = place.run(with_inductor, variables=variables, model=model)
        after = hits(tool, place.environment(**variables))
        return {FIRST: first, SECOND: second, OTHER: {**other, "hits": float(after - before)}}


def hits(tool: str, environment: dict[str, str]) -> int:
    """How often it has had the answer."""
    if tool == "ccache":
        shown = subprocess.run(
            [tool, "--print-stats"], env=environment, capture_output=True, text=True, check=True
        )
        counts = dict(line.split("\t", 1) for line in shown.stdout.splitlines())
        return int(counts["direct_cache_hit"]) + int(counts["preprocessed_cache_hit"])
    shown = subprocess.run(
        [tool, "--show-stats", "--stats-format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(json.loads(shown.stdout)["stats"]["cache_hits"]["counts"].values())


WAYS: dict[str, tuple[str, Callable[[str], Found]]] = {
    "local": ("fxfarm, local farm", fxfarm_local),
    "fxfarm": ("fxfarm, a farm that runs", fxfarm_farm),
    "inductor": ("Inductor, local caches", inductor),
    "redis": ("Inductor, remote cache", inductor_redis),
    "mega": ("mega-cache", mega_cache),
    "aoti": ("AOTInductor", aoti),
    "sccache": ("Inductor, sccache", lambda model: compiler_cache("sccache", model)),
    "ccache": ("Inductor, ccache", lambda model: compiler_cache("ccache", model)),
}


def main(argv: Sequence[str]) -> int:
    """Measures and prints."""
    parser = harness.parser(__doc__)
    parser.add_argument("--model", default="bert4", choices=("gpt2", "bert", "bert4", "mlp"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3600, help="no round that would end later is begun")
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args(argv)
    report = results.Report("peers")
    wanted = options.ways.split(",")
    rounds: dict[str, list[Found]] = {way: [] for way in wanted}
    # The ways take turns, so that a busy minute of the machine falls on all of them.
    begin = time.monotonic()
    for turn in range(options.rounds):
        if turn and (time.monotonic() - begin) * (turn + 1) / turn > options.seconds:
            break
        for way in wanted if turn % 2 == 0 else reversed(wanted):
            try:
                rounds[way].append(WAYS[way][1](options.model))
            except Missing as e:
                print(f"peers: {WAYS[way][0]} is left out: {e} is not here", file=sys.stderr, flush=True)
                continue
            print(f"peers: round {turn + 1}: {way} {rounds[way][-1]}", file=sys.stderr, flush=True)
    for way, found in rounds.items():
        for kind in found[0] if found else ():
            times = [one[kind] for one in found]
            columns = {
                f"{name}_s": [t[name] for t in times]
                for name in ("answer", "compiled", "save")
                if name in times[0]
            }
            more = {name: times[-1][name] for name in ("mib", "hits") if name in times[-1]}
            report.add(way=WAYS[way][0], process=kind, rounds=len(found), **columns, **more)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
