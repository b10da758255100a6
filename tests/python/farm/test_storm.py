"""Everything that can die does, again and again, and no graph is lost."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import Farm, free_port
from echo_farm import AT_ONCE, GPU_PLATFORM, Asking, echo_farm_in, next_line
from programs import Role, signalled, until
from redis_servers import Redis, redis_in

SEED = 20
FAULTS = 200
LINES_PER_FAULT = 4
"""So many stages arrive between two deaths."""
CLIENTS, GRAPHS_EACH, SHARED = 3, 200, 100
"""Of a client's graphs, so many are asked for by its neighbour, too."""
COORDINATORS, WORKERS, SLOTS = 2, 3, 2
REDIS_CONNECTIONS = 2
"""Of a coordinator, made when they are needed."""
ATTEMPTS = 100
"""Of one job; a graph must not be given up because of others' deaths."""


@dataclass
class Member:
    """Something that is killed and started again at once."""

    kind: str
    start: Callable[[], Role | Asking | Redis]
    runs: Role | Asking | Redis

    def kill(self) -> None:
        self.runs.kill()
        self.runs = self.start()


class Storm:
    """A farm whose parts die at random, in an order that the seed decides."""

    def __init__(self, farm: Farm, redis: Redis) -> None:
        self.farm = farm
        self.redis = redis
        self.random = random.Random(SEED)
        self.heard: queue.Queue[str] = queue.Queue()
        self.arrived: set[str] = set()
        self.ports = [free_port() for _ in range(COORDINATORS)]
        self.endpoints = [f"tcp://127.0.0.1:{port}" for port in self.ports]
        self.faults = dict.fromkeys(("coordinator", "worker", "engine", "client", "redis"), 0)
        self.members = [
            Member("redis", self._redis, redis),
            *(self._member("coordinator", lambda i=i: self._coordinator(i)) for i in range(COORDINATORS)),
            *(self._member("worker", lambda i=i: self._worker(i)) for i in range(WORKERS)),
        ]
        for endpoint in self.endpoints:
            farm.until_workers(endpoint, WORKERS)
        self.descriptors_at_first = max(descriptors(m.runs.process.pid) for m in self.of_kind("coordinator"))
        """Of a coordinator that knows all the workers and has done nothing."""
        self.members += [self._member("client", lambda i=i: self._client(i)) for i in range(CLIENTS)]

    def _member(self, kind: str, start: Callable[[], Role | Asking | Redis]) -> Member:
        return Member(kind, start, start())

    def _redis(self) -> Redis:
        self.redis.start()
        return self.redis

    def _coordinator(self, i: int) -> Role:
        role, _ = self.farm.coordinator(
            *("--cache-dir", str(self.farm.directory / f"cache-{i}"), "--job-attempts", str(ATTEMPTS)),
            *("--redis", f"redis://{self.redis.address}"),
            port=self.ports[i],
        )
        return role

    def _worker(self, i: int) -> Role:
        return self.farm.start(
            *("worker", "--coordinators", ",".join(self.endpoints), "--python", self.farm.python),
            *("--name", f"w{i}", "--slots", str(SLOTS), "--metrics", "127.0.0.1:0"),
        )

    def _client(self, i: int) -> Asking:
        first = i * (GRAPHS_EACH - SHARED)
        return Asking(self.farm, self.endpoints, first, GRAPHS_EACH, self.heard)

    def of_kind(self, kind: str) -> list[Member]:
        return [m for m in self.members if m.kind == kind]

    def strike(self) -> None:
        """One death; none if whoever it was to hit is gone already."""
        kind = self.random.choice(list(self.faults))
        if kind == "engine":
            if not self._kill_engine():
                return
        else:
            victims = [m for m in self.of_kind(kind) if kind != "client" or not self._settled(m)]
            if not victims:
                return
            self.random.choice(victims).kill()
        self.faults[kind] += 1

    def _kill_engine(self) -> bool:
        """False if none runs, or the chosen one left by itself, as one does whose worker was just killed."""
        engines = engines_of(self.farm)
        return bool(engines) and signalled(self.random.choice(engines))

    @staticmethod
    def _settled(client: Member) -> bool:
        assert isinstance(client.runs, Asking)
        return client.runs.settled

    def strike_all(self) -> None:
        """All but the clients, at once."""
        farm = [m for m in self.members if m.kind != "client"]
        for member in farm:
            member.runs.kill()
        for member in farm:
            member.runs = member.start()

    def listen(self) -> None:
        """To the next stage that arrives, whosesoever."""
        self.arrived.add(next_line(self.heard))

    def all_settled(self) -> bool:
        return all(self._settled(m) for m in self.of_kind("client"))


