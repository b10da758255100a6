"""Every process of the farm may die in the middle of a compile: the model answers all the while, and the
compiled stage arrives in the end.
"""

from __future__ import annotations

import os
import signal

from cluster import Control, Farm, until, wait_gone
from farm_client import Client

JOBS = ("jobs_started", "jobs_retried", "jobs_finished", "jobs_failed")


def control_of(farm: Farm) -> Control:
    assert farm.control is not None
    return farm.control


def test_an_engine_that_dies_is_started_again_and_its_job_repeated(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    model = client.model()
    engine, _ = control.job()
    model.until_state("running")
    os.kill(engine, signal.SIGKILL)
    again, _ = control.job()
    assert again != engine
    model()
    assert model.status.stage == "eager"
    control.open_gate()
    model.until_compiled()
    endpoint = farm.own_socket()
    assert farm.counts(endpoint, *JOBS) == (2, 1, 1, 0)
    assert farm.counts(endpoint, "engine_restarts", "workers_lost", "graph_bytes_count") == (1, 0, 1)


def test_a_worker_that_dies_takes_its_engine_along_and_its_job_goes_to_another(
    farm: Farm, client: Client
) -> None:
    control = control_of(farm)
    control.on("wait")
    _, endpoint = farm.coordinator()
    workers = {w.pid: w for w in (farm.worker(endpoint, name=n) for n in ("one", "two"))}
    farm.until_workers(endpoint, 2)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    engine, _ = control.job()
    (busy,) = farm.until_workers(endpoint, 1, "busy")
    workers[busy["pid"]].kill()
    assert wait_gone(engine)
    control.job()
    model()
    assert model.status.stage == "eager"
    control.open_gate()
    model.until_compiled()
    assert farm.counts(endpoint, *JOBS, "workers_lost") == (2, 1, 1, 0, 1)


def test_a_job_waits_for_the_worker_that_is_started_anew(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    _, endpoint = farm.coordinator()
    worker = farm.worker(endpoint)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    control.job()
    worker.kill()
    farm.worker(endpoint)
    control.job()
    model()
    control.open_gate()
    model.until_compiled()
    assert farm.counts(endpoint, *JOBS, "workers_lost") == (2, 1, 1, 0, 1)


def test_a_coordinator_that_is_back_learns_what_runs(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    control.job()
    coordinator.kill()
    model()
    farm.coordinator(port=int(endpoint.rsplit(":", 1)[1]))
    farm.until_workers(endpoint, 1, "busy")
    model.until_state("running")
    assert model.status.stage == "eager"
    control.open_gate()
    model.until_compiled()
    assert control.jobs_begun() == 0
    assert farm.counts(endpoint, *JOBS, "jobs_adopted") == (0, 0, 1, 0, 1)


def test_a_graph_goes_to_the_local_farm_while_its_coordinator_is_dead(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint)
    model = client.model()
    control.job()
    coordinator.kill()
    control.job()
    control.on("compile")
    for _ in range(2):
        control.open_gate()
    model.until_compiled()
    assert model.stage.source.startswith("local-")
    assert farm.counts(farm.own_socket(), *JOBS) == (1, 0, 1, 0)


def test_a_local_farm_that_dies_is_started_again(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    model = client.model()
    engine, _ = control.job()
    endpoint = farm.own_socket()
    before = farm.ask("status", endpoint)["pid"]
    os.kill(before, signal.SIGKILL)
    assert wait_gone(engine)
    model()
    control.job()
    assert model.status.stage == "eager"
    control.open_gate()
    model.until_compiled()
    assert farm.ask("status", endpoint)["pid"] != before
    assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0)


def test_a_farm_that_dies_with_nothing_to_do_is_started_for_the_next_graph(
    farm: Farm, client: Client
) -> None:
    model = client.model(1.0)
    model.until_compiled()
    endpoint = farm.own_socket()
    os.kill(farm.ask("status", endpoint)["pid"], signal.SIGKILL)
    second = client.model(2.0)
    second.until_compiled()
    model()
    assert farm.counts(endpoint, *JOBS) == (1, 0, 1, 0)


def test_a_graph_that_kills_every_engine_is_quarantined_and_others_are_unharmed(
    farm: Farm, client: Client, graphs: dict[float, str]
) -> None:
    control = control_of(farm)
    control.on("die", graphs[3.0])
    deadly = client.model(3.0)
    stage = deadly.until_state("failed")
    assert stage.error.startswith("quarantined: given up after 3 attempts, the last: engine_crashed: ")
    assert "killed by signal 9" in stage.error
    assert control.jobs_begun() == 3
    key = deadly.status.key
    endpoint = farm.own_socket()
    assert farm.counts(endpoint, *JOBS, "engine_restarts") == (3, 2, 0, 1, 3)
    (told,) = [s for g in farm.ask("graphs", endpoint)["graphs"] for s in g["stages"]]
    assert (told["state"], told["error"]) == ("failed", stage.error)

    other = client.model(1.0)
    other.until_compiled()
    deadly()
    assert deadly.status.stage == "eager"
    assert farm.counts(endpoint, *JOBS) == (4, 2, 1, 1)

    # Nor does asking again cost another engine.
    client.leave()
    assert client.model(3.0).until_state("failed").error == stage.error
    assert farm.counts(endpoint, *JOBS) == (4, 2, 1, 1)

    # Until somebody says so.
    done = farm.command("cache", "rm", key[:12], "--endpoint", endpoint)
    assert done.stdout == "stages forgotten: 1, of which failed: 1; in flight and left alone: 0\n", (
        done.stderr
    )
    control.on("fail", graphs[3.0])
    client.leave()
    assert client.model(3.0).until_state("failed").error == "compile_failed: the test wants it so"


def test_a_failed_compile_is_told_with_its_reason_and_not_repeated(farm: Farm, client: Client) -> None:
    control_of(farm).on("fail")
    stage = client.model().until_state("failed")
    assert stage.error == "compile_failed: the test wants it so"
    assert farm.counts(farm.own_socket(), *JOBS, "engine_restarts") == (1, 0, 0, 1, 0)


def test_a_compile_past_its_deadline_ends_its_engine(farm: Farm, client: Client) -> None:
    control = control_of(farm)
    control.on("wait")
    client.set(FXFARM_JOB_DEADLINE="3s", FXFARM_JOB_ATTEMPTS="2")
    stage = client.model().until_state("failed")
    assert stage.error.startswith("quarantined: given up after 2 attempts, the last: deadline: ")
    endpoint = farm.own_socket()
    assert farm.counts(endpoint, *JOBS) == (2, 1, 0, 1)
    until("both engines are back", lambda: farm.counts(endpoint, "engine_restarts") == (2,))
