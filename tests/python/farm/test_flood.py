"""Many peers at once that send rubbish, half a handshake or nothing, while a client is served."""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import DEADLINE_S, Farm, until
from echo_farm import Asking, echo_farm_in, next_line
from programs import Role
from zmtp import GREETING, Dealer

PEERS = 50
"""Of each kind."""
GRAPHS = 100
GROWTH_BYTES = 256 << 20
"""What the coordinator may take more of memory, for all of them."""


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
    before, refused_before = resident_bytes(coordinator.pid), rejected(farm, coordinator)
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
    assert resident_bytes(coordinator.pid) - before < GROWTH_BYTES
