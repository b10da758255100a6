"""Kernels of a job are compiled in idle slots of the farm, and whatever becomes of them, the job goes on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from cluster import Farm, farm_in, until
from farm_client import Client, client_of
from programs import Role

import fxfarm

ASKED = tuple(f"kernels_asked_{o}" for o in ("made", "failed", "none_idle", "refused", "late"))
JOBS = ("jobs_started", "jobs_retried", "jobs_finished", "jobs_failed")


@pytest.fixture
def farm(place: Path, artifacts: Path) -> Iterator[Farm]:
    with farm_in(place, artifacts, "kernel_engine.py") as made:
        yield made


@pytest.fixture
def client(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with client_of(farm, monkeypatch) as made:
        yield made


def answers(farm: Farm) -> list[str]:
    assert farm.control is not None
    return sorted((farm.control.directory / "answers").read_text().splitlines())


def until_warm(farm: Farm, worker: Role, slots: int) -> None:
    """Waits until so many engines of the worker take jobs and kernels."""

    def idle() -> bool:
        return metric(farm, worker, 'fxfarm_worker_engines{state="idle"}') == slots

    until("its engines are warm", idle, 300)


def metric(farm: Farm, worker: Role, name: str) -> float:
    page = farm.scrape(worker.fact("worker ready", "metrics"))
    return float(page.partition(f"\n{name} ")[2].split("\n")[0])


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.partition("\nPPid:")[2].split()[0])
        found.append(pid)
    return found


def farm_of(farm: Farm, client: Client, kernels: int, *options: str, workers: int = 2, slots: int = 2) -> str:
    """A coordinator with so many workers of so many slots each; each job asks for so many kernels."""
    assert farm.control is not None
    (farm.control.directory / "kernels").write_text(str(kernels))
    _, endpoint = farm.coordinator(*options)
    for number in range(workers):
        until_warm(farm, farm.worker(endpoint, slots=slots, name=f"w{number}"), slots)
    # The coordinator has heard so, too.
    until(
        "they can help",
        lambda: sum(w["can_help"] for w in farm.ask("status", endpoint)["workers"]) == workers,
    )
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    return endpoint


def test_idle_slots_of_all_workers_compile_them(farm: Farm, client: Client) -> None:
    endpoint = farm_of(farm, client, 3)
    client.model().until_compiled()
    assert answers(farm) == [f"k{i} library SOURCE OF K{i}" for i in range(3)]
    assert farm.counts(endpoint, *ASKED) == (3, 0, 0, 0, 0)
    assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0), "a kernel is no job"
    assert [g["name"] for g in farm.ask("graphs", endpoint)["graphs"]] == ["Wave 0/0"]


def test_those_that_find_no_slot_are_refused_at_once(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    farm.control.on("wait", "kernel")
    endpoint = farm_of(farm, client, 5)
    model = client.model()
    for _ in range(3):
        farm.control.job()
    until("two have found none", lambda: farm.counts(endpoint, *ASKED) == (0, 0, 2, 0, 0))
    for _ in range(3):
        farm.control.open_gate()
    model.until_compiled()
    assert sum(line.endswith(" busy") for line in answers(farm)) == 2
    assert farm.counts(endpoint, *ASKED) == (3, 0, 2, 0, 0)


def test_a_farm_that_wants_none_has_none(farm: Farm, client: Client) -> None:
    endpoint = farm_of(farm, client, 3, "--kernels-per-job", "0")
    client.model().until_compiled()
    assert farm.counts(endpoint, *ASKED) == (0, 0, 0, 0, 0)


def test_a_farm_of_one_slot_is_asked_for_none(farm: Farm, client: Client) -> None:
    endpoint = farm_of(farm, client, 3, workers=1, slots=1)
    client.model().until_compiled()
    assert farm.counts(endpoint, *ASKED) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize(("what", "code"), [("die", "engine_crashed"), ("fail", "compile_failed")])
def test_one_that_fails_is_told_and_costs_its_job_no_attempt(
    farm: Farm, client: Client, what: str, code: str
) -> None:
    assert farm.control is not None
    farm.control.on(what, "kernel")
    endpoint = farm_of(farm, client, 1)
    model = client.model()
    farm.control.job()
    model.until_compiled()
    assert answers(farm) == [f"k0 {code}"]
    assert farm.counts(endpoint, *ASKED) == (0, 1, 0, 0, 0)
    assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0)


def test_a_worker_that_is_killed_with_one_is_told_of(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    farm.control.on("wait", "kernel")
    # The job's own slot is the only one of its worker.
    endpoint = farm_of(farm, client, 1, slots=1)
    model = client.model()
    engine, _ = farm.control.job()
    model.until_state("running")
    (helper,) = (role for role in farm.roles if role.pid in ancestors(engine))
    helper.kill()
    model.until_compiled()
    assert answers(farm) == ["k0 unreachable"]
    assert farm.counts(endpoint, *ASKED) == (0, 1, 0, 0, 0)
    assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0)


def test_a_real_graph_is_compiled_by_two_engines(
    real_farm: tuple[Farm, str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (32, 48, 64, 80, 96, 112)
    parts = [
        torch.nn.Sequential(torch.nn.Linear(a, b), torch.nn.GELU(), torch.nn.LayerNorm(b))
        for a, b in pairwise(sizes)
    ]
    model, given = torch.nn.Sequential(*parts).eval(), torch.randn(4, sizes[0])
    with farm_in(place) as farm, client_of(farm, monkeypatch) as client:
        _, endpoint = farm.coordinator()
        farm.variables["FXFARM_COMPILE_THREADS"] = "1"
        # The headers are there that the engine of other tests has made; kernels are each engine's own.
        farm.variables["FXFARM_ENGINE_CACHE_DIR"] = str(real_farm[0].directory / "cache/fxfarm/engines")
        worker = farm.worker(endpoint, slots=2)
        client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
        until_warm(farm, worker, 2)
        with torch.no_grad():
            compiled = torch.compile(model, backend="fxfarm")
            compiled(given)
            assert fxfarm.wait(timeout=300), fxfarm.graphs()
            torch.testing.assert_close(compiled(given), model(given))
        assert fxfarm.stats()["compiled_runs"] == 1
        asked = dict(zip(ASKED, farm.counts(endpoint, *ASKED), strict=True))
        assert asked["kernels_asked_made"] >= 1
        assert asked["kernels_asked_failed"] == asked["kernels_asked_refused"] == 0
        made = metric(farm, worker, 'fxfarm_worker_kernels_borrowed_total{outcome="made"}')
        assert 1 <= made <= asked["kernels_asked_made"], "the job may have ended before the last has come"
        assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0)
