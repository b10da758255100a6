"""What each part of a farm takes of a machine: memory, processor time, threads and open files, idle and at
work; how long its start takes; and how large what is installed is.

    python bench/footprint.py [--rounds 3] [--seconds 5] [--dist DIR] [--json FILE]

"pss_mib" counts a page that several processes share in parts, "rss_mib" in each of them
(/proc/PID/smaps_rollup). Both are of all processes of a part: an engine has a sandbox, a guard and compilers.
"cpu_percent" is of one core. Idle rows are as at the end of each round; rows at work have the most of memory,
threads and files that was seen in a round. A coordinator's work is lookups of what it has in memory, as
bench/dispatch.py asks for them; a worker's and its engine's are compiles of graphs that nobody has had. A
client's share is a process with a compiled model less the same without fxfarm. Beside the engine is what
`torch.compile` keeps in a process of its own for the same: that process, and Inductor's pool of compilers,
started and idle.

"ready_s" is from the program's start to the line that says so; an idle worker's, from its start until its
coordinator counts it as one, while its engine still warms up; a client's, what importing fxfarm takes beside
torch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cpu_models
import harness
import idle
import links
import results
import workers
from faults_farm import descendants
from footprint_looks import Pids, at_work, idle_rows, row_of
from footprint_sizes import sizes

ROOT = Path(__file__).resolve().parent.parent
READY_S_MAX = 600.0
SETTLE_S = 3.0
GRAPHS = 64
ARTIFACT_BYTES = 256
LOOKUPS: dict[str, object] = {"connections": 4, "outstanding": 512}
COMPILES = 3
"""Graphs of each round."""
COORDINATOR_PSS_MIB_MAX = 32
WORKER_PSS_MIB_MAX = 32
CLIENT_PSS_MIB_MAX = 32
READY_S_HELD = 0.5
"""Of the program's roles, without an engine."""
WHEEL_MIB_MAX = 16


# Roles at rest and at work.


@contextlib.contextmanager
def farm_of_one(place: harness.Place) -> Iterator[tuple[str, int, int]]:
    """A coordinator's endpoint and pid, and the pid of its worker, whose engine is ready."""
    socket = f"ipc://{place.root}/farm.sock"
    metrics = ("--metrics", "127.0.0.1:0")
    with harness.farm_process(place, "coordinator", "--listen", socket, *metrics) as head:
        role = ("worker", "--coordinators", socket, "--python", sys.executable)
        with harness.farm_process(place, *role, *metrics) as worker:
            if not harness.wait_until(lambda: workers.idle(socket) == 1, READY_S_MAX):
                raise RuntimeError("no engine is ready in time")
            yield socket, head, worker


