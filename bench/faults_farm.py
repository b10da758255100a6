"""What bench/faults.py strikes: a farm of the tests' programs with a client in this process, what a job takes
there when nothing happens, and the bounds that govern what follows a fault.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fanout
import harness
import links
import workers

ROOT = Path(__file__).resolve().parent.parent
STEP_S_MAX = 60.0
"""For anything that must happen; a real engine's start takes longer."""
REAL_S_MAX = 300.0
PLAIN_JOBS = 5
"""So many say what a job takes without a fault."""


class LostError(RuntimeError):
    """A job did not come to its end in time."""


def of_tests(module: str) -> Any:
    """A module of the tests' farm."""
    for folder in (ROOT / "tests/python", ROOT / "tests/python/farm"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return importlib.import_module(module)


# Bounds.


def limit(name: str) -> str:
    """The value of a bound as runtime/limits.hpp of this checkout has it. Raises LookupError."""
    found = re.search(rf"\b{name} = ([^;]+);", (ROOT / "runtime/limits.hpp").read_text())
    if found is None:
        raise LookupError(f"no bound {name} in runtime/limits.hpp")
    return found[1]


def option(role: str, name: str) -> str:
    """The value of an option that nobody has set, as the program tells it. Raises LookupError."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("FXFARM_")}
    command = [harness.fxfarm_program(), "config", "show", role]
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    for line in told.splitlines():
        words = line.split()
        if words and words[0] == name:
            return words[1]
    raise LookupError(f"no option {name} of {role}")


def seconds(text: str) -> float:
    """Of a value such as "10s" or "200ms"."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[unit]


# Graphs, and who asks for them.


class EchoGraphs:
    """Graphs of the tests' engine, whose artifacts say what they were made of."""

    stages = ({"name": "default", "options": {"stage": json.dumps("default")}},)
    target = fanout.PLATFORM

    def payload(self, number: int) -> bytes:
        graph: bytes = fanout.echo_client().graph_bytes(number)
        return graph

    def right(self, number: int, artifact: bytes) -> bool:
        return bool(artifact == of_tests("echo_engine").echo(self.payload(number), "default"))


class RealGraphs:
    """Graphs of torch, which Inductor compiles in some seconds."""

    stages = ({"name": "default", "options": {}},)

    def __init__(self) -> None:
        from fxfarm import _torch

        self._torch = _torch
        self.target = dict(_torch.client_platform())
        self._made: dict[int, bytes] = {}

    def payload(self, number: int) -> bytes:
        if number not in self._made:
            import torch

            def keep(gm: Any, inputs: Any) -> Any:
                self._made[number] = self._torch.serialize(self._torch.snapshot(gm, inputs)).payload
                return gm.forward

            function, given = workers.graph(number)
            torch._dynamo.reset()
            with torch.no_grad():
                harness.compiled(function, keep)(given)
        return self._made[number]

    def right(self, number: int, artifact: bytes) -> bool:
        return len(artifact) > 0


Graphs = EchoGraphs | RealGraphs


class Caller:
    """A client whose graphs have one stage each."""

    def __init__(self, endpoints: Sequence[str], graphs: Graphs) -> None:
        from fxfarm import _core

        self._digest = _core.digest
        self._client = _core.Client(endpoints=list(endpoints))
        self._graphs = graphs
        self._numbers: dict[int, int] = {}
        self._ended: dict[int, float] = {}

    def submit(self, number: int) -> int:
        """Asks for a graph; what it is called here."""
        graph = self._graphs.payload(number)
        stages, target = list(self._graphs.stages), self._graphs.target
        made = self._client.submit(self._digest(graph), f"g{number}", graph, stages, target)  # type: ignore[arg-type]
        self._numbers[made] = number
        return made

    def take(self, graph: int, seconds_max: float) -> float:
        """When its artifact came (CLOCK_MONOTONIC). Raises LostError."""
        end = time.monotonic() + seconds_max
        while graph not in self._ended:
            task = self._client.next_task(max(0, int(1000 * (end - time.monotonic()))))
            now = time.monotonic()
            if task is None:
                raise LostError(f"no artifact in {seconds_max} s: {self.told(graph)}")
            if not self._graphs.right(self._numbers[task.graph], bytes(task.artifact)):
                raise LostError(f"not the artifact of graph {self._numbers[task.graph]}")
            task.done()
            self._ended[task.graph] = now
        return self._ended[graph]

    def told(self, graph: int) -> Any:
        """What is known of it."""
        return next(known for known in self._client.graphs() if known["id"] == graph)

    def open(self) -> list[Any]:
        """The graphs that have not got their stage."""
        return [known for known in self._client.graphs() if known["stages"][0]["state"] != "loaded"]

    def release(self, graph: int) -> None:
        self._client.release(graph)

    def stop(self) -> None:
        self._client.stop()


@dataclass
class Job:
    """One that an engine has begun with."""

    graph: int
    submitted: float
    """When (CLOCK_MONOTONIC)."""
    engine: int
    worker: int
    """Both are pids."""
    home: str
    """The endpoint of the coordinator that has it, as the client calls it."""


class Ground:
    """A farm, what struck it, and what came of that."""

    def __init__(self, farm: Any, real: bool) -> None:
        self.farm = farm
        self.real = real
        self.graphs: Graphs = RealGraphs() if real else EchoGraphs()
        self.coordinators: dict[str, Any] = {}
        """Those that live, by endpoint."""
        self.workers: dict[int, Any] = {}
        self.caller: Caller | None = None
        self.plain_s = 0.0
        """From the request to the artifact, without a fault."""
        self.held_s = 0.0
        """Likewise, from when an engine that was held may go on."""
        self.compiled_twice = False
        """Whether a second coordinator had the struck job's graph compiled anew."""
        self._numbers = 0
        self._made = 0
        self.step_s_max = REAL_S_MAX if real else STEP_S_MAX

    def coordinator(self, *words: str, port: int = 0) -> str:
        """Starts one with an empty cache; its endpoint."""
        self._made += 1
        cache = str(self.farm.directory / f"cache-{self._made}")
        role, endpoint = self.farm.coordinator("--cache-dir", cache, *words, port=port)
        self.coordinators[endpoint] = role
        return str(endpoint)

    def worker(self, *endpoints: str) -> None:
        """Starts one of these coordinators, or of all there are."""
        self._made += 1
        role = self.farm.worker(*(endpoints or self.coordinators), name=f"w{self._made}")
        self.workers[role.pid] = role

    def until_idle(self, count: int) -> None:
        """Waits until every coordinator has so many idle workers, and their engines are ready."""
        for endpoint in self.coordinators:
            there = functools.partial(self._idle, endpoint, count)
            self._until(f"{count} idle workers", there, REAL_S_MAX)

    def _idle(self, endpoint: str, count: int) -> bool:
        told = self.farm.ask("status", endpoint)["workers"]
        return [worker["state"] for worker in told].count("idle") == count

    def _until(self, what: str, happened: Callable[[], bool], seconds_max: float) -> None:
        if not harness.wait_until(happened, seconds_max):
            raise LostError(f"in {seconds_max} s it did not happen: {what}")

    def until(self, what: str, happened: Callable[[], bool]) -> None:
        """Waits for it. Raises LostError."""
        self._until(what, happened, self.step_s_max)

    def call(self, *endpoints: str) -> Caller:
        """A client of these coordinators, or of all, which has learnt what a job takes."""
        self.caller = Caller(endpoints or list(self.coordinators), self.graphs)
        took = [self.plain_job() for _ in range(1 + (1 if self.real else PLAIN_JOBS))]
        # The first one finds no connection yet, and an engine that has compiled nothing.
        self.plain_s = statistics.median(took[1:])
        if not self.real:
            self.held_s = statistics.median(self._held_job() for _ in range(PLAIN_JOBS))
        return self.caller

    def number(self) -> int:
        """Of a graph that nobody has asked for."""
        self._numbers += 1
        return self._numbers

    def plain_job(self) -> float:
        """Seconds of a job."""
        assert self.caller is not None
        number = self.number()
        self.graphs.payload(number)
        begin = time.monotonic()
        return self.take(self.caller.submit(number)) - begin

    def _held_job(self) -> float:
        job = self.begin()
        released = time.monotonic()
        self.let_go()
        return self.take(job.graph) - released

    def take(self, graph: int) -> float:
        """When its artifact came. Raises LostError."""
        assert self.caller is not None
        return self.caller.take(graph, self.step_s_max)

    def begin(self) -> Job:
        """A job that an engine has begun with and, if it is the tests' own, does not end before `let_go`."""
        assert self.caller is not None
        number = self.number()
        self.graphs.payload(number)
        if not self.real:
            self.farm.control.on("wait")
        submitted = time.monotonic()
        graph = self.caller.submit(number)
        engine = 0 if self.real else self.farm.control.job()[0]
        caller = self.caller
        self.until("the job runs", lambda: caller.told(graph)["stages"][0]["state"] == "running")
        if not self.real:
            # Its next attempt, and what comes after it, is not held.
            self.farm.control.on("compile")
        busy = [pid for pid in self.workers if engine in descendants(pid)] or self._busy()
        return Job(graph, submitted, engine or engine_below(busy[0]), busy[0], caller.told(graph)["farm"])

    def _busy(self) -> list[int]:
        told = [w for e in self.coordinators for w in self.farm.ask("status", e)["workers"]]
        return [worker["pid"] for worker in told if worker["state"] == "busy"]

    def let_go(self) -> None:
        """Has the engine that is held go on."""
        if not self.real:
            self.farm.control.open_gate()

    def repeated(self, job: Job, struck: float) -> float:
        """Seconds from the fault to the artifact of a job that is done again, less what a job takes."""
        return self.take(job.graph) - struck - self.plain_s

    def continued(self, job: Job, struck: float) -> float:
        """Likewise, of a job that went on; what is held is let go now."""
        self.let_go()
        ended = self.take(job.graph)
        if self.real:
            return ended - job.submitted - self.plain_s
        return ended - struck - self.held_s

    def settle(self, count: int = 4) -> None:
        """The farm does so many more jobs, after which nothing is left to do anywhere. Raises LostError."""
        assert self.caller is not None
        for graph in [self.caller.submit(self.number()) for _ in range(count)]:
            self.take(graph)
        caller = self.caller
        self.until("every graph is at its last stage", lambda: not caller.open())
        for endpoint in self.coordinators:
            self.until("no job is left", functools.partial(self._at_rest, endpoint))

    def _at_rest(self, endpoint: str) -> bool:
        return set(self.farm.ask("status", endpoint)["jobs"].values()) == {0}

    def counted(self, name: str) -> int:
        """The sum over all living coordinators."""
        return sum(self.farm.counts(endpoint, name)[0] for endpoint in self.coordinators)

    def close(self) -> None:
        """Lets the client end, and what may still be held."""
        if self.caller is not None:
            self.caller.stop()
        for _ in self.workers:
            self.let_go()


def descendants(pid: int) -> list[int]:
    """The processes below one, those nearest to it first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found[1:]


def engine_below(worker: int) -> int:
    """The interpreter that a worker compiles with, below its sandbox."""
    return [pid for pid in descendants(worker) if "fxfarm.engine" in harness.command_line(pid)][-1]


@functools.cache
def redis_there() -> bool:
    """Whether Redis is installed."""
    with contextlib.suppress(OSError):
        return subprocess.run(["redis-server", "--version"], capture_output=True, check=False).returncode == 0
    return False


@contextlib.contextmanager
def ground(
    *, real: bool, coordinators: int = 2, workers: int = 3, words: Sequence[str] = ()
) -> Iterator[Ground]:
    """A farm of its own for one fault; nothing of it is left at the end."""
    cluster = of_tests("cluster")
    with tempfile.TemporaryDirectory(prefix="fxb-") as name, contextlib.ExitStack() as stack:
        place = Path(name)
        if real:
            farm = stack.enter_context(cluster.farm_in(place))
        else:
            artifacts = place / "artifacts"
            artifacts.mkdir()
            import msgpack

            (artifacts / "platform").write_bytes(msgpack.packb(fanout.PLATFORM))
            farm = stack.enter_context(cluster.farm_in(place, artifacts, "echo_engine.py"))
        made = Ground(farm, real)
        stack.callback(made.close)
        for _ in range(coordinators):
            made.coordinator(*words, port=links.free_port())
        for _ in range(workers):
            made.worker()
        made.until_idle(workers)
        yield made
