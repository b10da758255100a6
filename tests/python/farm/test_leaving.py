"""Everything ends when it is told to, and leaves nothing behind; `farm` looks for what is left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import DEADLINE_S, Farm, until, wait_gone
from farm_client import PATIENCE_S, Client, ModelProcess, model_process
from marks import forks


def files(farm: Farm) -> list[Path]:
    return list((farm.directory / "run" / "fxfarm").iterdir())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_every_role_ends_with_0_when_it_is_told_to(farm: Farm, how: signal.Signals) -> None:
    coordinator, endpoint = farm.coordinator()
    worker = farm.worker(endpoint)
    local, local_endpoint = farm.local()
    farm.until_workers(endpoint)
    farm.until_workers(local_endpoint)
    for role in (worker, coordinator, local):
        assert role.stop(how) == 0, role.log
        role.wait_line(f"stopping why={how.name}")
    assert files(farm) == []


def test_a_worker_ends_with_0_while_its_coordinator_is_away(farm: Farm) -> None:
    coordinator, endpoint = farm.coordinator()
    worker = farm.worker(endpoint)
    farm.until_workers(endpoint)
    coordinator.kill()
    worker.wait_line("coordinator tcp://")
    assert worker.stop() == 0


@pytest.mark.parametrize("height", [1.0, 2.0], ids=["small", "large"])
@pytest.mark.parametrize("stopped", ["coordinator", "worker", "local"])
def test_a_job_that_runs_is_finished_before_the_end(
    farm: Farm, client: Client, stopped: str, height: float
) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    if stopped == "local":
        role, endpoint = farm.local()
    else:
        coordinator, endpoint = farm.coordinator()
        worker = farm.worker(endpoint)
        role = worker if stopped == "worker" else coordinator
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model(height)
    farm.control.job()
    role.process.send_signal(signal.SIGTERM)
    role.wait_line("stopping why=SIGTERM")
    model()
    assert model.status.stage == "eager"
    farm.control.open_gate()
    assert role.ended() == 0
    model.until_compiled()


def test_a_farm_that_was_started_for_a_client_leaves_when_idle_and_comes_back(
    farm: Farm, client: Client
) -> None:
    client.set(FXFARM_IDLE_TIMEOUT="300ms")
    for height in (1.0, 2.0):
        model = client.model(height)
        model.until_compiled()
        client.leave()
        (local,) = [pid for pid, text in farm.processes().items() if " local --detach" in text] or [0]
        assert not local or wait_gone(local)
        assert files(farm) == []


def test_a_process_ends_at_once_with_compiled_and_with_pending_stages(farm: Farm) -> None:
    assert farm.control is not None
    with model_process(farm) as process:
        assert process.answer() == "up"
        assert process.ask("model", 1.0) == "right"
        assert process.ask("wait", PATIENCE_S) is True
        farm.control.job()
        farm.control.on("wait")
        assert process.ask("model", 2.0) == "right"
        farm.control.job()
        assert [g[0] for g in process.ask("graphs")] == ["default", "eager"]
        assert process.end() == (0, "")
    assert process.threads_left == []
    farm.control.open_gate()


def while_serializing(process: ModelProcess, farm: Farm) -> None:
    assert process.ask("pause") == "paused"
    assert process.ask("model", 1.0) == "right"
    # Nothing has been sent yet, and nothing will be.
    assert process.ask("graphs") == [["eager", []]]


def while_loading(process: ModelProcess, farm: Farm) -> None:
    while_pending(process, farm)
    assert process.ask("pause") == "paused"
    assert farm.control is not None
    farm.control.open_gate()
    until("the artifact is there", lambda: process.ask("graphs")[0][1][0][0] == "fetched")


def while_pending(process: ModelProcess, farm: Farm) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    assert process.ask("model", 1.0) == "right"
    farm.control.job()


def while_waiting(process: ModelProcess, farm: Farm) -> None:
    while_pending(process, farm)
    process.tell("wait", 10 * DEADLINE_S)


def when_compiled(process: ModelProcess, farm: Farm) -> None:
    assert process.ask("model", 1.0) == "right"
    assert process.ask("wait", PATIENCE_S) is True
    assert process.ask("call") == ["right"]
    assert process.ask("graphs")[0][0] == "default"


@pytest.mark.parametrize("state", [while_serializing, while_loading])
def test_a_process_that_ends_in_the_middle_of_background_work_does_not_wait_for_it(
    farm: Farm, state: Callable[[ModelProcess, Farm], None]
) -> None:
    with model_process(farm) as process:
        assert process.answer() == "up"
        state(process, farm)
        assert process.end() == (0, "")
    assert process.threads_left == []


@pytest.mark.parametrize("state", [while_serializing, while_pending, while_waiting, when_compiled])
def test_ctrl_c_ends_a_process(farm: Farm, state: Callable[[ModelProcess, Farm], None]) -> None:
    assert farm.control is not None
    with model_process(farm) as process:
        assert process.answer() == "up"
        state(process, farm)
        process.interrupt()
        status, errors = process.end()
    # Python forgets what it ends for when code made of text runs at the end. The package tabulate has some,
    # and Dynamo imports it then, if it is there.
    assert status in (-signal.SIGINT, 1)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert process.threads_left == []
    # For the engine that waits, if one does.
    farm.control.open_gate()


@forks
def test_forks_harm_nothing_and_a_child_compiles_for_itself(farm: Farm) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    with model_process(farm) as process:
        assert process.answer() == "up"
        assert process.ask("model", 1.0) == "right"
        farm.control.job()
        # While a compile runs, and after it.
        assert process.ask("loader") == sum(range(64))
        farm.control.on("compile")
        farm.control.open_gate()
        assert process.ask("wait", PATIENCE_S) is True
        assert process.ask("loader") == sum(range(64))
        assert process.ask("fork", 2.0) == 0
        assert process.ask("call") == ["right"]
        assert process.ask("graphs")[0][0] == "default"
        assert process.end() == (0, "")
    assert farm.counts(farm.own_socket(), "jobs_started", "jobs_finished") == (2, 2)
