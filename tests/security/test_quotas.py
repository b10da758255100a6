"""Who has a key and sends more than its share, or comes more often: he is refused in the words and in the
count that docs/security.md tells, others are served as before, and ordinary work is not refused.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import DEADLINE_S, Farm, farm_in, until
from curve_peer import CurvePeer
from echo_farm import PLATFORM, Asking, echo_farm_in, next_line
from keyed_farm import KeyedFarm
from programs import Role

from fxfarm import _core

STAGE: dict[str, Any] = {"name": "default", "options": {}}
SENT = 20_000
"""Far more than could come back of a quota of MESSAGES while they are sent."""
MESSAGES = 50
GRAPHS = 100
IN_WORDS = 16
"""Connections of a key past its quota that get so far as to be told so."""


@pytest.fixture
def keyed(place: Path) -> Iterator[KeyedFarm]:
    with farm_in(place) as farm:
        made = KeyedFarm(farm)
        made.make("bob")
        made.allow(bob=("client", "team-b"))
        yield made


@pytest.fixture
def farm(place: Path) -> Iterator[Farm]:
    with echo_farm_in(place) as made:
        yield made


def as_client(keyed: KeyedFarm, endpoint: str, name: str) -> CurvePeer:
    return CurvePeer(endpoint, keyed.secret(name), keyed.public["server"], "client")


def asks(peer: CurvePeer, number: int) -> None:
    peer.say("lookup", graph_key=f"{number:064x}", stages=[STAGE], target={"torch": "1"}, name="m")


def quota(keyed: KeyedFarm, coordinator: Role, what: str) -> int:
    name = f'fxfarm_quota_refusals_total{{what="{what}"}}'
    return int(keyed.metric(coordinator, "coordinator ready", name))


def rejected(keyed: KeyedFarm, coordinator: Role, reason: str) -> int:
    name = f'fxfarm_link_rejected_total{{reason="{reason}"}} '
    page = keyed.farm.scrape(coordinator.fact("coordinator ready", "metrics"))
    return sum(int(row.removeprefix(name)) for row in page.splitlines() if row.startswith(name))


def test_who_sends_more_messages_than_his_share_is_told_to_come_again_and_then_not_read(
    keyed: KeyedFarm,
) -> None:
    coordinator, endpoint = keyed.coordinator("--messages-per-key", str(MESSAGES))
    with as_client(keyed, endpoint, "alice") as alice, as_client(keyed, endpoint, "bob") as bob:
        assert (alice.greeting[0], bob.greeting[0]) == ("welcome", "welcome")
        # Not twice as many as he may in a second: each is answered.
        few = 2 * MESSAGES - 10
        for number in range(few):
            asks(alice, number)
        told = [alice.hear() for _ in range(few)]
        assert {what for what, _ in told} == {"need_graph", "stage_failed"}
        busy = [fields for what, fields in told if what == "stage_failed"]
        for fields in busy:
            assert fields["code"] == "busy"
            assert fields["reason"] == "the peers of this key have sent as many messages as they may"
            assert fields["retry_ms"] >= 1000
        assert quota(keyed, coordinator, "messages") == len(busy)
        assert keyed.counts(endpoint, "lookups") == (few - len(busy),)

        for number in range(few, SENT):
            asks(alice, number)
        asks(bob, SENT)
        assert bob.hear() == ("need_graph", {"graph_key": f"{SENT:064x}"}), "he has his own"
        while (heard := alice.hear())[0] != "rejected":
            pass
        assert heard[1] == {
            "code": "busy",
            "reason": f"the peers of this key send more than {MESSAGES} messages in a second",
        }, "the first of them, and in the words of the link's end"

        # Each is accounted for: looked for, refused, or come after the link's end and within again.
        def fate() -> tuple[int, int, int]:
            (lookups,) = keyed.counts(endpoint, "lookups")
            late = rejected(keyed, coordinator, "protocol")
            return lookups - 1, quota(keyed, coordinator, "messages"), late

        until("every message has been counted", lambda: sum(fate()) == SENT)
        looked_for, refused, _ = fate()
        assert MESSAGES - 2 <= looked_for < SENT / 10
        assert refused > SENT / 2
        # The link was closed once. Who has the same key comes in at once.
        assert rejected(keyed, coordinator, "busy") == 1
        assert comes_in(keyed, endpoint)
    assert (quota(keyed, coordinator, "lookups"), quota(keyed, coordinator, "connections")) == (0, 0)


def test_who_floods_is_hung_up_on_and_not_who_else_has_the_key(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator("--messages-per-key", str(MESSAGES))
    with as_client(keyed, endpoint, "alice") as floods, as_client(keyed, endpoint, "alice") as other:
        for number in range(SENT):
            asks(floods, number)
            if number == SENT - 100:
                asks(other, SENT)
        while floods.hear()[0] != "rejected":
            pass
        assert other.hear()[0] in ("need_graph", "stage_failed")
        assert rejected(keyed, coordinator, "busy") == 1


def test_a_stranger_to_the_protocol_who_has_a_key_is_not_answered_without_end(keyed: KeyedFarm) -> None:
    """Garbage that could be read, from a peer without hello: each message used to be worth an answer."""
    coordinator, endpoint = keyed.coordinator("--messages-per-key", str(MESSAGES))
    with as_client(keyed, endpoint, "alice") as alice:
        alice.say("goodbye", reason="no peer any longer")
        for _ in range(SENT):
            alice.say("no such message")
        counted = ("protocol", "busy")

        def fate() -> int:
            answered = sum(rejected(keyed, coordinator, reason) for reason in counted)
            return answered + quota(keyed, coordinator, "messages")

        until("every message has been counted", lambda: fate() == SENT)
        assert quota(keyed, coordinator, "messages") > SENT / 2
        assert rejected(keyed, coordinator, "busy") == 0


def test_who_comes_too_often_is_not_let_in_and_others_are(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator("--connections-per-key", "3")
    with contextlib.ExitStack() as connected:
        peers = [connected.enter_context(as_client(keyed, endpoint, "alice")) for _ in range(3)]
        assert [p.greeting[0] for p in peers] == ["welcome"] * 3
        for tried in range(1, 11):
            with as_client(keyed, endpoint, "alice") as refused:
                why = "no more than 3 peers of one key"
                assert refused.greeting == ("rejected", {"code": "busy", "reason": why})
            assert quota(keyed, coordinator, "connections") == tried
        assert rejected(keyed, coordinator, "busy") == 10
        with as_client(keyed, endpoint, "bob") as bob:
            assert bob.greeting[0] == "welcome"
        # Those who are in are served, and one who leaves makes room.
        asks(peers[0], 1)
        assert peers[0].hear()[0] == "need_graph"
        peers[1].say("goodbye", reason="done")
        until("there is room", lambda: comes_in(keyed, endpoint))
    assert quota(keyed, coordinator, "messages") == 0


def connections(endpoint: str) -> int:
    """At the coordinator's end, established, whoever they are."""
    port = int(endpoint.rsplit(":", 1)[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_who_holds_connections_without_a_word_has_no_more_and_is_hung_up_on(keyed: KeyedFarm) -> None:
    coordinator, endpoint = keyed.coordinator("--connections-per-key", "3")
    most, tried = 3 + IN_WORDS, 40

    def silent(name: str) -> CurvePeer:
        return CurvePeer(endpoint, keyed.secret(name), keyed.public["server"])

    with contextlib.ExitStack() as connected:
        alices = [connected.enter_context(silent("alice")) for _ in range(tried)]
        until("the rest is refused", lambda: quota(keyed, coordinator, "connections") == tried - most)
        until("they are hung up on", lambda: connections(endpoint) == most)
        with as_client(keyed, endpoint, "bob") as bob:
            assert bob.greeting[0] == "welcome", "he has his own"

            def all_are_hung_up_on() -> bool:
                bob.say("heartbeat")
                return keyed.refused(coordinator, "no_hello") == most

            # Each of those who got in has as long as a handshake and a hello may take, and no longer.
            until("all are hung up on", all_are_hung_up_on)
            until("only bob is left", lambda: connections(endpoint) == 1)
            asks(bob, 1)
            assert bob.hear()[0] == "need_graph"
            until("there is room", lambda: comes_in(keyed, endpoint))
        assert len(alices) == tried
    assert quota(keyed, coordinator, "connections") == tried - most
    assert keyed.refused(coordinator, "unknown_key") == 0


def test_who_is_refused_or_has_left_is_hung_up_on(keyed: KeyedFarm) -> None:
    """Whether it goes by itself or not: it used to keep its connection, and what it sent was received."""
    coordinator, endpoint = keyed.coordinator()
    with (
        as_client(keyed, endpoint, "alice") as stays,
        CurvePeer(endpoint, keyed.secret("alice"), keyed.public["server"]) as leaves,
        CurvePeer(endpoint, keyed.secret("bob"), keyed.public["server"]) as refused,
    ):
        leaves.greet("client")
        assert leaves.greeting[0] == "welcome"
        refused.say("lookup", graph_key="0" * 64, stages=[STAGE])
        assert refused.hear()[0] == "rejected"
        leaves.say("goodbye", reason="done")

        def one_is_left() -> bool:
            stays.say("heartbeat")
            return connections(endpoint) == 1

        until("one is left", one_is_left)
        asks(stays, 1)
        assert stays.hear()[0] == "need_graph"
    assert keyed.refused(coordinator, "no_hello") == 1


def test_many_clients_that_find_their_coordinator_again_are_slowed_and_not_hung_up_on(farm: Farm) -> None:
    """Ranks of a job behind one key, each with all of its graphs open: together they ask for far more than
    the key may at once. Before, each asked for all of them, and most of the links were closed for it.
    """
    ranks, graphs, a_second = 20, 100, 400
    assert ranks * graphs > 2 * a_second
    assert farm.control is not None
    farm.control.on("wait")
    keyed = KeyedFarm(farm)
    first, endpoint = keyed.coordinator()
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    clients = [
        _core.Client(
            endpoints=[endpoint], key=keyed.secret("alice"), server_public_key=[keyed.public["server"]]
        )
        for _ in range(ranks)
    ]
    stage: Any = {"name": "default", "options": {"stage": '"default"'}}
    for client in clients:
        for number in range(graphs):
            graph = f"graph-{number}".encode()
            client.submit(_core.digest(graph), f"g{number}", graph, [stage], PLATFORM)
    until("all are open", lambda: keyed.counts(endpoint, "lookups")[0] >= ranks * graphs)
    farm.control.on("compile")
    first.kill()
    second, endpoint = keyed.coordinator(
        "--messages-per-key", str(a_second), port=int(endpoint.rsplit(":", 1)[1])
    )
    farm.control.open_gate()
    for client in clients:
        for _ in range(graphs):
            task = client.next_task(int(DEADLINE_S * 1000))
            assert task is not None, client.graphs()
            task.done()
    # No link that was up has been closed, and no hello refused.
    assert [client.stats()["farms_lost"] for client in clients] == [1] * ranks, "the first coordinator"
    assert rejected(keyed, second, "busy") == 0
    assert keyed.counts(endpoint, "jobs_finished", "jobs_failed") == (graphs, 0)
    assert quota(keyed, second, "messages") > 0, "they were slowed"
    for client in clients:
        client.stop()


def comes_in(keyed: KeyedFarm, endpoint: str) -> bool:
    with as_client(keyed, endpoint, "alice") as peer:
        return bool(peer.greeting[0] == "welcome")


def test_ordinary_work_is_far_from_the_quota(farm: Farm) -> None:
    """A client says about five messages for each graph, with two stages, and a worker one for each job: at a
    fiftieth of what they may neither they nor an operator who asks all the time is refused anything.
    """
    keyed = KeyedFarm(farm)
    _, endpoint = keyed.coordinator("--messages-per-key", "2000", "--connections-per-key", "2")
    keyed.worker(endpoint)
    keyed.until_worker(endpoint)
    (before,) = keyed.counts(endpoint, "link_messages_received")
    client = _core.Client(
        endpoints=[endpoint], key=keyed.secret("alice"), server_public_key=[keyed.public["server"]]
    )
    stages: Any = [{"name": name, "options": {"stage": f'"{name}"'}} for name in ("default", "max-autotune")]
    for number in range(GRAPHS):
        graph = f"graph-{number}".encode()
        client.submit(_core.digest(graph), f"g{number}", graph, stages, PLATFORM)
    questions = 1  # the one from before has said goodbye since
    for taken in range(2 * GRAPHS):
        task = client.next_task(int(DEADLINE_S * 1000))
        assert task is not None, client.graphs()
        task.done()
        if taken % 10 == 0:
            keyed.ask("status", endpoint)
            questions += 1
    client.stop()
    until("every job is counted", lambda: keyed.counts(endpoint, "jobs_finished") == (2 * GRAPHS,))
    stats = keyed.ask("stats", endpoint)["values"]
    refused = {name: n for name, n in stats.items() if name.startswith(("quota_refusals", "link_rejected"))}
    assert "quota_refusals_messages" in refused
    assert set(refused.values()) == {0}, refused
    # Each command says hello, its question and goodbye; beside these there are heartbeats, leases and offers,
    # which come with engines that begin and end.
    said = stats["link_messages_received"] - before - 3 * questions
    assert said <= (5 + 2 + 2) * GRAPHS + 100


def test_a_client_that_asks_too_much_is_served_a_little_later(farm: Farm) -> None:
    """What it is refused it asks for again, and a link that was closed it opens again."""
    _, endpoint = farm.coordinator("--messages-per-key", "60")
    farm.worker(endpoint, slots=2)
    farm.until_workers(endpoint)
    heard: queue.Queue[str] = queue.Queue()
    client = Asking(farm, [endpoint], 0, GRAPHS, heard)
    until("the client has what it asked for", lambda: next_line(heard) == f"settled {GRAPHS}")
    assert client.leave() == 0
    names = ("jobs_finished", "jobs_failed")
    until("every job is counted", lambda: farm.counts(endpoint, *names) == (2 * GRAPHS, 0))
    assert farm.counts(endpoint, "quota_refusals_messages")[0] >= 1
