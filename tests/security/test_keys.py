"""A farm whose links have keys: it works for those who have them, and each of the others is told why not."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from cluster import DEADLINE_S, Farm, free_port, until
from farm_client import Client
from keyed_farm import KeyedFarm

SERVED = ("jobs_finished", "stages_served_job", "stages_served_memory")


@pytest.fixture
def keyed(farm: Farm) -> KeyedFarm:
    return KeyedFarm(farm)


def test_a_graph_is_compiled_over_links_with_keys(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint = keyed.coordinator()
    assert coordinator.fact("coordinator ready", "keys") == "on"
    worker = keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    model = client.model()
    model.until_compiled()
    assert keyed.counts(endpoint, *SERVED) == (1, 1, 0)
    told = keyed.farm.command(
        "explain", model.status.key, "--json", "--endpoint", endpoint, *keyed.link("operator")
    )
    assert json.loads(told.stdout)["spaces"] == ["team-a"], "the key's, not what the client says"
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_insecure") == 0
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_authorized_keys") == 3
    assert keyed.metric(worker, "worker ready", "fxfarm_insecure") == 0
    for reason in ("unknown_key", "no_key", "wrong_server_key", "wrong_role", "revoked", "malformed"):
        assert keyed.refused(coordinator, reason) == 0, reason


def test_a_key_that_is_not_authorized_gets_nothing_and_is_told_so(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint = keyed.coordinator()
    stranger = keyed.public["stranger"]
    why = f"{endpoint}: the coordinator does not know the key {stranger}; add it to its authorized keys"
    done = keyed.farm.command("status", "--endpoint", endpoint, *keyed.link("stranger"))
    assert (done.returncode, done.stderr) == (1, f"fxfarm status: unreachable: {endpoint}: {why}\n")
    assert keyed.refused(coordinator, "unknown_key") == 1
    assert stranger in coordinator.wait_line("a key that is not authorized was refused")

    keyed.client(client, endpoint, key="stranger")
    model = client.model()
    until("the client says why", lambda: why in str(model.status))
    assert model.status.stage == "eager"
    assert keyed.refused(coordinator, "unknown_key") >= 2
    assert keyed.counts(endpoint, "lookups") == (0,)


def test_a_worker_that_is_not_authorized_gets_no_job(keyed: KeyedFarm, client: Client) -> None:
    coordinator, endpoint = keyed.coordinator()
    worker = keyed.worker(endpoint, key="stranger")
    assert keyed.public["stranger"] in worker.wait_line("the coordinator does not know the key")
    assert keyed.refused(coordinator, "unknown_key") >= 1
    keyed.client(client, endpoint)
    stage = client.model().until_state("failed")
    assert "no_worker" in stage.error
    assert keyed.ask("status", endpoint)["workers"] == []


def test_who_has_no_key_is_told_to_give_one(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator()
    done = keyed.farm.command("status", "--endpoint", endpoint)
    assert done.returncode == 1
    assert "wants keys" in done.stderr and "server_public_key" in done.stderr
    # Whoever sees first that the other end talks otherwise breaks off.
    until(
        "it was counted",
        lambda: keyed.refused(coordinator, "no_key") + keyed.refused(coordinator, "unfinished") >= 1,
    )


def test_rights_are_the_keys_and_not_what_a_peer_says(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator()
    for command in (["status"], ["drain", "w"], ["reset-stats"], ["cache", "rm", "0" * 64]):
        before = keyed.refused(coordinator, "wrong_role")
        done = keyed.farm.command(*command, "--endpoint", endpoint, *keyed.link("alice"))
        why = f"the key {keyed.public['alice']} has no right to be operator; it may be: client"
        assert done.returncode == 1 and why in done.stderr, done.stderr
        assert keyed.refused(coordinator, "wrong_role") == before + 1
    worker = keyed.worker(endpoint, key="alice")
    until("the worker was refused", lambda: keyed.refused(coordinator, "wrong_role") >= 5)
    assert keyed.ask("status", endpoint)["workers"] == []
    assert worker.process.poll() is None, "it tries again: its key may be given the right"


def test_a_key_is_in_force_when_the_file_has_it_and_no_longer_when_it_has_not(
    keyed: KeyedFarm, client: Client
) -> None:
    coordinator, endpoint = keyed.coordinator()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keyed.make("bob")
    keyed.allow(bob=("client", "team-a"))
    coordinator.wait_line("authorized keys have changed")
    keyed.client(client, endpoint, key="bob")
    client.model().until_compiled()

    keyed.forbid("bob")
    until("it was dropped", lambda: keyed.refused(coordinator, "revoked") == 1)
    model = client.model(2.0)
    until(
        "the client says why", lambda: f"the key {keyed.public['bob']} is not authorized" in str(model.status)
    )
    assert keyed.counts(endpoint, "jobs_started") == (1,)

    reads = 'fxfarm_authorized_keys_reads_total{outcome="%s"}'
    assert keyed.metric(coordinator, "coordinator ready", reads % "loaded") == 2
    keyed.write("clent team-a " + keyed.public["bob"])
    assert "unknown role" in coordinator.wait_line("authorized keys stay as they were")
    assert keyed.metric(coordinator, "coordinator ready", reads % "refused") == 1
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_authorized_keys") == 3


def test_a_coordinators_key_is_changed_while_clients_accept_both(keyed: KeyedFarm, client: Client) -> None:
    first, endpoint = keyed.coordinator()
    port = int(endpoint.rsplit(":", 1)[1])
    keyed.make("next")
    both = f"{keyed.public['server']},{keyed.public['next']}"
    keyed.farm.start(
        *("worker", "--coordinators", endpoint, "--python", keyed.farm.python, "--name", "w"),
        *("--slots", "1", "--metrics", "127.0.0.1:0"),
        *("--secret-key", keyed.secret("worker"), "--server-public-key", both, *keyed.signing()),
    )
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    client.set(FXFARM_SERVER_PUBLIC_KEY=both)
    client.model().until_compiled()

    assert first.stop() == 0
    second, _ = keyed.coordinator(key="next", port=port)
    client.model(2.0).until_compiled()
    done = keyed.farm.command("status", "--endpoint", endpoint, *keyed.link("operator"))
    assert done.returncode == 1
    assert "its key is perhaps none of server_public_key" in done.stderr
    assert keyed.refused(second, "wrong_server_key") >= 1
    assert keyed.refused(second, "unknown_key") == 0


def test_a_namespace_does_not_see_what_another_has_made(keyed: KeyedFarm, client: Client) -> None:
    keyed.make("bob")
    keyed.allow(bob=("client", "team-b"))
    _, endpoint = keyed.coordinator()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keys = set()
    for name, made in (("alice", 1), ("bob", 2), ("alice", 2), ("bob", 2)):
        keyed.client(client, endpoint, key=name)
        model = client.model()
        model.until_compiled()
        keys.add(model.stage.key)
        assert keyed.counts(endpoint, "jobs_finished") == (made,), name
        client.leave()
    assert len(keys) == 2
    assert keyed.counts(endpoint, *SERVED) == (2, 2, 2)


def test_namespaces_share_what_they_make_when_the_file_says_so(keyed: KeyedFarm, client: Client) -> None:
    keyed.make("bob")
    keyed.extra.append("share team-a team-b")
    keyed.allow(bob=("client", "team-b"))
    _, endpoint = keyed.coordinator()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keys = set()
    for name in ("alice", "bob"):
        keyed.client(client, endpoint, key=name)
        model = client.model()
        model.until_compiled()
        keys.add(model.stage.key)
        assert keyed.counts(endpoint, "jobs_finished") == (1,), name
        client.leave()
    assert len(keys) == 1


def test_what_a_worker_runs_is_taken_over_with_its_ticket(keyed: KeyedFarm, client: Client) -> None:
    assert keyed.farm.control is not None
    first, endpoint = keyed.coordinator()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    keyed.client(client, endpoint)
    keyed.farm.control.on("wait")
    model = client.model()
    keyed.farm.control.job()
    first.kill()
    keyed.coordinator(port=int(endpoint.rsplit(":", 1)[1]))
    until("it was taken over", lambda: keyed.counts(endpoint, "jobs_adopted") == (1,))
    keyed.farm.control.open_gate()
    model.until_compiled()
    assert keyed.counts(endpoint, "jobs_started", "claims_refused") == (0, 0)


CLIENT = """
import signal, sys
from fxfarm import _core
client = _core.Client(endpoints=["tcp://192.0.2.1:7070"], insecure=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(client.stop()))
signal.pause()
"""
WARNING_PERIOD_S = 60
"""As runtime/limits.hpp has it."""


def test_who_leaves_the_host_without_keys_warns_again_and_again(farm: Farm) -> None:
    port = free_port()
    done = farm.command("coordinator", "--listen", f"tcp://0.0.0.0:{port}")
    assert done.returncode == 2
    assert "give --server-key and --authorized-keys" in done.stderr
    open_one = farm.start(
        "coordinator", "--listen", f"tcp://0.0.0.0:{port}", "--insecure", "--metrics", "127.0.0.1:0"
    )
    assert f"endpoint=tcp://0.0.0.0:{port}" in open_one.wait_line("insecure: what goes over the network")
    page = farm.scrape(open_one.fact("coordinator ready", "metrics"))
    assert "\nfxfarm_insecure 1\n" in page
    worker = farm.start(
        *("worker", "--coordinators", "tcp://192.0.2.1:7070", "--insecure", "--python", farm.python),
        *("--metrics", "127.0.0.1:0"),
    )
    client = farm.start("-c", CLIENT, program=Path(sys.executable))
    says = {open_one: "insecure: what goes over the network", worker: "insecure: what goes over the network"}
    says[client] = "insecure: what comes from the farm is run here"
    for role, warning in says.items():
        role.wait_line(warning)
    for role, warning in says.items():
        role.wait_line(warning, number=2, deadline_s=WARNING_PERIOD_S + DEADLINE_S)


def test_a_client_of_another_host_wants_keys_or_the_word(client: Client) -> None:
    client.set(FXFARM_ENDPOINTS="tcp://192.0.2.1:7070", FXFARM_LOCAL="false")
    model = client.model()
    until("the client says why", lambda: "would not be encrypted" in (model.status.error or ""))
    assert "give secret_key and server_public_key" in (model.status.error or "")


def test_keygen_writes_what_nobody_else_may_read_and_never_over_a_file(farm: Farm, tmp_path: Path) -> None:
    name = str(tmp_path / "alice")
    done = farm.command("keygen", name)
    assert done.returncode == 0, done.stderr
    secret, public = Path(name + ".key_secret"), Path(name + ".key")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    key = public.read_text().split('public-key = "')[1].split('"')[0]
    assert f"client    default  {key}" in done.stdout
    assert "secret-key" not in public.read_text() and secret.read_text().count(key) == 1
    secret_key = secret.read_text().split('secret-key = "')[1].split('"')[0]
    assert secret_key not in done.stdout

    again = farm.command("keygen", name)
    assert (again.returncode, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert secret_key in secret.read_text()
    assert farm.command("keygen").returncode == 2
    other = farm.command("keygen", str(tmp_path / "no" / "where"), "--json")
    assert other.returncode == 1 and "No such file or directory" in other.stderr


def test_doctor_says_what_is_wrong_with_a_key(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()

    def farm_finding(*flags: str) -> dict[str, str]:
        done = keyed.farm.command("doctor", "--json", "--endpoint", endpoint, *flags)
        return next(f for f in json.loads(done.stdout)["findings"] if f["check"] == "farm")

    well = farm_finding(*keyed.link("operator"))
    assert well["verdict"] == "well" and well["what"].endswith("encrypted")
    unknown = farm_finding(*keyed.link("stranger"))
    assert unknown["verdict"] == "wrong" and keyed.public["stranger"] in unknown["what"]
    assert unknown["mend"] == "add a line for it to the coordinator's file of authorized keys"
    assert farm_finding()["mend"] == "give --secret-key and --server-public-key"
    assert "has no right" in farm_finding(*keyed.link("alice"))["what"]
