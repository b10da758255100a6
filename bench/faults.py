"""How long a farm takes to recover from each fault: a part that is killed or told to end, a link that falls
silent, Redis that is gone or hangs; and what becomes of the jobs meanwhile.

    python bench/faults.py [--rounds 3] [--only NAME,NAME] [--real] [--json FILE]

Each round of a fault has a farm of its own: the program's coordinators and workers with the tests' engine,
which answers in milliseconds and can be held in the middle of a job, and a client in this process. Time is
from the fault to the artifact that the client gets, less what a job takes in the same farm without the fault.
"until" rows follow a fault, from what they name. "bound" is what governs the time: a name of
runtime/limits.hpp or an option, with its value. "tried_again" are the jobs of a round that had another
attempt; "twice" are the rounds in which a second coordinator had the graph compiled anew instead, although it
was under way: the client's question came before the worker's word.

--real has the real engine compile graphs of torch, which cannot be held: what a job has done when the fault
comes is part of the time, and differs from round to round.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults_farm
import harness
import results
from faults_farm import Ground, LostError, limit, option

AT_ONCE_S = 1.0
"""For what no bound delays: some messages, on a machine that does other things, too."""
AWAY_S = 1.0
"""How long a coordinator is away."""
HOMES = 160
"""Graphs of which each coordinator is the home of about half."""
ASKED_EVERY_S = 0.1
UNDER_WAY = ("running", "fetched", "loading", "loaded")
"""States of a stage that is compiled, or has been."""

Times = dict[str, float]


def worker_killed(ground: Ground) -> Times:
    """kill -9 of a worker whose engine compiles; others are idle."""
    ground.call()
    job = ground.begin()
    struck = time.monotonic()
    os.kill(job.worker, signal.SIGKILL)
    found = ground.repeated(job, struck)
    ground.workers.pop(job.worker).ended()
    ground.settle()
    return {"worker killed": found}


def engine_killed(ground: Ground) -> Times:
    """kill -9 of an engine that compiles; other workers are idle."""
    ground.call()
    job = ground.begin()
    struck = time.monotonic()
    os.kill(job.engine, signal.SIGKILL)
    found = ground.repeated(job, struck)
    ground.settle()
    return {"engine killed": found}


def only_engine_killed(ground: Ground) -> Times:
    """Likewise, where there is no other."""
    return {"the only engine killed": engine_killed(ground)["engine killed"]}


def coordinator_killed(ground: Ground) -> Times:
    """kill -9 of the one that has a job which runs, and its return."""
    caller = ground.call()
    homes = by_home(ground)
    job = ground.begin()
    struck = time.monotonic()
    dead = ground.coordinators.pop(job.home)
    dead.process.kill()

    def goes_on() -> bool:
        told = caller.told(job.graph)
        return told["farm"] in ground.coordinators and told["stages"][0]["state"] in UNDER_WAY

    ground.until("the job goes on under the next coordinator", goes_on)
    answered = ground.continued(job, struck)
    # When the client asks before the worker tells what it runs, another worker is given the graph, too.
    ground.compiled_twice = ground.counted("jobs_adopted") == 0
    dead.ended()
    time.sleep(AWAY_S)
    ground.coordinator(port=int(job.home.rsplit(":", 1)[1]))
    back = time.monotonic()
    until_home = home_again(ground, homes[job.home], job.home) - back
    ground.settle()
    return {"coordinator killed": answered, "until a coordinator that is back has new graphs": until_home}


def by_home(ground: Ground) -> dict[str, list[int]]:
    """Graphs by the coordinator that they belong to; they are asked for no longer."""
    assert ground.caller is not None
    found: dict[str, list[int]] = {endpoint: [] for endpoint in ground.coordinators}
    numbers = [ground.number() for _ in range(HOMES)]
    asked = {number: ground.caller.submit(number) for number in numbers}
    for number, graph in asked.items():
        ground.take(graph)
        found[ground.caller.told(graph)["farm"]].append(number)
        ground.caller.release(graph)
    return found


def home_again(ground: Ground, numbers: Sequence[int], home: str) -> float:
    """When the first of these graphs, asked for one after the other, was served by its home, which has an
    empty cache now and compiles it."""
    assert ground.caller is not None
    for number in numbers:
        asked = time.monotonic()
        graph = ground.caller.submit(number)
        ended = ground.take(graph)
        if ground.caller.told(graph)["farm"] == home:
            return ended
        time.sleep(max(0.0, asked + ASKED_EVERY_S - time.monotonic()))
    raise LostError(f"none of {len(numbers)} graphs went home")


def worker_told_to_end(ground: Ground) -> Times:
    """SIGTERM to a worker whose engine compiles: it finishes that and ends with 0."""
    ground.call()
    job = ground.begin()
    worker = ground.workers.pop(job.worker)
    struck = time.monotonic()
    os.kill(job.worker, signal.SIGTERM)
    worker.wait_line("stopping why=SIGTERM")
    found = ground.continued(job, struck)
    answered = time.monotonic()
    if worker.ended() != 0:
        raise LostError(f"the worker ended with {worker.process.returncode}")
    ended = time.monotonic()
    ground.settle()
    return {"worker told to end": found, "until it has ended, from its last answer": ended - answered}


def worker_not_heard(ground: Ground) -> Times:
    """The link of a worker that compiles carries nothing any more, and is not closed; then it does again."""
    (endpoint,) = ground.coordinators
    with faults_farm.of_tests("faulty_link").faulty_link(endpoint) as link:
        ground.worker(link.endpoint)
        ground.until_idle(1)
        ground.call()
        job = ground.begin()
        ground.worker()
        ground.until_idle(1)
        struck = time.monotonic()
        link.silence("up", "down")
        found = ground.repeated(job, struck)
        link.silence()
        ground.let_go()
        ground.until_idle(2)
        ground.settle()
        ground.workers.pop(job.worker).stop()
    return {"worker's link silent": found}


def coordinator_not_heard(ground: Ground) -> Times:
    """A client's link to the coordinator that has its job carries nothing any more, and is not closed."""
    faulty = faults_farm.of_tests("faulty_link").FaultyLink
    links = [faulty(int(endpoint.rsplit(":", 1)[1])) for endpoint in ground.coordinators]
    between = {link.endpoint: link for link in links}
    try:
        ground.call(*between)
        job = ground.begin()
        struck = time.monotonic()
        between[job.home].silence("up", "down")
        found = ground.repeated(job, struck)
        ground.let_go()
        ground.settle()
    finally:
        for link in links:
            link.close()
    return {"client's link silent": found}


