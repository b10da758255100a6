"""Many clients that want the same: 64 processes that ask for 5 graphs at once, and one artifact of 10 MiB
that one coordinator serves to 64 clients, beside plain ZeroMQ.

    python bench/fanout.py [--clients 64] [--graphs 5] [--compile-seconds 0,1] [--mib 10] [--rounds 3]
        [--seconds 5] [--json FILE]

"asking": processes with the Python package's client, without torch, and 4 workers with engines of the tests
that take a time as given for each stage. A client's time is from the common start to its first stage. With
engines that take none, it is mostly what the machine needs to run all of the clients once, and the bound is
not held against that: it is a choice of this benchmark to hold it where a stage takes a second or more.

"serving": raw DEALER sockets in one process (bench/micro/link_load.cpp) give credit as a client does, and
neither copy nor check what they get, since that is each client's own time on its own machine. The plain peer
is a ROUTER that sends as many bytes in messages of a chunk's size, with a credit window of them under way to
each peer. Another client has no other work than to hear heartbeats, and gives up when two are late.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import links
import results

WORKERS = 4
LAST_RATIO_MAX = 1.2
COMPILE_S_MIN = 1.0
"""The ratio is about compiles, not about so many processes' start on one machine."""
BYTES_RATIO_MIN = 0.7
MIB = 2**20
# As in runtime/limits.hpp.
CHUNK_BYTES = 256 * 1024
CREDIT_BYTES_WINDOW = 4 * MIB
PLATFORM = {
    **{"torch": "2.13.0", "python": "3.11", "triton": "", "arch": "x86_64", "isa": "x86-64-v3"},
    **{"threads": 1, "device": "cpu", "gpu": "", "gpu_driver": ""},
}
TESTS = Path(__file__).resolve().parent.parent / "tests/python/farm"
MEET_S_MAX = 120.0


