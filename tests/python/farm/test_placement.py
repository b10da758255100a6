"""A job goes only where it can be compiled: to a worker whose CPU has the level that the client wants."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from cluster import Control, Farm
from farm_client import Client

from fxfarm._torch import platform

OLD = "x86-64-v1"

pytestmark = pytest.mark.skipif(
    platform.isa_rank(platform.cpu_isa()) < 2, reason="no level is below that of this CPU"
)


@pytest.fixture
def old_engine(farm: Farm, artifacts: Path) -> Iterator[str]:
    """The interpreter of engines whose CPU is of the lowest level."""
    made = farm.directory / "old"
    shutil.copytree(artifacts, made)
    described = msgpack.unpackb((made / "platform").read_bytes())
    (made / "platform").write_bytes(msgpack.packb({**described, "isa": OLD}))
    control = Control(farm.directory / "old-control", made)
    yield str(control.python)
    control.close()


def old_worker(farm: Farm, endpoint: str, engine: str) -> None:
    farm.start(
        *("worker", "--coordinators", endpoint, "--python", engine, "--name", "old", "--slots", "4"),
        *("--metrics", "127.0.0.1:0"),
    ).wait_line("worker ready")


def test_the_worker_with_an_older_cpu_is_passed_over(farm: Farm, client: Client, old_engine: str) -> None:
    _, endpoint = farm.coordinator()
    old_worker(farm, endpoint, old_engine)
    farm.worker(endpoint, name="new").wait_line("worker ready")
    farm.until_workers(endpoint, 2)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    model.until_compiled()
    assert model.stage.source.startswith("new-")

    client.leave()
    client.set(FXFARM_ISA=OLD)
    model = client.model()
    model.until_compiled()
    assert model.stage.source.startswith("old-"), "it has more free slots, and can do that"
    assert farm.counts(endpoint, "jobs_started") == (2,)


def test_where_only_older_cpus_are_the_client_is_told_what_is_missing(
    farm: Farm, client: Client, old_engine: str
) -> None:
    _, endpoint = farm.coordinator()
    old_worker(farm, endpoint, old_engine)
    farm.until_workers(endpoint, 1)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    stage = client.model().until_state("failed")
    wanted = platform.cpu_isa()
    assert stage.error == f"no_worker: CPU level {wanted} wanted, the worker has {OLD}"
    assert farm.counts(endpoint, "jobs_started") == (0,)
