"""Everything that can die does, again and again, and no graph is lost."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack
from harness import DEADLINE_S, HERE, Farm, farm_in, free_port
from programs import Role

SEED = 20
FAULTS = 200
LINES_PER_FAULT = 4
"""So many stages arrive between two deaths."""
CLIENTS, GRAPHS_EACH, SHARED = 3, 200, 100
"""Of a client's graphs, so many are asked for by its neighbour, too."""
AT_ONCE = 8
COORDINATORS, WORKERS, SLOTS = 2, 3, 2
ATTEMPTS = 100
"""Of one job; a graph must not be given up because of others' deaths."""

PLATFORM = {"torch": "2.13.0", "python": "3.11", "arch": "x86_64", "isa": "x86-64-v3", "device": "cpu"}


class Asking:
    """A client process that asks for a range of graphs, with what it prints."""

    def __init__(self, farm: Farm, endpoints: str, platform: Path, first: int, heard: queue.Queue[str]) -> None:
        self.settled = False
        self._heard = heard
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(HERE / "echo_client.py"), endpoints, str(platform)),
                *(str(first), str(GRAPHS_EACH), str(AT_ONCE)),
            ],
            env=farm.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.split() == ["settled", str(GRAPHS_EACH)]:
                self.settled = True
            self._heard.put(line.strip())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def leave(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_S)


@dataclass
class Member:
    """Something that is killed and started again at once."""

    kind: str
    start: Callable[[], Role | Asking]
    runs: Role | Asking

    def kill(self) -> None:
        self.runs.kill()
        self.runs = self.start()


class Storm:
    """A farm whose parts die at random, in an order that the seed decides."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.random = random.Random(SEED)
        self.heard: queue.Queue[str] = queue.Queue()
        self.platform = farm.directory / "platform"
        self.platform.write_bytes(msgpack.packb(PLATFORM))
        self.python = farm.directory / "python"
        engine = f'exec "{sys.executable}" "{HERE / "echo_engine.py"}" "{self.platform}" "$@"'
        self.python.write_text(f"#!/bin/sh\n{engine}\n")
        self.python.chmod(0o755)
        self.ports = [free_port() for _ in range(COORDINATORS)]
        self.endpoints = [f"tcp://127.0.0.1:{port}" for port in self.ports]
        self.faults = dict.fromkeys(("coordinator", "worker", "engine", "client"), 0)
        self.members = [
            *(self._member("coordinator", lambda i=i: self._coordinator(i)) for i in range(COORDINATORS)),
            *(self._member("worker", lambda i=i: self._worker(i)) for i in range(WORKERS)),
        ]
        for endpoint in self.endpoints:
            farm.until_workers(endpoint, WORKERS)
        self.members += [self._member("client", lambda i=i: self._client(i)) for i in range(CLIENTS)]

    def _member(self, kind: str, start: Callable[[], Role | Asking]) -> Member:
        return Member(kind, start, start())

    def _coordinator(self, i: int) -> Role:
        role, _ = self.farm.coordinator(
            *("--cache-dir", str(self.farm.directory / f"cache-{i}"), "--job-attempts", str(ATTEMPTS)),
            port=self.ports[i],
        )
        return role

    def _worker(self, i: int) -> Role:
        return self.farm.start(
            *("worker", "--coordinators", ",".join(self.endpoints), "--python", str(self.python)),
            *("--name", f"w{i}", "--slots", str(SLOTS), "--metrics", "127.0.0.1:0"),
        )

    def _client(self, i: int) -> Asking:
        return Asking(self.farm, ",".join(self.endpoints), self.platform, i * (GRAPHS_EACH - SHARED), self.heard)

    def of_kind(self, kind: str) -> list[Member]:
        return [m for m in self.members if m.kind == kind]

    def strike(self) -> None:
        """One death."""
        kind = self.random.choice(list(self.faults))
        if kind == "engine":
            engines = sorted(pid for pid, command in self.farm.processes().items() if "echo_engine" in command)
            if not engines:
                return
            os.kill(self.random.choice(engines), signal.SIGKILL)
        else:
            victims = [m for m in self.of_kind(kind) if kind != "client" or not self._settled(m)]
            if not victims:
                return
            self.random.choice(victims).kill()
        self.faults[kind] += 1

    @staticmethod
    def _settled(client: Member) -> bool:
        assert isinstance(client.runs, Asking)
        return client.runs.settled

    def all_settled(self) -> bool:
        return all(self._settled(m) for m in self.of_kind("client"))

    def listen(self) -> str:
        """The next line of any client."""
        line = self.heard.get(timeout=DEADLINE_S)
        assert not line.startswith("wrong"), line
        return line


@contextmanager
def storm_in(directory: Path) -> Iterator[Storm]:
    with farm_in(directory) as farm:
        storm = Storm(farm)
        try:
            yield storm
        finally:
            for client in storm.of_kind("client"):
                client.runs.kill()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def check_nothing_is_left(storm: Storm) -> None:
    """Jobs, slots, engines and open files of a farm that has nothing to do."""
    farm = storm.farm
    for endpoint in storm.endpoints:
        workers = farm.until_workers(endpoint, WORKERS)
        assert [(w["busy"], w["slots"]) for w in workers] == [(0, SLOTS)] * WORKERS
        status = farm.ask("status", endpoint)
        assert set(status["jobs"].values()) == {0}
        assert status["graph_bytes"] == 0
        names = ("started", "adopted", "finished", "retried", "failed", "cancelled")
        counts = dict(zip(names, farm.counts(endpoint, *(f"jobs_{n}" for n in names)), strict=True))
        assert counts["started"] + counts["adopted"] == counts["finished"] + counts["retried"], counts
        assert counts["failed"] == 0
    engines = [command for command in farm.processes().values() if "echo_engine" in command]
    assert len(engines) == WORKERS * SLOTS
    for role in storm.of_kind("coordinator"):
        used = descriptors(role.runs.process.pid)
        role.kill()
        for endpoint in storm.endpoints:
            farm.until_workers(endpoint, WORKERS)
        assert used <= descriptors(role.runs.process.pid)


def test_no_graph_is_lost_in_two_hundred_deaths(place: Path) -> None:
    with storm_in(place) as storm:
        while sum(storm.faults.values()) < FAULTS:
            for _ in range(LINES_PER_FAULT):
                storm.listen()
            storm.strike()
        while not storm.all_settled():
            storm.listen()
        for client in storm.of_kind("client"):
            assert isinstance(client.runs, Asking)
            assert client.runs.leave() == 0
        check_nothing_is_left(storm)
        assert min(storm.faults.values()) > FAULTS // 10, "all kinds were among them"
