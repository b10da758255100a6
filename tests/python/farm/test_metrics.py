"""What Prometheus sees of every role, and what a reset of the statistics changes."""

from __future__ import annotations

import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cluster import DEADLINE_S, HERE, Farm, free_port, until
from farm_client import Client
from keyed_farm import KeyedFarm
from redis_servers import redis_in

LINK = {"fxfarm_link_messages_total", "fxfarm_link_bytes_total", "fxfarm_link_chunk_bytes_total"}
ALWAYS = {
    "fxfarm_build_info",
    "fxfarm_stats_resets_total",
    "fxfarm_stats_last_reset_timestamp_seconds",
} | LINK
COORDINATOR = ALWAYS | {
    *("fxfarm_lookups_total", "fxfarm_lookups_joined_total", "fxfarm_stages_served_total"),
    *("fxfarm_store_queries_total", "fxfarm_store_hits_total", "fxfarm_store_bytes"),
    *("fxfarm_job_queue_seconds", "fxfarm_compile_seconds", "fxfarm_compile_phase_seconds"),
    *("fxfarm_artifact_bytes", "fxfarm_graph_bytes", "fxfarm_jobs", "fxfarm_workers"),
    *("fxfarm_jobs_started_total", "fxfarm_jobs_retried_total", "fxfarm_jobs_failed_total"),
    *("fxfarm_request_to_switch_seconds", "fxfarm_load_seconds", "fxfarm_load_failures_total"),
}
WORKER = ALWAYS | {
    *("fxfarm_worker_engines", "fxfarm_worker_jobs", "fxfarm_worker_engine_restarts_total"),
    *("fxfarm_worker_jobs_done_total", "fxfarm_worker_jobs_failed_total", "fxfarm_worker_phase_seconds"),
}


def families(page: str) -> set[str]:
    return {line.split(" ")[2] for line in page.splitlines() if line.startswith("# TYPE ")}


def declared() -> set[str]:
    """Every family there is; scripts/check holds the page against the code."""
    page = (HERE.parents[2] / "docs/reference/metrics.md").read_text()
    return set(re.findall(r"^\| `(fxfarm_\w+)` ", page, flags=re.MULTILINE))


def emitted(page: str) -> set[str]:
    """The families that have a sample: one that was declared and has none shows nothing."""
    names = set(re.findall(r"^(fxfarm_\w+)[{ ]", page, flags=re.MULTILINE))
    return {re.sub(r"_(bucket|sum|count)$", "", n) if n not in families(page) else n for n in names}


def ready(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def sample(page: str, series: str) -> float:
    (line,) = [line for line in page.splitlines() if line.startswith(series + " ")]
    return float(line.rsplit(" ", 1)[1])


def compiled_once(farm: Farm, client: Client, endpoint: str) -> None:
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    client.model().until_compiled()
    until("the switch is reported", lambda: farm.stats(endpoint).get("request_to_switch_seconds_count") == 1)


@pytest.mark.parametrize("role", ["coordinator", "worker", "local"])
def test_each_role_shows_its_families(farm: Farm, client: Client, role: str) -> None:
    if role == "local":
        process, endpoint = farm.local()
        wanted, address = COORDINATOR | WORKER, process.fact("local farm ready", "metrics")
    else:
        process, endpoint = farm.coordinator()
        wanted, address = COORDINATOR, process.fact("coordinator ready", "metrics")
        worker = farm.worker(endpoint)
        if role == "worker":
            wanted, address = WORKER, worker.fact("worker ready", "metrics")
    compiled_once(farm, client, endpoint)
    page = farm.scrape(address)
    assert wanted - families(page) == set()
    assert f'role="{role}"' in page
    if role != "worker":
        assert sample(page, "fxfarm_lookups_total") == 1
        assert sample(page, 'fxfarm_store_queries_total{tier="disk"}') == 1
        assert sample(page, 'fxfarm_stages_served_total{source="job"}') == 1
        assert sample(page, 'fxfarm_compile_seconds_count{stage="default"}') == 1
        assert sample(page, 'fxfarm_compile_phase_seconds_count{phase="pack",stage="default"}') == 1
        assert sample(page, 'fxfarm_workers{state="idle"}') == 1
        assert sample(page, 'fxfarm_link_chunk_bytes_total{direction="received"}') > 0
    if role != "coordinator":
        assert sample(page, "fxfarm_worker_jobs_done_total") == 1
        assert sample(page, 'fxfarm_worker_engines{state="idle"}') == 1


def test_a_reset_sets_statistics_back_and_leaves_prometheus_alone(farm: Farm, client: Client) -> None:
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint)
    compiled_once(farm, client, endpoint)
    address = coordinator.fact("coordinator ready", "metrics")
    before = farm.ask("stats", endpoint)
    assert (before["resets"], before["values"]["jobs_started"]) == (0, 1)

    assert farm.ask("reset-stats", endpoint)["resets"] == 1
    after = farm.ask("stats", endpoint)
    assert (after["resets"], after["values"]["jobs_started"], after["values"]["lookups"]) == (1, 0, 0)
    assert after["since"] > before["since"]
    # What is there now is no statistic of the past.
    assert after["values"]["clients_now"] == 1
    page = farm.scrape(address)
    assert sample(page, "fxfarm_jobs_started_total") == 1
    assert sample(page, "fxfarm_stats_resets_total") == 1
    assert sample(page, "fxfarm_stats_last_reset_timestamp_seconds") == pytest.approx(after["since"], abs=1)

    client.leave()
    client.model(2.0).until_compiled()
    assert farm.counts(endpoint, "jobs_started", "lookups") == (1, 1)
    assert sample(farm.scrape(address), "fxfarm_jobs_started_total") == 2


