"""What Prometheus sees of every role, and what a reset of the statistics changes."""

from __future__ import annotations

import pytest
from farm_client import Client
from harness import Farm, until

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
