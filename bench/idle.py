"""What each part of a farm costs while nothing happens: processor time, memory and threads.

    python bench/idle.py [--seconds 30] [--rounds 3] [--threads] [--json FILE]

Processor time is the scheduler's own count of nanoseconds on a core (/proc/PID/task/*/schedstat), so other
load does not change it. "attached client" is a process whose model has been compiled by the farm and which
waits, and "client alone" the same without fxfarm; their difference is the client's share. That share, the
coordinator and the worker are held to the target, each by the median of the rounds. --threads lists each
thread that ran.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import results

TARGET_PERCENT = 0.2
READY_S_MAX = 600.0
SETTLE_S = 5.0


def waiting_client(backend: str) -> None:
    """Compiles a small model and then waits to be ended."""
    import torch

    module, inputs, _ = cpu_models.build("mlp")
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


def observe(parts: dict[str, int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """One row for each process, all watched at once; one number for each round."""
    percents: dict[str, list[float]] = {part: [] for part in parts}
    threads: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        before = {part: thread_ns(pid) for part, pid in parts.items()}
        begin = time.monotonic()
        time.sleep(seconds)
        ns_per_percent = (time.monotonic() - begin) * 1e7
        for part, pid in parts.items():
            ran = {name: ns - before[part].get(name, 0) for name, ns in thread_ns(pid).items()}
            threads[part] = {name: ns / ns_per_percent for name, ns in ran.items()}
            percents[part].append(sum(threads[part].values()))
    return [
        {
            "part": part,
            "cpu_percent": percents[part],
            "rss_anon_mib": resident_mib(pid),
            "threads": len(threads[part]),
            "by_thread": [
                f"{name}:{percent:.3f}" for name, percent in threads[part].items() if percent >= 0.001
            ],
        }
        for part, pid in parts.items()
    ]


def separate(seconds: float, rounds: int) -> list[dict[str, Any]]:
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
            return observed_with(place, parts, clients, seconds, rounds)


def local(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """A local farm with one client that it was started by."""
    with harness.Place() as place:
        clients = {"client of a local farm": place.start(waiting_client, backend="fxfarm")}
        clients["client of a local farm"].wait_answered(READY_S_MAX)
        return observed_with(place, {"local farm": place.farms()[0]}, clients, seconds, rounds)


def observed_with(
    place: harness.Place,
    parts: dict[str, int],
    clients: dict[str, harness.Child],
    seconds: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """Rows of the parts, the clients and the engine, once every client has its compiled stage."""
    for name, child in clients.items():
        if not child.wait_answered(READY_S_MAX):
            raise RuntimeError(f"{name} is not ready in time")
    time.sleep(SETTLE_S)
    pids = {**parts, **{name: child.process.pid for name, child in clients.items()}}
    return observe({**pids, "engine": place.engines()[0]}, seconds, rounds)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a part takes more than the target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long one round watches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", action="store_true", help="list the threads that ran in the last round")
    options = parser.parse_args(argv)
    report = results.Report("idle")
    for farm, watch in (("separate", separate), ("local", local)):
        rows = watch(options.seconds, options.rounds)
        for row in rows:
            threads = row.pop("by_thread")
            report.add(farm=farm, **row, **({"ran": threads} if options.threads else {}))
        if farm == "separate":
            hold(report, {row["part"]: row["cpu_percent"] for row in rows})
    return report.finish(options.json)


def hold(report: results.Report, percents: dict[str, list[float]]) -> None:
    """The targets, in per cent of a core."""
    for part in ("coordinator", "worker"):
        report.hold(f"{part}: per cent of a core", percents[part], TARGET_PERCENT)
    pairs = zip(percents["attached client"], percents["client alone"], strict=True)
    share = [attached - alone for attached, alone in pairs]
    report.hold("attached client less client alone: per cent of a core", share, TARGET_PERCENT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
