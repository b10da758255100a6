"""What each part of a farm costs while nothing happens: processor time, memory and threads.

    python bench/idle.py [--seconds 30] [--threads] [--json FILE]

Processor time is the scheduler's own count of nanoseconds on a core (/proc/PID/task/*/schedstat), so other
load does not change it. "attached client" is a process whose model has been compiled by the farm and which
waits, and "client alone" the same without fxfarm; their difference is the client's share. --threads lists
each thread that ran.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

TARGET_PERCENT = 0.2
READY_S_MAX = 600.0
SETTLE_S = 5.0


def waiting_client(backend: str) -> None:
    """Compiles a small model and then waits to be ended."""
    import torch

    module, inputs, _ = harness.build("mlp")
    compiled = harness.compiled(module, backend)
    with torch.no_grad():
        compiled(*inputs)
        if backend == "fxfarm":
            import fxfarm

            if not fxfarm.wait(timeout=READY_S_MAX):
                raise RuntimeError(f"no compiled stage: {fxfarm.graphs()}")
        compiled(*inputs)
    harness.answer_now(None)
    threading.Event().wait()


def thread_ns(pid: int) -> dict[str, int]:
    """Nanoseconds that each thread has run, by its number and name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name = (task / "comm").read_text().strip()
            found[f"{task.name} {name}"] = int((task / "schedstat").read_text().split()[0])
    return found


def resident_mib(pid: int) -> float:
    """Resident memory, without what is mapped from files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def observe(parts: dict[str, int], seconds: float) -> list[dict[str, Any]]:
    """One row for each process, all watched at once."""
    before = {part: thread_ns(pid) for part, pid in parts.items()}
    begin = time.monotonic()
    time.sleep(seconds)
    taken = time.monotonic() - begin
    rows = []
    for part, pid in parts.items():
        after = thread_ns(pid)
        ran = {name: ns - before[part].get(name, 0) for name, ns in after.items()}
        rows.append(
            {
                "part": part,
                "cpu_percent": sum(ran.values()) / taken / 1e7,
                "rss_anon_mib": resident_mib(pid),
                "threads": len(after),
                "by_thread": [
                    f"{name}:{ns / taken / 1e7:.3f}" for name, ns in ran.items() if ns / taken / 1e7 >= 0.001
                ],
            }
        )
    return rows


def separate(seconds: float) -> list[dict[str, Any]]:
    """A coordinator, a worker with its engine, and clients, each a process."""
    with harness.Place() as place:
        socket = f"ipc://{place.root}/farm.sock"
        with (
            harness.farm_process(
                place, "coordinator", "--listen", socket, "--metrics", "127.0.0.1:0"
            ) as head,
            harness.farm_process(
                place,
                "worker",
                "--coordinators",
                socket,
                "--metrics",
                "127.0.0.1:0",
                "--python",
                sys.executable,
            ) as worker,
        ):
            variables = {"FXFARM_ENDPOINTS": socket, "FXFARM_LOCAL": "false"}
            clients = {
                "attached client": place.start(waiting_client, variables=variables, backend="fxfarm"),
                "client alone": place.start(waiting_client, backend="eager"),
            }
            parts = {"coordinator": head, "worker": worker}
            return observed_with(place, parts, clients, seconds)


def local(seconds: float) -> list[dict[str, Any]]:
    """A local farm with one client that it was started by."""
    with harness.Place() as place:
        clients = {"client of a local farm": place.start(waiting_client, backend="fxfarm")}
        clients["client of a local farm"].wait_answered(READY_S_MAX)
        return observed_with(place, {"local farm": place.farms()[0]}, clients, seconds)


def observed_with(
    place: harness.Place, parts: dict[str, int], clients: dict[str, harness.Child], seconds: float
) -> list[dict[str, Any]]:
    """Rows of the parts, the clients and the engine, once every client has its compiled stage."""
    for name, child in clients.items():
        if not child.wait_answered(READY_S_MAX):
            raise RuntimeError(f"{name} is not ready in time")
    time.sleep(SETTLE_S)
    pids = {**parts, **{name: child.process.pid for name, child in clients.items()}}
    return observe({**pids, "engine": place.engines()[0]}, seconds)


def main(argv: Sequence[str]) -> int:
    """Measures and prints."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", action="store_true", help="list the threads that ran")
    options = parser.parse_args(argv)
    report = harness.Report("idle")
    for farm, rows in (("separate", separate(options.seconds)), ("local", local(options.seconds))):
        for row in rows:
            threads = row.pop("by_thread")
            report.add(
                farm=farm, **row, target=TARGET_PERCENT, **({"ran": threads} if options.threads else {})
            )
    report.finish(options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