def redis_killed(ground: Ground) -> Times:
    """kill -9 of Redis, and its return."""
    redis, endpoint = ground.farm.redis, next(iter(ground.coordinators))

    def breaker() -> str:
        return str(ground.farm.ask("status", endpoint)["store"]["redis_breaker"])

    ground.call()
    redis.kill()
    found = ground.plain_job() - ground.plain_s
    ground.until("Redis is left alone", lambda: breaker() != "closed")
    redis.start()
    back = time.monotonic()
    ground.until("the breaker is closed", lambda: breaker() == "closed")
    closed = time.monotonic() - back
    ground.settle()
    return {"Redis killed": found, "until its breaker is closed, from its return": closed}


def redis_hangs(ground: Ground) -> Times:
    """Redis is stopped, so that nothing closes its connections."""
    ground.call()
    ground.farm.redis.pause()
    try:
        found = ground.plain_job() - ground.plain_s
    finally:
        ground.farm.redis.resume()
    ground.settle()
    return {"Redis hangs": found}


@dataclass(frozen=True)
class Fault:
    """One, with the farm that it strikes."""

    strike: Callable[[Ground], Times]
    shape: dict[str, int]
    retried: int = 0
    """Jobs that are tried again."""
    redis: bool = False
    real: bool = True
    """Whether it can be shown with an engine that cannot be held."""


ONE = {"coordinators": 1, "workers": 1}
FAULTS = (
    Fault(worker_killed, {}, retried=1),
    Fault(engine_killed, {}, retried=1),
    Fault(only_engine_killed, ONE, retried=1),
    Fault(coordinator_killed, {}, real=False),
    Fault(worker_told_to_end, {}),
    Fault(worker_not_heard, {"coordinators": 1, "workers": 0}, retried=1, real=False),
    Fault(coordinator_not_heard, {}, real=False),
    Fault(redis_killed, ONE, redis=True),
    Fault(redis_hangs, ONE, redis=True),
)


@dataclass
class Bound:
    """What governs a row's time."""

    told: str
    seconds_max: float


