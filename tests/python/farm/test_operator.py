"""What an operator sees and does, with the program itself: the life of a graph, lists, a worker out of work,
the directory of artifacts.
"""

from __future__ import annotations

import json
import os
import pty
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import DEADLINE_S, PROGRAM, Farm, until
from echo_client import graph_key
from echo_farm import Asking, echo_farm_in
from farm_client import Client


@pytest.fixture
def echo_farm(place: Path) -> Iterator[Farm]:
    with echo_farm_in(place) as farm:
        yield farm


def asked(farm: Farm, command: str, *args: str) -> dict[str, Any]:
    done = farm.command(command, "--json", *args)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def settled(farm: Farm, endpoint: str, first: int = 0, count: int = 1) -> Asking:
    """A client that has had all stages of its graphs."""
    client = Asking(farm, [endpoint], first, count, queue.Queue())
    until("the client is served", lambda: client.settled)
    return client


def steps(farm: Farm, endpoint: str, graph: str, stage: str = "default") -> list[str]:
    events = asked(farm, "explain", "--endpoint", endpoint, graph)["events"]
    return [e["step"] for e in events if e["stage"] == stage]


def test_the_life_of_a_graph_is_told_from_the_miss_to_the_switch(echo_farm: Farm) -> None:
    farm = echo_farm
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client = settled(farm, endpoint)
    wanted = ["missed", "graph_asked", "queued", "started", "compiled", "answered", "switched"]
    key = graph_key(0)
    until("the switch is reported", lambda: steps(farm, endpoint, key) == wanted)
    assert steps(farm, endpoint, key[:10]) == wanted
    assert steps(farm, endpoint, "g0") == wanted
    other = settled(farm, endpoint)
    until("the other's is, too", lambda: steps(farm, endpoint, key)[-2:] == ["switched", "hit"])
    told = farm.command("explain", "--endpoint", endpoint, "g0")
    assert told.returncode == 0, told.stderr
    assert "found in the store (memory)" in told.stdout
    assert "compiled by worker w-" in told.stdout
    assert client.leave() == other.leave() == 0


def test_of_a_miss_the_graph_that_nearly_was_it_is_named(farm: Farm, client: Client) -> None:
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    known = client.model(1.0)
    known.until_compiled()
    other = client.model(2.0)
    other.until_compiled()
    told = asked(farm, "explain", "--endpoint", endpoint, other.status.key)
    assert {"inputs", "nodes", "modes", "inductor_config"} <= told["parts"].keys()
    (stage,) = told["stages"]
    assert stage["neighbour"]["graph_key"] == known.status.key
    assert [d["part"] for d in stage["neighbour"]["differ"]] == ["graph.nodes"]


def test_what_cannot_be_explained_says_why(echo_farm: Farm) -> None:
    farm = echo_farm
    _, endpoint = farm.coordinator()
    done = farm.command("explain", "--endpoint", endpoint, "unheard-of")
    assert done.returncode == 1
    assert "unheard-of" in done.stderr


def test_graphs_are_listed_as_they_are_wanted(echo_farm: Farm) -> None:
    farm = echo_farm
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    client = settled(farm, endpoint, count=3)

    def listed(*args: str) -> list[str]:
        return [g["name"] for g in asked(farm, "graphs", "--endpoint", endpoint, *args)["graphs"]]

    assert listed("--sort", "name") == ["g0", "g1", "g2"]
    assert listed("--name", "g1") == ["g1"]
    assert listed("--key", graph_key(2)[:9]) == ["g2"]
    assert listed("--state", "failed") == []
    assert len(listed("--limit", "2", "--state", "ready")) == 2
    assert client.leave() == 0


def test_a_drained_worker_finishes_what_it_has_and_takes_no_more(echo_farm: Farm) -> None:
    farm = echo_farm
    assert farm.control is not None
    _, endpoint = farm.coordinator()
    farm.worker(endpoint, name="first")
    (first,) = farm.until_workers(endpoint)
    farm.control.on("wait")
    client = Asking(farm, [endpoint], 0, 1, queue.Queue())
    farm.control.job()
    drained = asked(farm, "drain", "--endpoint", endpoint, first["name"])
    assert drained == {"worker": first["name"], "draining": True, "busy": 1}
    farm.until_workers(endpoint, state="draining")
    farm.control.on("compile")
    farm.worker(endpoint, name="second")
    until("the other worker has made the better stage", lambda: client.settled)
    farm.control.open_gate()
    until("it has finished its job", lambda: "compiled" in steps(farm, endpoint, "g0"))
    told = asked(farm, "explain", "--endpoint", endpoint, "g0")["events"]
    by = {e["stage"]: e["who"] for e in told if e["step"] == "compiled"}
    assert by["default"] == first["name"]
    assert by["max-autotune"].startswith("second-")

    assert farm.command("undrain", "--endpoint", endpoint, "first-").returncode == 0
    farm.until_workers(endpoint, count=2)
    assert client.leave() == 0