def separate(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """A coordinator, a worker with its engine, and clients: idle, then at work."""
    with harness.Place() as place, farm_of_one(place) as (socket, head, worker):
        variables = {"FXFARM_ENDPOINTS": socket, "FXFARM_LOCAL": "false"}
        clients = {
            "client": place.start(idle.waiting_client, variables=variables, backend="fxfarm"),
            "client without fxfarm": place.start(idle.waiting_client, backend="eager"),
        }
        parts: dict[str, Pids] = {
            "coordinator": lambda: [head],
            "worker": lambda: [worker],
            "engine": lambda: descendants(worker),
        }
        both: dict[str, Pids] = {name: child_pids(child) for name, child in clients.items()}
        for name, child in clients.items():
            if not child.wait_answered(READY_S_MAX):
                raise RuntimeError(f"{name} is not ready in time")
        time.sleep(SETTLE_S)
        rows = idle_rows({**parts, **both}, seconds, rounds)
        busy = {part: parts[part] for part in ("worker", "engine")}
        found = {part: row_of(part, "compiling") for part in busy}
        for number in range(rounds):
            at_work(found, busy, compiling(place, variables, number))
        return [*rows, *found.values()]


def child_pids(child: harness.Child) -> Pids:
    """The process of a measurement."""
    return lambda: [child.process.pid]


def compiling(place: harness.Place, variables: dict[str, str], number: int) -> Callable[[], object]:
    """What has a client, which has started already, ask for graphs that nobody has had, and waits for it."""
    go = Path(place.fresh("go")) / "go"
    first = 1 + number * (COMPILES + 1)
    graphs = list(range(first, first + 1 + COMPILES))
    child = place.start(
        workers.client,
        variables=variables,
        backend="fxfarm",
        go=str(go),
        warm=graphs[:1],
        numbers=graphs[1:],
    )
    if not child.wait_answered(READY_S_MAX):
        raise RuntimeError("a client is not ready in time")

    def work() -> None:
        go.touch()
        child.result()

    return work


def looked_up(seconds: float, rounds: int) -> dict[str, Any]:
    """A row of a coordinator that answers lookups."""
    with harness.Place() as place, links.coordinator(place, "tcp", GRAPHS, ARTIFACT_BYTES) as peer:
        row = row_of("coordinator", "lookups")
        rates = []
        for _ in range(rounds):
            at_work(
                {"coordinator": row},
                {"coordinator": lambda: [peer.pid]},
                lambda: rates.append(peer.load(seconds=seconds, **LOOKUPS)["per_second"]),
            )
        return {**row, "per_second": rates}


def local(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Rows of a local farm's process, which a client has started."""
    with harness.Place() as place:
        client = place.start(idle.waiting_client, backend="fxfarm")
        if not client.wait_answered(READY_S_MAX):
            raise RuntimeError("the client of a local farm is not ready in time")
        time.sleep(SETTLE_S)
        farm = place.farms()[0]
        return idle_rows({"local farm": lambda: [farm]}, seconds, rounds)


def inductor_pool(compilers: int) -> None:
    """Compiles a small model with Inductor, has its pool of compilers started, and waits to be ended."""
    import torch

    # Inductor's own way to a pool that is ready, in torch 2.13; it has no public one.
    from torch._inductor.async_compile import AsyncCompile

    module, inputs, _ = cpu_models.build("mlp")
    with torch.no_grad():
        harness.compiled(module, "inductor")(*inputs)
    pool = AsyncCompile.process_pool()
    for started in [pool.submit(AsyncCompile._get_ready) for _ in range(compilers)]:
        started.result(timeout=READY_S_MAX)
    harness.answer_now(None)
    threading.Event().wait()


def inductor(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Rows of a process that compiles for itself and of its pool, with as many compilers as an engine has."""
    compilers = max(2, len(os.sched_getaffinity(0)))
    variables = {"TORCHINDUCTOR_COMPILE_THREADS": str(compilers), "TORCHINDUCTOR_WORKER_START": "subprocess"}
    with harness.Place() as place:
        child = place.start(inductor_pool, variables=variables, compilers=compilers)
        if not child.wait_answered(READY_S_MAX):
            raise RuntimeError("Inductor's pool is not ready in time")
        time.sleep(SETTLE_S)
        pid = child.process.pid
        parts: dict[str, Pids] = {
            "process with Inductor": lambda: [pid],
            f"its pool of {compilers} compilers": lambda: descendants(pid),
        }
        return idle_rows(parts, seconds, rounds)


# Starts.


@contextlib.contextmanager
def started(place: harness.Place, *words: str) -> Iterator[float]:
    """Seconds from the start of `fxfarm WORDS...` to its ready line; it runs meanwhile. Raises RuntimeError
    when it does not get there."""
    environment = place.environment()
    begin = time.monotonic()
    process = subprocess.Popen(
        [harness.fxfarm_program(), *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        if not any(b" ready" in line for line in process.stderr):
            raise RuntimeError(f"fxfarm {' '.join(words)} ended with {process.wait()}")
        yield time.monotonic() - begin
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.wait(harness.FARM_STOP_S_MAX)
        process.stderr.close()


def starts(rounds: int) -> list[dict[str, Any]]:
    """Rows of each role's start."""
    took: dict[str, list[float]] = {}

    def add(part: str, seconds: float) -> None:
        took.setdefault(part, []).append(seconds)

    for _ in range(rounds):
        with harness.Place() as place:
            socket = f"ipc://{place.root}/farm.sock"
            python = ("--python", sys.executable)
            with started(place, "coordinator", "--listen", socket) as ready:
                add("coordinator", ready)
                begin = time.monotonic()
                role = ("worker", "--coordinators", socket, "--metrics", "127.0.0.1:0", *python)
                with started(place, *role) as ready:
                    add("worker", ready)
                    if not harness.wait_until(lambda at=socket: workers.idle(at) == 1, READY_S_MAX):  # type: ignore[misc]
                        raise RuntimeError("no engine is ready in time")
                    add("idle worker", time.monotonic() - begin)
            with started(place, "local", "--socket", f"{place.root}/local.sock", *python) as ready:
                add("local farm", ready)
            add("client", place.run(importing))
    return [{"part": part, "state": "start", "ready_s": seconds} for part, seconds in took.items()]


def importing() -> float:
    """Seconds that importing fxfarm takes where torch is there already."""
    import torch

    assert torch.__version__
    begin = time.monotonic()
    import fxfarm

    assert fxfarm.__file__
    return time.monotonic() - begin


# Targets.


def hold(report: results.Report) -> None:
    """What the parts may take at most, idle and until they are ready."""
    rows = report.document["rows"]
    at_rest = {row["part"]: row for row in rows if row["state"] == "idle"}
    for part, most in (("coordinator", COORDINATOR_PSS_MIB_MAX), ("worker", WORKER_PSS_MIB_MAX)):
        report.hold(f"{part}, idle: MiB", at_rest[part]["pss_mib"], most)
    pairs = zip(at_rest["client"]["pss_mib"], at_rest["client without fxfarm"]["pss_mib"], strict=True)
    report.hold("a client's share: MiB", [own - other for own, other in pairs], CLIENT_PSS_MIB_MAX)
    for row in rows:
        if row["state"] == "start" and row["part"] in ("coordinator", "worker", "local farm"):
            report.hold(f"{row['part']}: seconds to ready", row["ready_s"], READY_S_HELD)
        if row["part"] == "wheel":
            report.hold("the wheel: MiB", [row["mib"]], WHEEL_MIB_MAX)


def main(argv: Sequence[str]) -> int:
    """Measures and prints; 1 when a part takes more than its target."""
    parser = harness.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a round watches, or asks")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the wheel is")
    options = parser.parse_args(argv)
    report = results.Report("footprint")
    measured: list[Callable[[float, int], list[dict[str, Any]]]] = [
        separate,
        lambda seconds, rounds: [looked_up(seconds, rounds)],
        local,
        inductor,
        lambda _, rounds: starts(rounds),
    ]
    for measure in measured:
        for row in measure(options.seconds, options.rounds):
            report.add(**row)
    rows, left_out = sizes(options.dist)
    for row in rows:
        report.add(**row)
    for what in left_out:
        print(f"footprint: left out: {what}", file=sys.stderr)
    hold(report)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
