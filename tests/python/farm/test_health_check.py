"""What a container engine asks of a container that runs a role: the command of the image itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import DEADLINE_S, until
from echo_farm import echo_farm_in
from keyed_farm import KeyedFarm
from recipes import health_check


@pytest.fixture
def keyed(place: Path) -> Iterator[KeyedFarm]:
    with echo_farm_in(place) as farm:
        yield KeyedFarm(farm)


def is_healthy(target: str, metrics: str) -> bool:
    """Without any key, as in a container that has not been told more than the role."""
    env = {"PATH": os.environ["PATH"], "FXFARM_METRICS": metrics}
    done = subprocess.run(health_check(target), env=env, capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode in (0, 1), "a container engine knows no other"
    return done.returncode == 0


def test_a_coordinator_with_keys_is_healthy_until_it_has_gone(keyed: KeyedFarm) -> None:
    coordinator, _ = keyed.coordinator()
    metrics = coordinator.fact("coordinator ready", "metrics")
    assert is_healthy("coordinator", metrics)
    assert is_healthy("coordinator", metrics.replace("127.0.0.1", "0.0.0.0")), "as images have it"
    assert coordinator.stop() == 0
    assert not is_healthy("coordinator", metrics)


@pytest.mark.parametrize("target", ["worker-cpu", "worker-gpu"])
def test_a_worker_with_keys_is_healthy_when_it_can_work(keyed: KeyedFarm, target: str) -> None:
    _, endpoint = keyed.coordinator()
    stranger = keyed.worker(endpoint, key="stranger", name="stranger")
    assert not is_healthy(target, stranger.fact("worker ready", "metrics"))
    worker = keyed.worker(endpoint)
    metrics = worker.fact("worker ready", "metrics")
    until("the worker is healthy", lambda: is_healthy(target, metrics))
