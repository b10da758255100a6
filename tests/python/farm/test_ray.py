"""Workers as actors of a Ray cluster: a real one, of this host alone."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
from cluster import DEADLINE_S, Farm, free_port, until
from farm_client import Client

ray = pytest.importorskip("ray", reason="ray is not installed")

from fxfarm import ray as farm_on_ray  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def started(farm: Farm, endpoint: str, count: int = 1, **options: str) -> list[object]:
    return farm_on_ray.start(
        endpoint,
        count=count,
        options={"python": farm.python, **options},
        ray_options={"runtime_env": {"env_vars": farm.variables}},
    )


def test_actors_compile_for_a_coordinator_and_drain(farm: Farm, client: Client, cluster: None) -> None:
    _, endpoint = farm.coordinator()
    workers = started(farm, endpoint, count=2)
    farm.until_workers(endpoint, count=2)
    metrics = [ray.get(w.check.remote()) for w in workers]
    assert len(set(metrics)) == 2
    with urllib.request.urlopen(f"http://{metrics[0]}/readyz", timeout=DEADLINE_S) as answer:
        assert answer.status == 200
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    client.model().until_compiled()
    assert farm.counts(endpoint, "jobs_finished") == (1,)
    assert farm_on_ray.stop(workers) == [0, 0]
    until("the workers have left", lambda: farm.ask("status", endpoint)["workers"] == [])


def test_a_worker_ends_with_its_actor(farm: Farm, cluster: None) -> None:
    _, endpoint = farm.coordinator()
    (worker,) = started(farm, endpoint)
    farm.until_workers(endpoint)
    ray.kill(worker)
    until("the worker has left", lambda: farm.ask("status", endpoint)["workers"] == [])
    # Ray has killed it, so that it could not tidy up; the next one of this user does.
    farm.worker(endpoint)
    farm.until_workers(endpoint)


def test_a_worker_that_cannot_run_is_told_with_its_own_words(farm: Farm, cluster: None) -> None:
    with pytest.raises(ray.exceptions.RayActorError, match="--insecure"):
        started(farm, f"tcp://farm.example:{free_port()}")
    with pytest.raises(ray.exceptions.RayActorError, match="unknown variable FXFARM_SLOT"):
        started(farm, f"tcp://127.0.0.1:{free_port()}", slot="2")