@contextmanager
def storm_in(directory: Path) -> Iterator[Storm]:
    (directory / "redis").mkdir()
    with redis_in(directory / "redis") as redis, echo_farm_in(directory, GPU_PLATFORM) as farm:
        storm = Storm(farm, redis)
        try:
            yield storm
        finally:
            for client in storm.of_kind("client"):
                client.runs.kill()


def engines_of(farm: Farm) -> list[int]:
    return sorted(pid for pid, command in farm.processes().items() if "echo_engine" in command)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def check_nothing_is_left(storm: Storm) -> None:
    """Jobs, slots, GPUs, engines and open files of a farm that has nothing to do."""
    farm = storm.farm
    for endpoint in storm.endpoints:

        def at_rest(endpoint: str = endpoint) -> bool:
            status = farm.ask("status", endpoint)
            fields = ("state", "busy", "slots", "gpus_busy", "gpus")
            workers = [tuple(w[field] for field in fields) for w in status["workers"]]
            return workers == [("idle", 0, SLOTS, 0, 1)] * WORKERS and set(status["jobs"].values()) == {0}

        until("no job is left, and every slot and GPU is free", at_rest)
        assert farm.ask("status", endpoint)["graph_bytes"] == 0
        check_every_attempt_ended_once(farm, endpoint)
    until("every slot has one engine", lambda: len(engines_of(farm)) == WORKERS * SLOTS)
    allowed = storm.descriptors_at_first + REDIS_CONNECTIONS
    for pid in [m.runs.process.pid for m in storm.of_kind("coordinator")]:
        until(f"no more than {allowed} open files", lambda pid=pid: descriptors(pid) <= allowed)


def check_every_attempt_ended_once(farm: Farm, endpoint: str) -> None:
    names = ("started", "adopted", "finished", "retried", "failed", "failed.cancelled")
    counts = dict(zip(names, farm.counts(endpoint, *(f"jobs_{n}" for n in names)), strict=True))
    ended = counts["finished"] + counts["retried"] + counts["failed"]
    assert counts["started"] + counts["adopted"] == ended, counts
    # An attempt that dies after the last who waited for it has died is not repeated.
    assert counts["failed"] == counts["failed.cancelled"], counts


def calm_down(storm: Storm) -> None:
    """Every client gets all that it asked for and leaves, and nothing of it is left."""
    while not storm.all_settled():
        storm.listen()
    for client in storm.of_kind("client"):
        assert isinstance(client.runs, Asking)
        assert client.runs.leave() == 0
    check_nothing_is_left(storm)


def test_no_graph_is_lost_in_two_hundred_deaths(place: Path) -> None:
    with storm_in(place) as storm:
        while sum(storm.faults.values()) < FAULTS:
            for _ in range(LINES_PER_FAULT):
                storm.listen()
            storm.strike()
        calm_down(storm)
        assert len(storm.arrived) > 500, "so many compiles, at least"
        assert min(storm.faults.values()) > FAULTS // 10, "all kinds were among them"


def test_no_graph_is_lost_when_all_of_the_farm_is_restarted_at_once(place: Path) -> None:
    with storm_in(place) as storm:
        for _ in range(3):
            for _ in range(AT_ONCE * CLIENTS):
                storm.listen()
            storm.strike_all()
        calm_down(storm)
