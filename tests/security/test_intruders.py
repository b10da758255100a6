"""Who gets as far as a coordinator's socket, with a key or without one, and says what he may not: each is
refused with the words and in the count that docs/security.md tells.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import DEADLINE_S, farm_in, until
from curve_peer import CurvePeer
from echo_farm import PLATFORM
from forgery import Signer
from keyed_farm import KeyedFarm
from programs import Role
from zmtp import GREETING

GRAPH = "a" * 64
STAGE: dict[str, Any] = {"name": "default", "options": {}}
REASONS = ("unknown_key", "no_key", "wrong_server_key", "malformed", "unfinished", "wrong_role", "revoked")


@pytest.fixture
def keyed(place: Path) -> Iterator[KeyedFarm]:
    """Nobody here comes so far that an engine would be wanted."""
    with farm_in(place) as farm:
        yield KeyedFarm(farm)


def refusals(keyed: KeyedFarm, coordinator: Role) -> dict[str, int]:
    counts = {reason: keyed.refused(coordinator, reason) for reason in REASONS}
    return {reason: count for reason, count in counts.items() if count}


def as_peer(keyed: KeyedFarm, endpoint: str, name: str, role: str) -> CurvePeer:
    return CurvePeer(endpoint, keyed.secret(name), keyed.public["server"], role)


CURVE = GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (CURVE + b"\x04\x10no such command.", {"malformed": 1}),
        (GREETING, {"no_key": 1}),
        (GREETING[:20], {"unfinished": 1}),
        (b"", {"unfinished": 1}),
        # libzmq hangs up at the first byte, and tells nobody.
        (b"GET / HTTP/1.1\r\n\r\n", {}),
    ],
    ids=["no command", "no key", "half a handshake", "nothing", "not ZeroMQ"],
)
def test_who_does_not_shake_hands_is_hung_up_on_and_counted(
    keyed: KeyedFarm, said: bytes, counted: dict[str, int]
) -> None:
    coordinator, endpoint = keyed.coordinator()
    port = int(endpoint.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as raw:
        raw.sendall(said)
        heard = b""
        # Before it closes, at once or after 5 s, the coordinator says its own greeting and nothing else.
        with contextlib.suppress(ConnectionResetError):
            while piece := raw.recv(4096):
                heard += piece
    assert len(heard) <= len(GREETING)
    until("it is counted", lambda: refusals(keyed, coordinator) or not counted)
    assert refusals(keyed, coordinator) == counted
    assert keyed.counts(endpoint, "link_rejected", "lookups") == (0, 0)


def test_who_expects_another_coordinator_gets_nowhere(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator()
    flags = ("--secret-key", keyed.secret("operator"), "--server-public-key", keyed.public["stranger"])
    done = keyed.farm.command("status", "--endpoint", endpoint, *flags)
    assert done.returncode == 1
    assert (
        "the coordinator broke off the handshake; its key is perhaps none of server_public_key" in done.stderr
    )
    assert set(refusals(keyed, coordinator)) == {"wrong_server_key"}


@pytest.mark.parametrize(
    ("role", "name", "what", "fields"),
    [
        ("client", "alice", "worker_offer", {"slots": 1}),
        ("client", "alice", "job_done", {"id": "1", "stage_key": GRAPH}),
        ("client", "alice", "ask", {"request": 1, "what": "status"}),
        ("worker", "worker", "ask", {"request": 1, "what": "status"}),
        ("worker", "worker", "lookup", {"graph_key": GRAPH, "stages": [STAGE]}),
        ("operator", "operator", "lookup", {"graph_key": GRAPH, "stages": [STAGE]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_that_a_role_may_not_send_is_refused(
    keyed: KeyedFarm, role: str, name: str, what: str, fields: dict[str, Any]
) -> None:
    coordinator, endpoint = keyed.coordinator()
    with as_peer(keyed, endpoint, name, role) as peer:
        assert peer.greeting[0] == "welcome"
        peer.say(what, **fields)
        why = f"a peer with the right of {role} may not send {what}"
        assert peer.hear() == ("rejected", {"code": "refused", "reason": why})
    refused = keyed.metric(
        coordinator, "coordinator ready", f'fxfarm_messages_refused_total{{role="{role}"}}'
    )
    assert refused == 1
    assert keyed.counts(endpoint, "lookups", "jobs_started") == (0, 0)


def test_a_name_of_a_graph_leads_into_no_other_namespace(keyed: KeyedFarm) -> None:
    """bob asks for what alice has by the name that it has inside the farm."""
    keyed.make("bob")
    keyed.allow(bob=("client", "team-b"))
    coordinator, endpoint = keyed.coordinator()
    name = 'fxfarm_messages_refused_total{role="client"}'
    with (
        as_peer(keyed, endpoint, "alice", "client") as alice,
        as_peer(keyed, endpoint, "bob", "client") as bob,
    ):
        alice.say("lookup", graph_key=GRAPH, stages=[STAGE], target={"torch": "1"})
        assert alice.hear()[0] == "need_graph"
        for tried, what in enumerate((f"team-a.{GRAPH}", f"team-b.team-a.{GRAPH}"), 1):
            bob.say("lookup", graph_key=what, stages=[STAGE], target={"torch": "1"}, space="team-a")
            until("it is counted", lambda n=tried: keyed.metric(coordinator, "coordinator ready", name) == n)
        # He is told nothing: the next that he hears is the answer to this.
        bob.say("worker_offer")
        assert bob.hear()[0] == "rejected"
    assert keyed.counts(endpoint, "lookups", "jobs_started") == (3, 0), "asked, and not answered"


def test_a_result_of_a_job_that_a_worker_does_not_hold_is_not_taken(keyed: KeyedFarm) -> None:
    """One worker holds a job; another, whose key and signature are as good, brings results of it."""
    keyed.make("thief")
    keyed.allow(thief=("worker", "*"))
    signers = {name: Signer() for name in ("holder", "thief")}
    keyed.signers |= {name: made.public for name, made in signers.items()}
    keyed.accept(*signers)
    coordinator, endpoint = keyed.coordinator()

    def refused() -> float:
        return keyed.metric(coordinator, "coordinator ready", "fxfarm_results_refused_total")

    def bring(peer: CurvePeer, name: str, job: dict[str, Any], artifact: bytes) -> None:
        by = signers[name].sign(job["stage_key"], artifact)
        vouched = {"signer": by.signer, "signature": by.value}
        peer.say("job_done", attached=artifact, id=job["id"], stage_key=job["stage_key"], **vouched)

    with (
        as_peer(keyed, endpoint, "worker", "worker") as holder,
        as_peer(keyed, endpoint, "thief", "worker") as thief,
        as_peer(keyed, endpoint, "alice", "client") as alice,
    ):
        holder.say("worker_offer", name="holder", runs_on=PLATFORM, slots=1)
        alice.say("lookup", graph_key=GRAPH, stages=[STAGE], target=PLATFORM, name="m")
        assert alice.hear() == ("need_graph", {"graph_key": GRAPH})
        alice.say("submit", attached=b"graph", graph_key=GRAPH)
        what, job = holder.hear()
        assert (what, holder.attached) == ("job", b"graph")
        bring(thief, "thief", job, b"forged")
        until("the artifact is refused", lambda: refused() == 1)
        thief.say("job_failed", id=job["id"], stage_key=job["stage_key"], code="invalid_graph", reason="bad")
        until("the failure is refused", lambda: refused() == 2)
        assert keyed.counts(endpoint, "jobs_started", "jobs_failed", "jobs_finished") == (1, 0, 0)
        bring(holder, "holder", job, b"made")
        while (heard := alice.hear())[0] == "stage_progress":
            pass
        what, ready = heard
        assert (what, ready["stage_key"], alice.attached) == ("stage_ready", job["stage_key"], b"made")
        assert ready["signer"] == signers["holder"].public
        # Its own, but once only.
        bring(holder, "holder", job, b"made")
        until("the second is refused", lambda: refused() == 3)
    assert keyed.counts(endpoint, "jobs_started", "jobs_failed", "jobs_finished") == (1, 0, 1)


@pytest.mark.parametrize(
    ("ticket", "why"),
    [
        ("", "it has no ticket of this farm"),
        ("1800000000." + "0" * 64, "its ticket is not of this farm, or for another job"),
    ],
    ids=["none", "made up"],
)
def test_a_job_that_nobody_has_given_to_a_worker_is_not_taken_over(
    keyed: KeyedFarm, ticket: str, why: str
) -> None:
    coordinator, endpoint = keyed.coordinator()
    with as_peer(keyed, endpoint, "worker", "worker") as thief:
        held = {"id": "made up", "stage_key": GRAPH, "graph_key": GRAPH, "stage": STAGE, "ticket": ticket}
        thief.say("job_held", job=held)
        assert thief.hear() == ("cancel_job", {"id": "made up", "reason": why})
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_claims_refused_total") == 1
    assert keyed.counts(endpoint, "jobs_adopted") == (0,)


@pytest.mark.parametrize(
    ("quota", "bound", "heights", "why"),
    [
        ("jobs", ("--jobs-per-key", "1"), 2, "the clients of this key have as many jobs as they may"),
        (
            "lookups",
            ("--lookups-per-key", "1"),
            40,
            "the clients of this key have asked as often as they may",
        ),
    ],
)
def test_who_asks_for_more_than_his_share_is_told_to_come_again(
    keyed: KeyedFarm, quota: str, bound: tuple[str, str], heights: int, why: str
) -> None:
    coordinator, endpoint = keyed.coordinator(*bound)
    heard: list[dict[str, Any]] = []
    with as_peer(keyed, endpoint, "alice", "client") as alice:
        for number in range(heights):
            alice.say("lookup", graph_key=f"{number:064x}", stages=[STAGE], target={"torch": "1"}, name="m")
        while not heard:
            what, fields = alice.hear()
            if what == "stage_failed":
                heard.append(fields)
    assert (heard[0]["code"], why in heard[0]["reason"]) == ("busy", True), heard[0]
    assert heard[0]["retry_ms"] > 0
    name = f'fxfarm_quota_refusals_total{{what="{quota}"}}'
    assert keyed.metric(coordinator, "coordinator ready", name) >= 1


def test_who_sends_more_of_graphs_than_his_share_is_told_to_come_again(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator("--graph-bytes-per-key", "1000")
    with as_peer(keyed, endpoint, "alice", "client") as alice:
        alice.say("lookup", graph_key=GRAPH, stages=[STAGE], target={"torch": "1"})
        assert alice.hear() == ("need_graph", {"graph_key": GRAPH})
        alice.say("submit", graph_key=GRAPH, attached=b"x" * 1001)
        what, fields = alice.hear()
    assert (what, fields["code"]) == ("stage_failed", "busy")
    assert fields["reason"] == "the clients of this key have as many graph bytes here as they may"
    name = 'fxfarm_quota_refusals_total{what="graph_bytes"}'
    assert keyed.metric(coordinator, "coordinator ready", name) == 1


@pytest.mark.parametrize("file", ["server.key_secret", "authorized"])
def test_a_file_that_others_could_have_read_or_written_is_refused(keyed: KeyedFarm, file: str) -> None:
    path = keyed.directory / file
    path.chmod(0o666)
    done = keyed.farm.command(
        *("coordinator", "--listen", "tcp://127.0.0.1:0", "--metrics", "off"),
        *("--server-key", keyed.secret("server"), "--authorized-keys", str(keyed.authorized)),
    )
    assert done.returncode != 0
    mend = {"server.key_secret": f"is open to other users; run: chmod 600 {path}"}
    assert mend.get(file, f"may be written by other users; run: chmod go-w {path}") in done.stderr


def test_a_file_of_keys_that_others_can_write_to_by_now_changes_nothing(keyed: KeyedFarm) -> None:
    """Whoever has written to it meanwhile has given himself no right."""
    coordinator, endpoint = keyed.coordinator()
    reads = 'fxfarm_authorized_keys_reads_total{{outcome="{}"}}'.format
    written = keyed.authorized.with_suffix(".new")
    written.write_text(keyed.authorized.read_text() + f"operator * {keyed.public['stranger']} me\n")
    written.chmod(0o666)
    written.replace(keyed.authorized)
    until("it is refused", lambda: keyed.metric(coordinator, "coordinator ready", reads("refused")) == 1)
    assert "may be written by other users" in coordinator.wait_line("authorized keys stay as they were")
    assert keyed.metric(coordinator, "coordinator ready", "fxfarm_authorized_keys") == 3
    done = keyed.farm.command("status", "--endpoint", endpoint, *keyed.link("stranger"))
    assert done.returncode == 1 and "does not know the key" in done.stderr
    assert keyed.refused(coordinator, "unknown_key") >= 1
    # An operator who closes it has it read as it is.
    keyed.write()
    keyed.authorized.chmod(0o600)
    assert keyed.ask("status", endpoint)["role"] == "coordinator"


def test_a_half_written_file_of_keys_takes_no_rights_away(keyed: KeyedFarm) -> None:
    """Whoever can make an operator's editor fail must not thereby lock a farm's peers out."""
    coordinator, endpoint = keyed.coordinator()
    reads = 'fxfarm_authorized_keys_reads_total{outcome="refused"}'
    whole = keyed.authorized.read_text()
    with as_peer(keyed, endpoint, "alice", "client") as alice:
        for refused, half in enumerate(
            ("", whole[: whole.index(keyed.public["worker"]) - 12].rstrip("\n")), 1
        ):
            keyed.authorized.write_text(half)
            until(
                "it is refused", lambda n=refused: keyed.metric(coordinator, "coordinator ready", reads) == n
            )
        said = coordinator.wait_line("its last line has no end; it is perhaps half written")
        assert "authorized keys stay as they were" in said
        alice.say("lookup", graph_key=GRAPH, stages=[STAGE], target={"torch": "1"})
        assert alice.hear()[0] == "need_graph"
        assert keyed.metric(coordinator, "coordinator ready", "fxfarm_authorized_keys") == 3
        # Written to its end, it counts, in place or not.
        keyed.authorized.write_text("\n".join(line for line in whole.split("\n") if "alice" not in line))
        assert alice.hear()[0] == "rejected"
    assert refusals(keyed, coordinator) == {"revoked": 1}