@functools.cache
def bounds() -> dict[str, Bound]:
    """By row; values from the program and from runtime/limits.hpp."""

    def named(*names: str) -> str:
        return ", ".join(f"{name} {limit(name)}" for name in names)

    silence, beat = (faults_farm.seconds(limit(n)) for n in ("peer_silence_max", "heartbeat_period"))
    closed = f"none: the connection is closed (else {named('peer_silence_max')})"
    timeout = option("coordinator", "redis_timeout")
    restart, probe, again = "engine_restart_delay_min", "redis_probe_delay", "reconnect_delay"
    start = faults_farm.seconds(limit(restart)) + AT_ONCE_S
    return {
        "worker killed": Bound(closed, AT_ONCE_S),
        # The job goes to another worker at once, or waits for the engine that is started in its place.
        "engine killed": Bound(named("retry_elsewhere"), AT_ONCE_S),
        "the only engine killed": Bound(named(restart), start),
        "coordinator killed": Bound(closed, AT_ONCE_S),
        "until a coordinator that is back has new graphs": Bound(
            named(f"{again}_min", f"{again}_max"), faults_farm.seconds(limit(f"{again}_max"))
        ),
        "worker told to end": Bound(named("drain_max"), AT_ONCE_S),
        "until it has ended, from its last answer": Bound(
            named("drain_max"), faults_farm.seconds(limit("drain_max"))
        ),
        "worker's link silent": Bound(named("peer_silence_max"), silence + beat),
        "client's link silent": Bound(named("peer_silence_max"), silence + beat),
        "Redis killed": Bound(f"none: refused (else --redis-timeout {timeout})", AT_ONCE_S),
        "until its breaker is closed, from its return": Bound(
            named(f"{probe}_min", f"{probe}_max"), faults_farm.seconds(limit(f"{probe}_max"))
        ),
        # The lookup's question, and what it is beside that.
        "Redis hangs": Bound(f"--redis-timeout {timeout}", faults_farm.seconds(timeout) + AT_ONCE_S),
    }


@dataclass
class Found:
    """All rounds of a fault."""

    times: dict[str, list[float]] = field(default_factory=dict)
    retried: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    """Rounds in which the struck job's graph was compiled a second time without an attempt that failed."""
    jobs_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def one_round(fault: Fault, real: bool, found: Found) -> None:
    """A farm, and the fault in it."""
    with contextlib.ExitStack() as stack:
        words: tuple[str, ...] = ()
        redis: Any = None
        if fault.redis:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fxb-")))
            redis = stack.enter_context(faults_farm.of_tests("redis_servers").redis_in(place))
            words = ("--redis", f"redis://{redis.address}")
        made = stack.enter_context(faults_farm.ground(real=real, words=words, **fault.shape))
        made.farm.redis = redis
        try:
            times = fault.strike(made)
        except LostError as why:
            found.lost.append(str(why))
            return
        for row, took in times.items():
            found.times.setdefault(row, []).append(took)
        found.jobs_s.append(made.plain_s)
        found.retried.append(made.counted("jobs_retried"))
        found.twice.append(int(made.compiled_twice))


def tell(report: results.Report, fault: Fault, found: Found, rounds: int, real: bool) -> None:
    """The rows of a fault, and its targets; times are held where a job's own is nothing beside them."""
    known = bounds()
    for number, (row, times) in enumerate(found.times.items()):
        # Of the fault itself, not of what follows it.
        counted: dict[str, Any] = {}
        if number == 0:
            counted = {"tried_again": found.retried, "twice": sum(found.twice), "job_s": found.jobs_s}
        report.add(fault=row, recovered_s=times, **counted, bound=known[row].told)
        if not real:
            report.hold(f"{row}: seconds", times, known[row].seconds_max)
    name = fault.strike.__name__
    for why in found.lost:
        print(f"faults: {name}: {why}", file=sys.stderr)
    report.demand(f"{name}: every job came to its end in each of {rounds} rounds", not found.lost)
    exact = found.retried == [fault.retried] * (rounds - len(found.lost))
    report.demand(f"{name}: jobs tried again in each round: {found.retried}, want {fault.retried}", exact)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a job was lost, tried again too often, or late."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    names = [fault.strike.__name__ for fault in FAULTS]
    parser.add_argument("--only", metavar="NAMES", help="some of " + ", ".join(names))
    parser.add_argument("--real", action="store_true", help="with the real engine; takes minutes")
    options = parser.parse_args(argv)
    wanted = options.only.split(",") if options.only else names
    if unknown := set(wanted) - set(names):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    report = results.Report("faults")
    for fault in FAULTS:
        if fault.strike.__name__ not in wanted:
            continue
        left_out = "needs an engine that can be held" if options.real and not fault.real else ""
        if fault.redis and not faults_farm.redis_there():
            left_out = "redis-server is not installed"
        if left_out:
            print(f"faults: {fault.strike.__name__} is left out: {left_out}", file=sys.stderr)
            continue
        found = Found()
        for _ in range(options.rounds):
            one_round(fault, options.real, found)
        tell(report, fault, found, options.rounds, options.real)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
