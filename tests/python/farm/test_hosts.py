"""A farm whose roles are on hosts of their own, and cables that are pulled out: nobody is told."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Control, Farm, farm_in, until
from echo_farm import Asking, echo_farm_in, next_line
from hosts import Hosts, hosts_of, needs_hosts
from rank_job import train

pytestmark = needs_hosts

COORDINATOR, FIRST_WORKER, SECOND_WORKER, CLIENT = 1, 2, 3, 4
PORT = 7070


class Site:
    """A coordinator on a host, and what may run on the others."""

    def __init__(self, farm: Farm, hosts: Hosts) -> None:
        self.farm, self.hosts = farm, hosts
        self.endpoint = f"tcp://{hosts.address(COORDINATOR)}:{PORT}"
        self.heard: queue.Queue[str] = queue.Queue()
        self._start(COORDINATOR, "coordinator", "--listen", self.endpoint, "coordinator ready")

    @property
    def control(self) -> Control:
        assert self.farm.control is not None
        return self.farm.control

    def _start(self, host: int, *args: str) -> None:
        *command, ready = args
        role = self.farm.start(
            *command, "--insecure", "--metrics", "127.0.0.1:0", prefix=self.hosts.command(host)
        )
        role.wait_line(ready)

    def worker(self, host: int, *args: str) -> None:
        self._start(
            *(host, "worker", "--coordinators", self.endpoint, "--python", self.farm.python),
            *("--name", f"on-{host}", *args, "worker ready"),
        )

    def client(self, count: int) -> Asking:
        prefix = self.hosts.command(CLIENT)
        return Asking(self.farm, [self.endpoint], 0, count, self.heard, prefix)

    def counts(self, *names: str) -> tuple[int, ...]:
        return self.farm.counts(self.endpoint, *names)


def engine_cache() -> list[str]:
    """A folder that outlives the tests saves the next run the headers."""
    kept = os.environ.get("TEST_ENGINE_CACHE")
    return ["--engine-cache-dir", kept] if kept else []


@pytest.fixture
def site(place: Path) -> Iterator[Site]:
    with hosts_of(4) as hosts, echo_farm_in(place) as farm:
        farm.operator = hosts.command(COORDINATOR)
        # Whatever asks or takes part here is on another host.
        farm.variables["FXFARM_INSECURE"] = "true"
        yield Site(farm, hosts)


def test_a_worker_whose_cable_is_pulled_out_is_replaced_and_comes_back(site: Site) -> None:
    site.control.on("wait")
    site.worker(FIRST_WORKER)
    site.farm.until_workers(site.endpoint)
    client = site.client(1)
    site.control.job()
    site.worker(SECOND_WORKER)
    # Its second stage.
    site.control.job()
    site.hosts.pull_out(FIRST_WORKER)
    site.control.on("compile")
    for _ in range(2):
        site.control.open_gate()
    while not client.settled:
        next_line(site.heard)
    until("the worker counts as gone", lambda: site.counts("workers_lost") == (1,))
    site.hosts.plug_in(FIRST_WORKER)
    site.farm.until_workers(site.endpoint, 2)
    assert client.leave() == 0


def test_a_client_whose_cable_was_pulled_out_gets_what_was_made_meanwhile(site: Site) -> None:
    site.control.on("wait")
    site.worker(FIRST_WORKER)
    site.farm.until_workers(site.endpoint)
    client = site.client(1)
    site.control.job()
    site.hosts.pull_out(CLIENT)
    until("the client counts as gone", lambda: site.counts("clients_now") == (0,))
    site.control.on("compile")
    site.control.open_gate()
    site.farm.until_workers(site.endpoint, 1)
    site.hosts.plug_in(CLIENT)
    while not client.settled:
        next_line(site.heard)
    assert site.counts("jobs_retried", "jobs_failed", "workers_lost") == (0, 0, 0)
    assert client.leave() == 0


def test_ranks_on_hosts_of_their_own_switch_at_the_same_call(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosts_of(3) as hosts, farm_in(place) as farm:
        farm.operator = hosts.command(COORDINATOR)
        farm.variables["FXFARM_INSECURE"] = "true"
        monkeypatch.setenv("FXFARM_INSECURE", "true")
        site = Site(farm, hosts)
        site.worker(COORDINATOR, "--nice", "0", *engine_cache())
        farm.until_workers(site.endpoint)
        told = train(
            *(place, site.endpoint, [{"late": 200}, {}]),
            prefixes=[hosts.command(host) for host in (2, 3)],
            interface="eth0",
        )
        (first,) = {rank["first"] for rank in told}
        assert first > 200
        for rank in told:
            assert (rank["states"], rank["errors"]) == (["loaded"], [""])
            assert rank["stats"]["switches_agreed"] == 1
        assert site.counts("jobs_started", "switches_agreed") == (1, 1)
