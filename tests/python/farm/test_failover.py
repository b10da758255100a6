"""One farm with several coordinators: which one serves a graph, and what happens when it is gone."""

from __future__ import annotations

from cluster import Farm
from farm_client import Client
from programs import Role

JOBS = ("jobs_started", "jobs_adopted", "jobs_finished", "jobs_failed")


def two_coordinators(farm: Farm) -> dict[str, Role]:
    """By endpoint, with one worker for both."""
    roles = {}
    for name in ("a", "b"):
        role, endpoint = farm.coordinator("--cache-dir", str(farm.directory / f"cache-{name}"))
        roles[endpoint] = role
    farm.worker(*roles)
    for endpoint in roles:
        farm.until_workers(endpoint)
    return roles


def other_than(endpoint: str, roles: dict[str, Role]) -> str:
    (other,) = (e for e in roles if e != endpoint)
    return other


def test_a_compile_goes_on_under_the_next_coordinator(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    roles = two_coordinators(farm)
    client.set(FXFARM_ENDPOINTS=",".join(roles), FXFARM_LOCAL="false")
    model = client.model()
    farm.control.job()
    model.until_state("running")
    home = model.status.farm
    roles[home].kill()
    other = other_than(home, roles)
    farm.until_workers(other, 1, "busy")
    model()
    assert model.status.stage == "eager"
    farm.control.open_gate()
    model.until_compiled()
    assert model.status.farm == other
    assert farm.control.jobs_begun() == 0, "the one compile was enough"
    assert farm.counts(other, *JOBS) == (0, 1, 1, 0)


def test_a_coordinator_that_is_back_gets_its_graphs_again(farm: Farm, client: Client) -> None:
    roles = two_coordinators(farm)
    client.set(FXFARM_ENDPOINTS=",".join(roles), FXFARM_LOCAL="false")
    model = client.model()
    model.until_compiled()
    home = model.status.farm
    port = int(home.rsplit(":", 1)[1])
    cache = farm.directory / ("cache-a" if home == next(iter(roles)) else "cache-b")
    roles[home].kill()

    client.leave()
    away = client.model()
    away.until_compiled()
    assert away.status.farm == other_than(home, roles)
    assert farm.counts(away.status.farm, *JOBS) == (1, 0, 1, 0), "it shares nothing with the one that died"

    farm.coordinator("--cache-dir", str(cache), port=port)
    farm.until_workers(home)
    client.leave()
    back = client.model()
    back.until_compiled()
    assert back.status.farm == home
    assert back.stage.source == "disk"


def test_coordinators_are_found_by_name(farm: Farm, client: Client) -> None:
    _, endpoint = farm.coordinator()
    named = f"dns+tcp://localhost:{endpoint.rsplit(':', 1)[1]}"
    farm.worker(named)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=named, FXFARM_LOCAL="false")
    model = client.model()
    model.until_compiled()
    assert model.status.farm == endpoint


def test_a_name_without_an_address_leaves_the_local_farm(farm: Farm, client: Client) -> None:
    client.set(FXFARM_ENDPOINTS="dns+tcp://no-such-host.invalid:7070", FXFARM_INSECURE="true")
    model = client.model()
    model.until_compiled()
    assert model.status.farm == farm.own_socket()
