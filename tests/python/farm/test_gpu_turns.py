"""A worker with a GPU and several slots is given one job that measures at a time, and others beside it."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Farm
from echo_farm import GPU_PLATFORM, Asking, echo_farm_in, next_line
from programs import until

SLOTS = 3


@pytest.fixture
def gpu_farm(place: Path) -> Iterator[Farm]:
    with echo_farm_in(place, GPU_PLATFORM) as farm:
        assert farm.control is not None
        farm.control.on("wait", "max-autotune")
        yield farm


def until_shown(farm: Farm, endpoint: str, busy: int, gpus_busy: int, queued: int) -> None:
    """Waits until its one worker has so many jobs, and so many wait for one."""

    def shown() -> bool:
        status = farm.ask("status", endpoint)
        (worker,) = status["workers"]
        found = (worker["busy"], worker["gpus_busy"], status["jobs"]["queued"])
        return found == (busy, gpus_busy, queued)

    until(f"{busy} jobs run, {gpus_busy} of them measure, and {queued} wait", shown)


def test_jobs_that_measure_take_turns_in_the_queue_and_not_in_slots(gpu_farm: Farm) -> None:
    assert gpu_farm.control is not None
    _, endpoint = gpu_farm.coordinator()
    gpu_farm.worker(endpoint, slots=SLOTS)
    gpu_farm.until_workers(endpoint)
    heard: queue.Queue[str] = queue.Queue()
    clients = [Asking(gpu_farm, [endpoint], 0, 2, heard)]
    try:
        assert {next_line(heard) for _ in range(2)} == {"loaded 0 default", "loaded 1 default"}
        gpu_farm.control.job()
        until_shown(gpu_farm, endpoint, busy=1, gpus_busy=1, queued=1)
        assert gpu_farm.control.jobs_begun() == 0, "there are slots, and no GPU"

        clients.append(Asking(gpu_farm, [endpoint], 2, 1, heard))
        assert next_line(heard) == "loaded 2 default", "whoever needs none is not held up"
        until_shown(gpu_farm, endpoint, busy=1, gpus_busy=1, queued=2)

        measured = set()
        for left in (1, 0):
            gpu_farm.control.open_gate()
            measured.add(next_line(heard))
            gpu_farm.control.job()
            until_shown(gpu_farm, endpoint, busy=1, gpus_busy=1, queued=left)
        gpu_farm.control.open_gate()
        settled = {next_line(heard) for _ in range(3)}
        measured |= settled
        assert {f"loaded {n} max-autotune" for n in range(3)} < measured
        until_shown(gpu_farm, endpoint, busy=0, gpus_busy=0, queued=0)
        assert [client.leave() for client in clients] == [0, 0]
    finally:
        for client in clients:
            client.kill()
