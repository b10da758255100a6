"""Many processes, one compile; and where an artifact comes from the next time."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster import DEADLINE_S, Farm, until
from echo_engine import echo
from echo_farm import PLATFORM, echo_farm_in
from farm_client import PATIENCE_S, Client, model_process

from fxfarm import _core

RANKS = 8


def test_eight_processes_share_one_farm_one_graph_and_one_job(farm: Farm) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    with ExitStack() as all_of_them:
        ranks = [all_of_them.enter_context(model_process(farm)) for _ in range(RANKS)]
        assert [r.answer() for r in ranks] == ["up"] * RANKS
        for rank in ranks:
            rank.tell("model", 1.0)
        assert [r.answer() for r in ranks] == ["right"] * RANKS
        farm.control.job()
        farm.control.open_gate()
        for rank in ranks:
            rank.tell("wait", PATIENCE_S)
        assert [r.answer() for r in ranks] == [True] * RANKS
        for rank in ranks:
            ((stage, ((state, _, error),)),) = rank.ask("graphs")
            assert (stage, state, error) == ("default", "loaded", "")
        endpoint = farm.own_socket()
        stats = farm.stats(endpoint)
        assert stats["lookups"] == RANKS
        assert stats["jobs_started"] == stats["jobs_finished"] == 1
        assert stats["graph_bytes_count"] == 1
        assert stats["joined"] + stats["cache_hits_memory"] + stats["cache_hits_disk"] == RANKS - 1
        assert len([c for c in farm.processes().values() if " local --detach" in c]) == 1
        for rank in ranks:
            assert rank.end()[0] == 0


def test_a_process_switches_without_importing_the_compiler(farm: Farm) -> None:
    with model_process(farm) as process:
        assert process.answer() == "up"
        assert process.ask("model", 1.0) == "right"
        assert process.ask("wait", PATIENCE_S) is True
        assert process.ask("call") == ["right"]
        assert process.ask("graphs")[0][0] == "default"
        assert process.ask("compiler") == []
        assert process.end() == (0, "")


def test_a_stage_is_made_by_a_worker_then_served_from_memory_then_from_disk(
    farm: Farm, client: Client
) -> None:
    first, endpoint = farm.coordinator()
    for name in ("one", "two"):
        farm.worker(endpoint, name=name).wait_line("worker ready")
    farm.until_workers(endpoint, 2)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")

    model = client.model()
    model.until_compiled()
    assert model.stage.source.startswith(("one-", "two-"))
    served = ("jobs_started", "stages_served_job", "stages_served_memory", "stages_served_disk")
    assert farm.counts(endpoint, *served) == (1, 1, 0, 0)

    client.leave()
    model = client.model()
    model.until_compiled()
    assert model.stage.source == "memory"
    assert farm.counts(endpoint, *served) == (1, 1, 1, 0)

    client.leave()
    assert first.stop() == 0
    _, endpoint = farm.coordinator(port=int(endpoint.rsplit(":", 1)[1]))
    model = client.model()
    model.until_compiled()
    assert model.stage.source == "disk"
    assert farm.counts(endpoint, *served) == (0, 0, 0, 1)
    assert farm.ask("status", endpoint)["peers"]["clients"] == 1


def test_engines_have_the_last_cores_that_they_were_given_and_no_more(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    farm.control.on("wait")
    _, endpoint = farm.local("--engine-cores", "1")
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    engine, _ = farm.control.job()
    assert os.sched_getaffinity(engine) == {max(os.sched_getaffinity(0))}
    farm.control.open_gate()
    model.until_compiled()


def test_two_clients_of_one_process_are_two_peers(place: Path) -> None:
    """A coordinator used to take the one for the other's new connection, and each pushed the other out."""
    graphs = 20
    with echo_farm_in(place) as farm, ExitStack() as running:
        _, endpoint = farm.coordinator()
        farm.worker(endpoint, slots=2)
        farm.until_workers(endpoint)
        clients = [_core.Client(endpoints=[endpoint]) for _ in range(2)]
        for client in clients:
            running.callback(client.stop)
        until("both are connected", lambda: farm.counts(endpoint, "clients_now") == (2,))
        stages: Any = [{"name": "default", "options": {"stage": '"default"'}}]
        for number in range(graphs):
            for which, client in enumerate(clients):
                graph = f"{which}-{number}".encode()
                client.submit(_core.digest(graph), "g", graph, stages, PLATFORM)
        for which, client in enumerate(clients):
            got = set()
            for _ in range(graphs):
                task = client.next_task(int(DEADLINE_S * 1000))
                assert task is not None, client.graphs()
                got.add(bytes(task.artifact))
                task.done()
            assert got == {echo(f"{which}-{n}".encode(), "default") for n in range(graphs)}
        assert farm.counts(endpoint, "clients_now", "lookups", "link_rejected") == (2, 2 * graphs, 0)