def test_every_declared_family_is_emitted_by_a_real_farm(farm: Farm, client: Client, place: Path) -> None:
    served = free_port()
    # Whose keys are on: what counts keys and signers is there with them.
    keyed = KeyedFarm(farm)
    with redis_in(place) as redis:
        coordinator, endpoint = keyed.coordinator("--redis", f"redis://{redis.address}")
        worker = keyed.worker(endpoint)
        keyed.until_worker(endpoint)
        keyed.client(client, endpoint)
        client.set(FXFARM_CLIENT_METRICS=str(served))
        client.model().until_compiled()
        until("the switch is told", lambda: keyed.counts(endpoint, "request_to_switch_seconds_count") == (1,))
        addresses = {
            "coordinator": coordinator.fact("coordinator ready", "metrics"),
            "worker": worker.fact("worker ready", "metrics"),
            "client": f"127.0.0.1:{served}",
        }
        pages = {role: farm.scrape(address) for role, address in addresses.items()}
    shown = set().union(*map(emitted, pages.values()))
    assert declared() - shown == set()
    assert shown - declared() == set()
    own = {name for name in declared() if name.startswith("fxfarm_client_")}
    assert own <= emitted(pages["client"])
    assert sample(pages["client"], 'fxfarm_client_calls_total{ran="compiled"}') > 0
    assert sample(pages["client"], 'fxfarm_client_graphs{stage="default"}') == 1
    told = sample(pages["client"], 'fxfarm_client_request_to_switch_seconds_sum{stage="default"}')
    of_all = 'fxfarm_request_to_switch_seconds_sum{stage="default"}'
    assert sample(pages["coordinator"], of_all) == pytest.approx(told), "as the client measured"
    step = 'fxfarm_switch_step_seconds_sum{stage="default",step="%s"}'
    measured = [sample(pages["coordinator"], step % name) for name in ("prepare", "farm", "load")]
    assert all(seconds > 0 for seconds in measured)
    assert sum(measured) <= told


def test_metrics_tell_who_waits_and_for_what(farm: Farm, client: Client) -> None:
    coordinator, endpoint = farm.coordinator()
    worker = farm.worker(endpoint)
    address = coordinator.fact("coordinator ready", "metrics")
    assert farm.control is not None
    farm.control.on("wait")
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    first, second = client.model(1.0), client.model(2.0)
    farm.control.job()
    oldest = 'fxfarm_oldest_job_wait_seconds{stage="default"}'
    until("the second job is seen to wait", lambda: sample(farm.scrape(address), oldest) > 0)
    page = farm.scrape(address)
    assert sample(page, 'fxfarm_jobs_waiting{stage="default"}') == 1
    assert sample(page, "fxfarm_clients_waiting") == 1
    assert sample(farm.scrape(worker.fact("worker ready", "metrics")), "fxfarm_worker_jobs") == 1
    for _ in range(2):
        farm.control.open_gate()
    first.until_compiled()
    second.until_compiled()
    # What waits is told once a second.
    names = ("fxfarm_clients_waiting", oldest, 'fxfarm_jobs_waiting{stage="default"}')

    def waiting() -> list[float]:
        page = farm.scrape(address)
        return [sample(page, name) for name in names]

    until("nothing and nobody waits", lambda: waiting() == [0, 0, 0])


def test_a_role_is_ready_when_it_can_work_and_not_while_it_stops(farm: Farm, client: Client) -> None:
    worker = farm.worker(f"tcp://127.0.0.1:{(port := free_port())}")
    address = worker.fact("worker ready", "metrics")
    until("its engine is warm", lambda: ready(address) == (503, "coordinators: none is connected\n"))
    coordinator, endpoint = farm.coordinator(port=port)
    assert ready(coordinator.fact("coordinator ready", "metrics")) == (200, "ready\n")
    until("the worker is ready", lambda: ready(address) == (200, "ready\n"))

    assert farm.control is not None
    farm.control.on("wait")
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    farm.control.job()
    worker.process.send_signal(signal.SIGTERM)
    until("it says that it stops", lambda: ready(address) == (503, "role: it is stopping: SIGTERM\n"))
    farm.control.open_gate()
    model.until_compiled()
    assert worker.process.wait(DEADLINE_S) == 0
