"""Kernels that one worker compiles for another: who may ask for them, and whose libraries are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Farm, farm_in, until
from curve_peer import CurvePeer
from farm_client import Client, client_of
from keyed_farm import KeyedFarm


@pytest.fixture
def farm(place: Path, artifacts: Path) -> Iterator[Farm]:
    with farm_in(place, artifacts, "kernel_engine.py") as made:
        yield made


@pytest.fixture
def keyed(farm: Farm) -> KeyedFarm:
    return KeyedFarm(farm)


@pytest.fixture
def client(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with client_of(farm, monkeypatch) as made:
        yield made


def until_helpful(keyed: KeyedFarm, endpoint: str) -> None:
    """Both workers' engines can compile kernels."""
    until("they can", lambda: sum(w["can_help"] for w in keyed.ask("status", endpoint)["workers"]) == 2)


def test_a_worker_has_kernels_of_its_own_jobs_alone(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator()
    secret, server = keyed.secret("worker"), keyed.public["server"]
    with CurvePeer(endpoint, secret, server, "worker") as thief:
        thief.say("kernel_wanted", attached=b"source", job="made up", kernel="k0")
        what, told = thief.hear()
    assert (what, told["code"]) == ("kernel_unmade", "not_found")
    name = 'fxfarm_kernels_asked_total{outcome="refused"}'
    assert keyed.metric(coordinator, "coordinator ready", name) == 1


def test_a_kernel_that_no_signer_of_the_workers_list_has_signed_is_not_taken(
    keyed: KeyedFarm, client: Client
) -> None:
    """Though the coordinator takes it: the worker's signature is to stand for what it trusts itself."""
    assert keyed.farm.control is not None
    (keyed.farm.control.directory / "kernels").write_text("1")
    # Engines of workers that are new are for namespaces that share, and no engine is ended for a kernel.
    keyed.extra.append("share *")
    keyed.accept("worker", "stranger")
    keyed.trust("worker", "stranger")
    _, endpoint = keyed.coordinator()
    workers = {}
    for signer in keyed.accepted:
        # Each trusts itself, so that whichever has the job does not trust the other.
        own = keyed.directory / f"{signer}.signers"
        own.write_text(f"signer * {keyed.signers[signer]} {signer}\n")
        own.chmod(0o600)
        workers[signer] = keyed.worker(endpoint, signer=signer, name=signer, signers=str(own))
    until_helpful(keyed, endpoint)
    keyed.client(client, endpoint)
    client.model().until_compiled()
    assert (keyed.farm.control.directory / "answers").read_text() == "k0 untrusted\n"
    name = 'fxfarm_worker_kernels_borrowed_total{outcome="untrusted"}'
    assert sum(keyed.metric(role, "worker ready", name) for role in workers.values()) == 1
    assert keyed.counts(endpoint, "kernels_asked_made", "jobs_finished") == (1, 1)


def test_a_worker_that_signs_and_has_no_list_asks_for_none(keyed: KeyedFarm, client: Client) -> None:
    assert keyed.farm.control is not None
    (keyed.farm.control.directory / "kernels").write_text("1")
    _, endpoint = keyed.coordinator()
    for name in ("w0", "w1"):
        keyed.worker(endpoint, name=name)
    until_helpful(keyed, endpoint)
    keyed.client(client, endpoint)
    client.model().until_compiled()
    assert not (keyed.farm.control.directory / "answers").exists()
