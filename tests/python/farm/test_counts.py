"""What a request costs the farm in messages, bytes and jobs, by kind of request. Exact numbers: one message
more for each is a change of the protocol, or a mistake.
"""

from __future__ import annotations

import json
import queue
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster import Farm, until
from counting_link import CountingLink, Passed, counting_link
from echo_client import STAGES, graph_bytes, graph_key
from echo_engine import echo
from echo_farm import PLATFORM, Asking, echo_farm_in

from fxfarm import _core

WAIT_MS = 60_000
CLIENTS = 8
GREETING = {"up hello": 1, "down welcome": 1}
JOBS = ("jobs_queued", "jobs_started", "jobs_finished", "jobs_retried", "jobs_failed")
SERVED = ("lookups", "joined", "graph_bytes_count", "stages_served_job", "stages_served_memory")


class Site:
    """A coordinator and a worker of one slot, each link of which is counted: the worker's, then clients'."""

    def __init__(self, farm: Farm, endpoint: str, link: CountingLink) -> None:
        self.farm, self.endpoint, self.link = farm, endpoint, link
        farm.worker(link.endpoint)
        farm.until_workers(endpoint)
        (self.worker,) = link.connections
        self.worker.take()
        self._switches = 0

    def counts(self, *names: str) -> tuple[int, ...]:
        return self.farm.counts(self.endpoint, *names)

    def until_switched(self, more: int) -> None:
        """Waits until clients have told of so many more stages, which ends a request."""
        self._switches += more
        name = "request_to_switch_seconds_count"
        until(f"{self._switches} switches are told", lambda: self.counts(name) == (self._switches,))


class Asker:
    """A client in this process, which may have one at a time, and what has passed over its link: the next
    that comes.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._before = len(site.link.connections)
        self._client = _core.Client(endpoints=[site.link.endpoint])

    @property
    def passed(self) -> Passed:
        return self._site.link.connections[self._before]

    def ask(self, number: int, stages: tuple[str, ...]) -> None:
        wanted: Any = [{"name": name, "options": {"stage": json.dumps(name)}} for name in stages]
        platform: Any = PLATFORM
        self._client.submit(graph_key(number), f"g{number}", graph_bytes(number), wanted, platform)

    def take(self, number: int, stages: tuple[str, ...]) -> None:
        """The artifacts, in order."""
        for stage in stages:
            task = self._client.next_task(WAIT_MS)
            assert task is not None
            assert bytes(task.artifact) == echo(graph_bytes(number), stage)
            task.done()

    def request(self, number: int, stages: tuple[str, ...]) -> None:
        self.ask(number, stages)
        self.take(number, stages)
        self._site.until_switched(len(stages))

    def stop(self) -> None:
        self._client.stop()


@contextmanager
def asker(site: Site) -> Iterator[Asker]:
    made = Asker(site)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def site(place: Path) -> Iterator[Site]:
    with echo_farm_in(place) as farm:
        _, endpoint = farm.coordinator()
        with counting_link(endpoint) as link:
            yield Site(farm, endpoint, link)


@pytest.mark.parametrize("stages", [STAGES[:1], STAGES], ids=["one-stage", "two-stages"])
def test_a_graph_that_nobody_knows(site: Site, stages: tuple[str, ...]) -> None:
    n = len(stages)
    with asker(site) as client:
        client.request(0, stages)
        assert client.passed.take() == GREETING | {
            **{"up lookup": 1, "down need_graph": 1, "up submit": 1},
            # Each is queued, then running.
            **{"down stage_progress": 2 * n, "down stage_ready": n, "up switched": n},
        }
        assert site.worker.take() == {"down job": n, "up job_done": n}
        assert site.counts(*JOBS) == (n, n, n, 0, 0)
        assert site.counts(*SERVED) == (1, 0, 1, n, 0)
        # The next one finds the link there.
        client.request(1, stages)
        assert sum(client.passed.take().values()) == 3 + 4 * n
        assert site.worker.take() == {"down job": n, "up job_done": n}


def test_a_graph_that_is_known(site: Site) -> None:
    with asker(site) as first:
        first.request(0, STAGES)
    site.worker.take()
    with asker(site) as client:
        client.request(0, STAGES)
        assert client.passed.take() == GREETING | {
            "up lookup": 1,
            "down stage_ready": len(STAGES),
            "up switched": len(STAGES),
        }
        assert site.worker.take() == {}
        assert site.counts("jobs_queued", "stages_served_memory") == (len(STAGES), len(STAGES))


def test_a_graph_that_many_ask_for_while_it_is_compiled(site: Site) -> None:
    control = site.farm.control
    assert control is not None
    control.on("wait")
    clients: list[Asking] = []
    try:
        while len(clients) < CLIENTS:
            clients.append(Asking(site.farm, [site.link.endpoint], 0, 1, queue.Queue()))
            if len(clients) == 1:
                control.job()
            until("it is heard", lambda: site.counts("lookups") == (len(clients),))
        control.open_gate()
        control.job()
        control.open_gate()
        until("all are served", lambda: all(client.settled for client in clients))
        site.until_switched(CLIENTS * len(STAGES))
        each = [passed.take() for passed in site.link.connections[1:]]
    finally:
        for client in clients:
            client.kill()
    answers = {"up lookup": 1, "down stage_ready": len(STAGES), "up switched": len(STAGES)}
    graph = {"down need_graph": 1, "up submit": 1}
    # Whoever comes later finds the first stage running and the second queued, and hears of that one's start.
    assert each[0] == GREETING | answers | graph | {"down stage_progress": 4}
    assert each[1:] == [GREETING | answers | {"down stage_progress": 3}] * (CLIENTS - 1)
    assert site.worker.take() == {"down job": len(STAGES), "up job_done": len(STAGES)}
    assert site.counts(*JOBS) == (len(STAGES), len(STAGES), len(STAGES), 0, 0)
    joined = (CLIENTS - 1) * len(STAGES)
    assert site.counts(*SERVED) == (CLIENTS, joined, 1, CLIENTS * len(STAGES), 0)


def test_the_bytes_of_a_request(site: Site) -> None:
    """Bounds and not numbers: numbers of processes are in them. A compile and a cached lookup together."""
    sent: Counter[str] = Counter()
    for _ in ("compiled", "known"):
        with asker(site) as client:
            client.request(0, STAGES)
            sent += client.passed.bytes
    sent += site.worker.bytes
    bounds = {
        **{"up lookup": 760, "up submit": 215, "up switched": 1290},
        **{"down need_graph": 110, "down stage_progress": 900, "down stage_ready": 1700},
        **{"down job": 1230, "up job_done": 650},
    }
    assert {tag: (size, bounds[tag]) for tag, size in sent.items() if size > bounds.get(tag, size)} == {}
    assert sent.keys() >= bounds.keys()
