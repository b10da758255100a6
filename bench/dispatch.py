"""Cached lookups through one coordinator: round trips per second and their latency, beside a plain ZeroMQ
echo, gRPC's, Ray's actor calls and Dask's tasks.

    python bench/dispatch.py [--rounds 3] [--seconds 1.5] [--no-others] [--json FILE]

The coordinator is a process of its own with artifacts of 256 bytes in memory. The plain peer is a ROUTER
that answers a message as long as the lookup with one as long as the two that bring an artifact. Both get the
same load, of bench/micro/link_load.cpp: raw DEALER sockets in one thread, which do not decode what they get,
so that little of the machine goes to asking; "load_us" and "peer_us" are both ends' processor time for one
round trip. gRPC's peer is its asynchronous C++ server with one thread, and a client of its own with one, of
bench/micro/grpc_bench.cpp; both send bytes that nothing parses.
Ray and Dask are installed into build/bench/venv, and are left out where they cannot be had.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import facts
import harness
import links
import results

CONNECTIONS = (1, 4, 16)
OUTSTANDING = 512
"""Of all connections together."""
GRAPHS = 64
ARTIFACT_BYTES = 256
RATE_RATIO_MIN = 0.35
WAIT_RATIO_MAX = 2.5
OTHERS = ("ray", "dask")
OTHERS_S_MAX = 300.0
ROOT = Path(__file__).resolve().parent.parent


def row_of(transport: str, connections: int, outstanding: int, peer: str) -> dict[str, Any]:
    """A row without its rounds."""
    return {
        **{"peer": peer, "transport": transport, "connections": connections, "outstanding": outstanding},
        **{name: [] for name in ("per_second", "p50_us", "p99_us", "load_us", "peer_us")},
    }


def add_round(row: dict[str, Any], found: dict[str, Any]) -> None:
    """What one load told."""
    for name in ("per_second", "load_us", "peer_us"):
        if name in found:
            row[name].append(found[name])
    if found["waits_us"]:
        row["p50_us"].append(results.percentile(found["waits_us"], 50))
        row["p99_us"].append(results.percentile(found["waits_us"], 99))


def side_by_side(
    transport: str, rounds: int, seconds: float, *, with_grpc: bool
) -> Iterator[list[dict[str, Any]]]:
    """Rows of farm, plain peer and gRPC for each number of connections, and alone; rounds in turns."""
    with harness.Place() as place, links.coordinator(place, transport, GRAPHS, ARTIFACT_BYTES) as farm:
        first = farm.load(connections=1, outstanding=1, seconds=0.1)
        sizes = {name: first[name] for name in ("request_bytes", "answer_bytes")}
        with contextlib.ExitStack() as running:
            peers = {"fxfarm": farm}
            peers["plain ZeroMQ"] = running.enter_context(links.plain_peer(place, transport, **sizes))
            if with_grpc:
                peers["gRPC"] = running.enter_context(links.grpc_peer(place, transport, **sizes))
            for connections, outstanding in [(1, 1), *((n, OUTSTANDING) for n in CONNECTIONS)]:
                rows = [row_of(transport, connections, outstanding, name) for name in peers]
                for _ in range(rounds):
                    for row, peer in zip(rows, peers.values(), strict=True):
                        add_round(
                            row, peer.load(connections=connections, outstanding=outstanding, seconds=seconds)
                        )
                yield [{**row, **sizes} for row in rows]


def others_python() -> Path | None:
    """An interpreter that has Ray and Dask; None when they cannot be installed."""
    venv = ROOT / "build/bench/venv"
    python = venv / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], stdout=sys.stderr, check=True)
    wanted = Path(__file__).with_name("dispatch_requirements.txt")
    install = [str(ROOT / "scripts/install-locked"), str(python), str(wanted)]
    done = subprocess.run(install, stdout=sys.stderr, check=False)
    return python if done.returncode == 0 else None


def other(python: Path, way: str, seconds: float, sizes: dict[str, int]) -> dict[str, Any]:
    """A row of Ray or Dask. Raises subprocess.CalledProcessError."""
    program = Path(__file__).with_name("dispatch_peers.py")
    shape = (str(seconds), str(sizes["request_bytes"]), str(sizes["answer_bytes"]))
    done = subprocess.run(
        [str(python), str(program), way, *shape], stdout=subprocess.PIPE, timeout=OTHERS_S_MAX, check=True
    )
    row = row_of("own", 1, 256, way)
    add_round(row, json.loads(done.stdout.splitlines()[-1]))
    return {**row, **sizes}


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a ratio to the plain echo is past its target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--no-others", action="store_true", help="leave out gRPC, Ray and Dask")
    options = parser.parse_args(argv)
    report = results.Report("dispatch")
    sizes: dict[str, int] = {}
    for transport in ("tcp", "ipc"):
        for rows in side_by_side(transport, options.rounds, options.seconds, with_grpc=not options.no_others):
            for row in rows:
                report.add(**row)
            farm, plain = rows[:2]
            sizes = {name: farm[name] for name in ("request_bytes", "answer_bytes")}
            where = f"{transport}, {farm['connections']} connections"
            if farm["outstanding"] == 1:
                waits = [f / p for f, p in zip(farm["p50_us"], plain["p50_us"], strict=True)]
                report.hold(f"{transport}: times the echo's p50, alone", waits, WAIT_RATIO_MAX)
            else:
                rates = [f / p for f, p in zip(farm["per_second"], plain["per_second"], strict=True)]
                report.reach(f"{where}: part of the echo's round trips", rates, RATE_RATIO_MIN)
    python = None if options.no_others else others_python()
    if python is not None:
        report.document["versions"] |= facts.packages(("ray", "distributed"), str(python))
        for way in OTHERS:
            report.add(**other(python, way, 2 * options.seconds, sizes))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