def echo_client() -> Any:
    """The client of the tests, which checks what it gets."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    return importlib.import_module("echo_client")


def ask_when_told(endpoint: str, meeting: str, number: int, graphs: int) -> dict[str, float]:
    """One client: times (CLOCK_MONOTONIC) of its first stage, and of the last stage of its last graph."""
    asker = echo_client().Asker([endpoint], PLATFORM)
    with Path(meeting, "start").open("rb") as start:
        Path(meeting, str(number)).touch()
        start.read()  # ends for all clients at once
    for graph in range(graphs):
        asker.submit(graph)
    asker.take()
    first = time.monotonic()
    while asker.settled < graphs:  # stages that a better one has overtaken do not come
        asker.take()
    last = time.monotonic()
    asker.stop()
    return {"first": first, "last": last}


def engine_of(place: harness.Place, compile_seconds: float) -> str:
    """A script that starts the tests' engine where an interpreter is expected."""
    directory = Path(place.fresh("engine"))
    import msgpack

    (directory / "platform").write_bytes(msgpack.packb(PLATFORM))
    if compile_seconds > 0:
        (directory / "any").write_text(f"take {compile_seconds}")
    script = directory / "python"
    engine = TESTS / "echo_engine.py"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{engine}" "{directory}" "{directory}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def asked(place: harness.Place, endpoint: str, what: str) -> dict[str, Any]:
    """A coordinator's answer to `fxfarm WHAT`. Raises subprocess.CalledProcessError."""
    command = [harness.fxfarm_program(), what, "--json", "--endpoint", endpoint]
    done = subprocess.run(command, env=place.environment(), stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def compiles(metrics: str, stage: str) -> int:
    """How many results of a stage's jobs a coordinator has had, by its metrics page."""
    with urllib.request.urlopen(f"http://{metrics}/metrics") as answer:
        page = answer.read().decode()
    found = re.search(rf'^fxfarm_compile_seconds_count\{{stage="{stage}"\}} (\d+)', page, re.MULTILINE)
    return int(found[1]) if found else 0


def asking(clients: int, graphs: int, compile_seconds: float) -> dict[str, Any]:
    """A row: times of all clients, and what the coordinator counted."""
    with harness.Place() as place, contextlib.ExitStack() as farm:
        endpoint = f"tcp://127.0.0.1:{links.free_port()}"
        quiet = ("--metrics", "off")
        metrics = f"127.0.0.1:{links.free_port()}"
        coordinator = ("coordinator", "--listen", endpoint, "--metrics", metrics)
        farm.enter_context(harness.farm_process(place, *coordinator))
        python = engine_of(place, compile_seconds)
        for number in range(WORKERS):
            role = ("worker", "--coordinators", endpoint, "--python", python, "--slots", "1")
            farm.enter_context(harness.farm_process(place, *role, "--name", f"w{number}", *quiet))

        def idle() -> bool:
            return [w["state"] for w in asked(place, endpoint, "status")["workers"]].count("idle") == WORKERS

        meeting = place.fresh("meeting")
        os.mkfifo(Path(meeting, "start"))
        # Both ends, so that nobody waits for the other; when it is closed, all readers see the end.
        start = os.open(Path(meeting, "start"), os.O_RDWR)
        children = [
            place.start(ask_when_told, endpoint=endpoint, meeting=meeting, number=n, graphs=graphs)
            for n in range(clients)
        ]

        def all_there() -> bool:
            return sum(1 for _ in Path(meeting).iterdir()) == clients + 1

        if not harness.wait_until(all_there, MEET_S_MAX) or not harness.wait_until(idle, MEET_S_MAX):
            raise RuntimeError("not every client and worker came")
        begin = time.monotonic()
        os.close(start)
        found = [child.result() for child in children]
        counted = asked(place, endpoint, "stats")["values"]
        stages = echo_client().STAGES
        return {
            **{"what": "asking", "clients": clients, "graphs": graphs, "compile_s": compile_seconds},
            "first_s": [one["first"] - begin for one in found],
            "last_s": [one["last"] - begin for one in found],
            **{name: int(counted.get(name, 0)) for name in ("jobs_started", "jobs_finished", "lookups")},
            **{f"jobs_{stage}": compiles(metrics, stage) for stage in stages},
        }


def serving(clients: int, size: int, rounds: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows of the farm and of plain ZeroMQ, whose rounds take turns."""
    shape: dict[str, object] = {"connections": clients, "outstanding": clients, "seconds": seconds}
    with harness.Place() as place, links.coordinator(place, "tcp", 1, size) as farm:
        before = links.memory_bytes(farm.pid, "VmRSS")
        plain_shape = {"request_bytes": 320, "answer_bytes": size, "piece_bytes": CHUNK_BYTES}
        window = CREDIT_BYTES_WINDOW // CHUNK_BYTES
        with links.plain_peer(place, "tcp", **plain_shape, messages_max=window) as plain:
            lost = 0
            rows: list[dict[str, Any]] = []
            for name in ("fxfarm", "plain ZeroMQ"):
                rows.append({"what": "serving", "peer": name, "clients": clients, "mib_per_second": []})
            for _ in range(rounds):
                for row, peer in zip(rows, (farm, plain), strict=True):
                    found = peer.load(**shape)
                    row["mib_per_second"].append(found["received_bytes"] / found["seconds"] / MIB)
                    lost += found["watcher_lost"]
            counted = asked(place, farm.endpoint, "stats")["values"]
        rows[0]["peak_mib"] = links.memory_bytes(farm.pid, "VmHWM") / MIB
        rows[0]["before_mib"] = before / MIB
        rows[0]["lost"] = lost
        rows[0]["aborted"] = int(counted["link_streams_aborted"])
        rows[0]["rejected"] = int(counted.get("link_rejected", 0))
        return rows[0], rows[1]


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a target is missed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--graphs", type=int, default=5)
    parser.add_argument("--compile-seconds", default="0,1", help="what each stage takes an engine, listed")
    parser.add_argument("--mib", type=int, default=10, help="of the artifact")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each round of serving")
    options = parser.parse_args(argv)
    report = results.Report("fanout")
    for seconds in map(float, options.compile_seconds.split(",")):
        row = asking(options.clients, options.graphs, seconds)
        report.add(**row)
        once = all(row[f"jobs_{stage}"] == options.graphs for stage in echo_client().STAGES)
        report.demand(f"each of {options.graphs} graphs is compiled once per stage", once)
        if seconds >= COMPILE_S_MIN:
            ratio = max(row["first_s"]) / min(row["first_s"])
            report.hold("the last client's first stage, times the first's", [ratio], LAST_RATIO_MAX)
    size = options.mib * MIB
    farm, plain = serving(options.clients, size, options.rounds, options.seconds)
    report.add(**farm)
    report.add(**plain)
    rates = [f / p for f, p in zip(farm["mib_per_second"], plain["mib_per_second"], strict=True)]
    report.reach("part of plain ZeroMQ's bytes per second", rates, BYTES_RATIO_MIN)
    # A client's stream has at most a window under way, and one chunk is about to be sent.
    each = min(CREDIT_BYTES_WINDOW, size) + CHUNK_BYTES
    bound = farm["before_mib"] + options.clients * each / MIB
    report.hold("peak MiB of the coordinator", [farm["peak_mib"]], bound)
    faults = farm["lost"] + farm["aborted"] + farm["rejected"]
    report.demand("heartbeats in time, no stream given up, no peer rejected", faults == 0)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
