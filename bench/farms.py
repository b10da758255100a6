"""Farms with warm engines that benchmarks compile by, and what these tell."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import harness
import links

READY_S_MAX = 600.0


def on_cores(cores: Sequence[int]) -> list[str]:
    """A command that runs another on those cores alone."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def client(endpoint: str) -> dict[str, str]:
    """Variables of a process that asks that farm and no other."""
    return {"FXFARM_ENDPOINTS": endpoint, "FXFARM_LOCAL": "false"}


@contextlib.contextmanager
def started(
    place: harness.Place,
    endpoint: str,
    workers: Sequence[Sequence[str]] = ((),),
    *,
    options: Sequence[str] = (),
) -> Iterator[None]:
    """A coordinator, and for each of `workers`, which is the command below which it runs, a worker with an
    engine cache directory of its own. They are ready; engines still get warm."""
    with contextlib.ExitStack() as roles:
        words = ["--listen", endpoint, "--metrics", "off"]
        before = workers[0] if workers else ()
        roles.enter_context(harness.farm_process(place, "coordinator", *words, before=before))
        for number, cores in enumerate(workers):
            words = ["--coordinators", endpoint, "--metrics", "off", "--python", sys.executable]
            own = ["--name", f"w{number}", "--engine-cache-dir", place.fresh("engine"), "--nice", "0"]
            roles.enter_context(harness.farm_process(place, "worker", *words, *own, *options, before=cores))
        yield


@contextlib.contextmanager
def elsewhere() -> Iterator[str]:
    """A coordinator and a worker with a warm engine in a place of their own; the endpoint."""
    with harness.Place() as host:
        endpoint = f"tcp://127.0.0.1:{links.free_port()}"
        with started(host, endpoint):
            await_warm(endpoint, 1)
            yield endpoint


def await_warm(endpoint: str, workers: int) -> None:
    """Returns once so many workers have a warm engine. Raises RuntimeError when that takes too long."""
    if not harness.wait_until(lambda: warm(endpoint) == workers, READY_S_MAX):
        raise RuntimeError(f"not all engines are warm in time: {asked(endpoint, 'status')['workers']}")


def warm(endpoint: str) -> int:
    """How many workers have an engine that takes jobs and kernels."""
    return sum(w["state"] == "idle" and w["can_help"] for w in asked(endpoint, "status")["workers"])


def asked(endpoint: str, what: str) -> dict[str, Any]:
    """The farm's answer to that command."""
    command = [harness.fxfarm_program(), what, "--endpoint", endpoint, "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer
