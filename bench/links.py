"""What bench/dispatch.py and bench/fanout.py share: a coordinator that holds artifacts, a plain ZeroMQ peer,
and the load of bench/micro/link_load.cpp that both of them get.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness

LOAD_S_MAX = 120.0


@functools.cache
def program() -> str:
    """bench/micro/link_bench.cpp, built once for all that this process measures."""
    return str(harness.micro_program("fxfarm_link_bench"))


@functools.cache
def grpc_program() -> str:
    """bench/micro/grpc_bench.cpp, likewise."""
    return str(harness.micro_program("fxfarm_grpc_bench"))


def words(**values: object) -> list[str]:
    """KEY=VALUE for each of them, as bench/micro/link_bench.cpp reads them."""
    return [f"{key}={value}" for key, value in values.items()]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int, field: str) -> int:
    """Of /proc/PID/status: "VmHWM" is the most memory that was resident, "VmRSS" what is."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} of process {pid}")


def free_port() -> int:
    """A port of the loopback address that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Peer:
    """A process that answers, and where."""

    def __init__(
        self, pid: int, endpoint: str, *, load: Callable[[], str] = program, **asked: object
    ) -> None:
        self.pid = pid
        self.endpoint = endpoint
        self.asked = asked
        """What the load has to know of it."""
        self._load = load

    def load(self, **shape: object) -> dict[str, Any]:
        """What its load's program tells of one, with "per_second" and each end's processor time
        of an answer, "load_us" and "peer_us". Raises subprocess.CalledProcessError.
        """
        command = [self._load(), "load"]
        command += words(endpoint=self.endpoint, **self.asked, **shape)
        before = cpu_seconds(self.pid)
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LOAD_S_MAX, check=True)
        spent = cpu_seconds(self.pid) - before
        found: dict[str, Any] = json.loads(done.stdout)
        answers = found["answers"]
        return {
            **found,
            "per_second": answers / found["seconds"],
            "load_us": found["cpu_seconds"] / answers * 1e6,
            "peer_us": spent / answers * 1e6,
        }


@contextlib.contextmanager
def coordinator(place: harness.Place, transport: str, graphs: int, artifact_bytes: int) -> Iterator[Peer]:
    """A coordinator that holds so many artifacts in memory; "tcp" is loopback."""
    endpoint = f"ipc://{place.fresh('socket')}/farm"
    if transport == "tcp":
        endpoint = f"tcp://127.0.0.1:{free_port()}"
    role = ("coordinator", "--listen", endpoint, "--cache-bytes", "0", "--metrics", "off")
    # What it can do is measured, not what it lets one client have.
    unbounded = ("--lookups-per-key", "10000000", "--messages-per-key", "100000000")
    with harness.farm_process(place, *role, *unbounded) as pid:
        fill = words(endpoint=endpoint, graphs=graphs, artifact_bytes=artifact_bytes)
        subprocess.run([program(), "fill", *fill], check=True)
        yield Peer(pid, endpoint, peer="farm", graphs=graphs, artifact_bytes=artifact_bytes)


@contextlib.contextmanager
def plain_peer(
    place: harness.Place,
    transport: str,
    *,
    request_bytes: int,
    answer_bytes: int,
    piece_bytes: int = 0,
    messages_max: int = 0,
) -> Iterator[Peer]:
    """A ROUTER that answers with so many bytes, in messages of `piece_bytes` (0: in one)."""
    listen = f"ipc://{place.fresh('socket')}/plain" if transport == "ipc" else "tcp://127.0.0.1:*"
    shape = words(
        endpoint=listen, answer_bytes=answer_bytes, piece_bytes=piece_bytes, messages_max=messages_max
    )
    with _answering([program(), "plain", *shape]) as (pid, endpoint):
        yield Peer(pid, endpoint, peer="plain", request_bytes=request_bytes, answer_bytes=answer_bytes)


@contextlib.contextmanager
def grpc_peer(
    place: harness.Place, transport: str, *, request_bytes: int, answer_bytes: int
) -> Iterator[Peer]:
    """gRPC's asynchronous server, which answers a unary call with so many bytes."""
    listen = f"unix:{place.fresh('socket')}/grpc" if transport == "ipc" else "127.0.0.1:0"
    shape = words(endpoint=listen, answer_bytes=answer_bytes)
    with _answering([grpc_program(), "serve", *shape]) as (pid, endpoint):
        yield Peer(pid, endpoint, load=grpc_program, request_bytes=request_bytes, answer_bytes=answer_bytes)


@contextlib.contextmanager
def _answering(command: list[str]) -> Iterator[tuple[int, str]]:
    """A program that prints where it listens and runs until its input ends: its process id, and where."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        endpoint = process.stdout.readline().strip()
        if not endpoint:
            raise RuntimeError(f"{Path(command[0]).name} did not start")
        yield process.pid, endpoint
    finally:
        process.stdin.close()
        process.wait(harness.FARM_STOP_S_MAX)
        process.stdout.close()
