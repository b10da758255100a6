"""Many peers at once that send rubbish, half a handshake or nothing, while a client is served."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest
from cluster import DEADLINE_S, Farm, until
from curve_peer import CurvePeer, envelope
from echo_farm import PLATFORM, Asking, echo_farm_in, next_line
from keyed_farm import KeyedFarm
from programs import Role
from zmtp import GREETING, Dealer

STAGE: dict[str, Any] = {"name": "default", "options": {}}

PEERS = 50
"""Of each kind."""
GRAPHS = 100


@pytest.fixture
def farm(place: Path) -> Iterator[Farm]:
    with echo_farm_in(place) as made:
        yield made


def resident_bytes(pid: int) -> int:
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


def rejected(farm: Farm, coordinator: Role) -> dict[str, int]:
    page = farm.scrape(coordinator.fact("coordinator ready", "metrics"))
    found = re.findall(r'fxfarm_link_rejected_total\{reason="(\w+)"\} (\d+)', page)
    return {reason: int(count) for reason, count in found}


def deep(levels: int) -> bytes:
    """A message of maps in maps."""
    return b"\x82\xa4type\xa5hello\xa4body" + b"\x81\xa1a" * levels + b"\xc0"


def test_who_floods_a_coordinator_is_refused_and_a_client_is_served(farm: Farm) -> None:
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint, slots=2)
    farm.until_workers(endpoint)
    port = int(endpoint.rsplit(":", 1)[1])
    refused_before = rejected(farm, coordinator)
    opened: list[socket.socket] = []
    stopping = threading.Event()
    messages = {
        "garbage": b"\xc1" * 1000,
        "deep": deep(100_000),
        "large": b"\x82\xa4type\xa5hello\xa4body\xda\xff\xff" + bytes(900 << 10),
    }

    def silent() -> None:
        opened.append(socket.create_connection(("127.0.0.1", port)))

    def half_open() -> None:
        silent()
        opened[-1].sendall(GREETING[:20])

    def noise() -> None:
        silent()
        # No longer: ZeroMQ's oldest framing, which has no greeting, would see messages in it.
        with contextlib.suppress(OSError):
            opened[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")

    def slow_loris(sockets: list[socket.socket]) -> None:
        for byte in GREETING:
            for s in sockets:
                with contextlib.suppress(OSError):
                    s.send(bytes((byte,)))
            if stopping.wait(0.05):
                return

    for connect in (silent, half_open, noise):
        for _ in range(PEERS):
            connect()
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(PEERS)]
    opened += slow
    loris = threading.Thread(target=slow_loris, args=(slow,))
    loris.start()
    heard: queue.Queue[str] = queue.Queue()
    client = Asking(farm, [endpoint], 0, GRAPHS, heard)
    for _ in range(PEERS):
        for body in messages.values():
            dealer = Dealer(port, DEADLINE_S)
            dealer.send(body)
            answer = dealer.receive()
            assert answer["type"] == "rejected"
            dealer.close()
    until("the client has what it asked for", lambda: next_line(heard) == f"settled {GRAPHS}")
    stopping.set()
    loris.join(DEADLINE_S)
    assert client.leave() == 0
    for s in opened:
        s.close()
    refused = rejected(farm, coordinator)
    counted = {reason: n - refused_before.get(reason, 0) for reason, n in refused.items()}
    assert sum(counted.values()) == PEERS * len(messages), counted
    names = ("jobs_finished", "jobs_failed")
    until("every job is counted", lambda: farm.counts(endpoint, *names) == (2 * GRAPHS, 0))


BOUNDS = {"--memory-bytes": 8 << 20, "--graph-bytes-per-key": 8 << 20, "--history-bytes": 4 << 20}
"""What a coordinator is told that it may keep: artifacts, the graphs of one key, lives of graphs."""
FLOODING = 4
"""Clients that flood it together; where keys are off, each has the quota of a key."""
REFUSED = 'fxfarm_quota_refusals_total{what="graph_bytes"}'
UNREAD_BYTES = 4096
GRAPH_BYTES = 30 << 10
"""As much as goes within a message."""
FLOOD_BYTES = 640 << 20
"""Of graphs, from all of them."""
BESIDES_BYTES = 224 << 20
"""For jobs, connections, and what is read and not yet looked at; a third of what is sent."""


class Flooding(Protocol):
    """A client that says what it likes and reads no answer."""

    def __call__(self, tag: str, /, attached: bytes = b"", **fields: Any) -> None: ...


def ask_for(says: Flooding, numbers: range) -> None:
    for number in numbers:
        says("lookup", graph_key=f"{number:064x}", stages=[STAGE], target=PLATFORM, name="flood")


def send_graphs(says: Flooding, numbers: range) -> None:
    for number in numbers:
        graph = number.to_bytes(8, "big") * (GRAPH_BYTES // 8)
        says("submit", attached=graph, graph_key=f"{number:064x}")


def all_of(peers: list[Flooding], what: Callable[[Flooding, range], None], each: int) -> None:
    """Has all of them do that at the same time, each for numbers of its own."""
    with ThreadPoolExecutor(len(peers)) as pool:
        for done in [pool.submit(what, p, range(i * each, (i + 1) * each)) for i, p in enumerate(peers)]:
            done.result()


@contextlib.contextmanager
def open_peers(port: int) -> Iterator[list[Flooding]]:
    """Without keys; they read their welcome and nothing more, and have little room for the rest."""
    with contextlib.ExitStack() as closing:
        peers: list[Flooding] = []
        for number in range(FLOODING):
            dealer = Dealer(port, DEADLINE_S, receive_bytes=UNREAD_BYTES)
            closing.callback(dealer.close)

            def say(tag: str, /, attached: bytes = b"", dealer: Dealer = dealer, **fields: Any) -> None:
                dealer.send(envelope(tag, attached, **fields))

            say("hello", magic="fxfarm", version=1, role="client", id=f"flood-{number}")
            assert dealer.receive()["type"] == "welcome"
            peers.append(say)
        yield peers


@contextlib.contextmanager
def keyed_peers(keyed: KeyedFarm, endpoint: str) -> Iterator[list[Flooding]]:
    with contextlib.ExitStack() as closing:
        server = keyed.public["server"]
        peers = [CurvePeer(endpoint, keyed.secret("alice"), server, "client") for _ in range(FLOODING)]
        yield [closing.enter_context(peer).say for peer in peers]


@pytest.mark.parametrize("keys", [False, True], ids=["keys off", "keys on"])
def test_a_flood_of_several_times_what_a_coordinator_may_keep_takes_no_more_than_that(
    farm: Farm, keys: bool
) -> None:
    keyed = KeyedFarm(farm) if keys else None
    flags = [str(part) for bound in BOUNDS.items() for part in bound]
    # Refused for their bytes, and not for their number before.
    flags += ["--lookups-per-key", "1000000", "--messages-per-key", "10000000", "--jobs-per-key", "1000000"]
    coordinator, endpoint = keyed.coordinator(*flags) if keyed else farm.coordinator(*flags)

    def counted(name: str) -> int:
        # By HTTP, which waits for no actor.
        page = farm.scrape(coordinator.fact("coordinator ready", "metrics"))
        rows = [row.rsplit(" ", 1) for row in page.splitlines() if row.startswith(name)]
        return sum(int(float(value)) for _, value in rows)

    each = FLOOD_BYTES // GRAPH_BYTES // FLOODING
    total = FLOODING * each
    port = int(endpoint.rsplit(":", 1)[1])
    with keyed_peers(keyed, endpoint) if keyed else open_peers(port) as peers:
        before = resident_bytes(coordinator.pid)
        all_of(peers, ask_for, each)
        until("all is asked for", lambda: counted("fxfarm_lookups_total") == total)
        all_of(peers, send_graphs, each)

        def looked_at() -> int:
            return counted(REFUSED) + counted("fxfarm_jobs_queued_total")

        until("each graph is kept or refused", lambda: looked_at() == total)
        grown = resident_bytes(coordinator.pid) - before
        refused = counted(REFUSED)
    assert refused > total // 2
    kept = BOUNDS["--graph-bytes-per-key"] * (1 if keys else FLOODING)
    allowed = kept + BOUNDS["--memory-bytes"] + BOUNDS["--history-bytes"] + BESIDES_BYTES
    assert 2 * allowed < FLOOD_BYTES
    assert grown < allowed, f"{grown >> 20} MiB more for {FLOOD_BYTES >> 20} MiB"
    until("an operator is answered", lambda: (keyed or farm).ask("status", endpoint)["role"] == "coordinator")
