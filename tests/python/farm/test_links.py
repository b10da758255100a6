"""Links that break, fall silent or crawl, and workers that hang: who notices, and what it costs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from cluster import Control, Farm, until
from farm_client import Client
from farm_models import PREPARED
from faulty_link import FaultyLink, faulty_link

JOBS = ("jobs_started", "jobs_adopted", "jobs_retried", "jobs_finished", "jobs_failed")


class Place:
    """A coordinator, with a faulty link to it."""

    def __init__(self, farm: Farm, endpoint: str, link: FaultyLink) -> None:
        assert farm.control is not None
        self.farm, self.endpoint, self.link = farm, endpoint, link
        self.control: Control = farm.control

    def counts(self, *names: str) -> tuple[int, ...]:
        return self.farm.counts(self.endpoint, *names)


@pytest.fixture
def place_with_link(farm: Farm) -> Iterator[Place]:
    _, endpoint = farm.coordinator()
    with faulty_link(endpoint) as link:
        yield Place(farm, endpoint, link)


def test_a_client_whose_link_is_cut_asks_again(place_with_link: Place, client: Client) -> None:
    place = place_with_link
    place.control.on("wait")
    place.farm.worker(place.endpoint)
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.link.endpoint, FXFARM_LOCAL="false")
    model = client.model()
    place.control.job()
    place.link.cut()
    until("the client is back", lambda: place.counts("lookups") == (2,))
    model()
    place.control.open_gate()
    model.until_compiled()
    assert place.counts(*JOBS) == (1, 0, 0, 1, 0)


def test_a_worker_whose_link_is_cut_brings_its_job_back(place_with_link: Place, client: Client) -> None:
    place = place_with_link
    place.control.on("wait")
    place.farm.worker(place.link.endpoint)
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.endpoint, FXFARM_LOCAL="false")
    model = client.model()
    place.control.job()
    place.link.cut()
    until("its job is adopted", lambda: place.counts("jobs_adopted") == (1,))
    place.control.open_gate()
    model.until_compiled()
    assert place.control.jobs_begun() == 0
    assert place.counts(*JOBS, "workers_lost") == (1, 1, 1, 1, 0, 1)


def test_a_result_that_was_cut_off_is_made_again(place_with_link: Place, client: Client) -> None:
    place = place_with_link
    place.farm.worker(place.link.endpoint)
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.endpoint, FXFARM_LOCAL="false")
    # The last of these has a large artifact.
    place.control.on("wait")
    model = client.model(PREPARED[-1])
    place.control.job()
    place.link.slow(bytes_per_second=1 << 20)
    place.control.on("compile")
    place.control.open_gate()
    until("some of it has arrived", lambda: place.counts("link_chunk_bytes_received")[0] > 1 << 20)
    place.link.slow()
    place.link.cut()
    model.until_compiled()
    assert place.counts(*JOBS, "workers_lost") == (2, 0, 1, 1, 0, 1)


def test_a_worker_that_is_not_heard_any_more_is_replaced(place_with_link: Place, client: Client) -> None:
    place = place_with_link
    place.control.on("wait")
    place.farm.worker(place.link.endpoint, name="mute")
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.endpoint, FXFARM_LOCAL="false")
    model = client.model()
    place.control.job()
    place.farm.worker(place.endpoint, name="heard")
    place.farm.until_workers(place.endpoint)
    place.link.silence("up")
    place.control.job()
    place.control.on("compile")
    for _ in range(2):
        place.control.open_gate()
    model.until_compiled()
    assert model.stage.source.startswith("heard-")
    assert place.counts("jobs_started", "jobs_retried", "jobs_finished", "workers_lost") == (2, 1, 1, 1)
    place.link.silence()


def test_a_worker_that_hangs_and_wakes_up_late_has_lost_its_job(
    place_with_link: Place, client: Client
) -> None:
    place = place_with_link
    place.control.on("wait")
    sleeper = place.farm.worker(place.endpoint, name="sleeper")
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.endpoint, FXFARM_LOCAL="false")
    model = client.model()
    place.control.job()
    place.farm.worker(place.endpoint, name="awake")
    place.farm.until_workers(place.endpoint)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        place.control.job()
        place.control.on("compile")
        for _ in range(2):
            place.control.open_gate()
        model.until_compiled()
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    assert model.stage.source.startswith("awake-")
    place.farm.until_workers(place.endpoint, 2)
    assert place.counts(*JOBS, "workers_lost") == (2, 0, 1, 1, 0, 1), "nor is it taken over: it has been made"


def test_a_slow_link_is_no_broken_one(place_with_link: Place, client: Client) -> None:
    place = place_with_link
    place.link.slow(delay_s=0.001, bytes_per_second=8 << 20)
    place.farm.worker(place.link.endpoint)
    place.farm.until_workers(place.endpoint)
    client.set(FXFARM_ENDPOINTS=place.link.endpoint, FXFARM_LOCAL="false")
    model = client.model(PREPARED[-1])
    model.until_compiled()
    assert place.counts(*JOBS, "workers_lost") == (1, 0, 0, 1, 0, 0)
    assert place.link.connections == 2, "nobody had to connect again"