def test_top_prints_one_look_unless_it_has_a_terminal(echo_farm: Farm) -> None:
    farm = echo_farm
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    (worker,) = farm.until_workers(endpoint)
    once = farm.command("top", "--endpoint", endpoint)
    assert once.returncode == 0
    assert worker["name"] in once.stdout
    assert "lookups 0, joined 0, jobs started 0, jobs finished 0" in once.stdout
    assert "\x1b" not in once.stdout
    assert asked(farm, "top", "--endpoint", endpoint)["rates"] is None

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(PROGRAM), "top", "--endpoint", endpoint, "--interval", "1ms"],
        env=farm.env,
        stdout=theirs,
        stdin=theirs,
    ) as live:
        os.close(theirs)
        seen = b""
        while seen.count(b"\x1b[H") < 3 or b"per second" not in seen:
            seen += os.read(ours, 4096)
        live.terminate()
        live.wait(DEADLINE_S)
    os.close(ours)


def test_artifacts_are_carried_to_another_farm_and_what_is_broken_stays(echo_farm: Farm) -> None:
    farm = echo_farm
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint)
    client = settled(farm, endpoint, count=2)
    assert client.leave() == 0
    store, away = farm.directory / "cache/fxfarm/coordinator", farm.directory / "away"
    listed = asked(farm, "cache", "ls")
    assert len(listed["artifacts"]) == 4
    assert asked(farm, "cache", "verify")["faults"] == []

    broken = listed["artifacts"][0]["key"]
    with (store / broken[:2] / broken).open("ab") as file:
        file.write(b"more")
    found = farm.command("cache", "verify", "--json")
    assert found.returncode == 1
    assert [f["key"] for f in json.loads(found.stdout)["faults"]] == [broken]
    assert farm.command("cache", "export", str(away)).returncode == 1
    assert farm.command("cache", "gc", "--bytes", "0", "--dry-run").returncode == 0
    assert len(asked(farm, "cache", "ls")["artifacts"]) == 4

    assert coordinator.stop() == 0
    assert farm.command("cache", "gc", "--bytes", "0").returncode == 0
    assert asked(farm, "cache", "ls")["artifacts"] == []
    assert asked(farm, "cache", "import", str(away))["artifacts"] == 3
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client = settled(farm, endpoint, count=2)
    assert farm.counts(endpoint, "cache_hits_disk", "jobs_finished") == (3, 1)
    assert client.leave() == 0


def test_config_tells_where_each_value_comes_from(echo_farm: Farm) -> None:
    farm = echo_farm
    farm.variables["FXFARM_SLOTS"] = "3"
    farm.variables["FXFARM_REDIS"] = "redis://user:secret@127.0.0.1"
    done = farm.command("config", "show", "local", "--json", "--nice", "5")
    assert done.returncode == 0, done.stderr
    options = {o["name"]: (o["value"], o["where"]) for o in json.loads(done.stdout)["options"]}
    assert options["slots"] == ("3", "variable FXFARM_SLOTS")
    assert options["nice"] == ("5", "flag --nice")
    assert options["job_attempts"] == ("3", "default")
    assert "secret" not in done.stdout


def test_doctor_finds_what_is_there_and_what_is_missing(echo_farm: Farm) -> None:
    farm = echo_farm
    _, endpoint = farm.coordinator()

    def verdicts(*args: str) -> tuple[int, dict[str, str]]:
        done = farm.command("doctor", "--json", *args)
        found = json.loads(done.stdout)["findings"]
        return done.returncode, {f["check"]: f["verdict"] for f in found}

    code, found = verdicts("--endpoint", endpoint)
    assert code == 1
    assert found["workers"] == "wrong"
    assert found["clock"] == "well"
    assert found["compiler"] == "well"
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    _, found = verdicts("--endpoint", endpoint, "--python", sys.executable)
    assert (found["workers"], found["python"]) == ("well", "well")
    code, found = verdicts("--python", "/nonexistent/python")
    assert (code, found["python"]) == (1, "wrong")
