"""Workers of a farm as actors of a Ray cluster that is there already.

    import ray
    from fxfarm import ray as farm_on_ray

    ray.init(address="auto")
    workers = farm_on_ray.start("dns+tcp://farm.example:7070", count=4, options={"insecure": "true"})
    ...
    farm_on_ray.stop(workers)

Each actor owns one `fxfarm worker`, whose engines run with the interpreter and packages of the actor. The
coordinator is not part of it: it keeps artifacts, so it should outlive a Ray job. Ray is no requirement of
fxfarm; importing this module needs it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from fxfarm._cli import PROGRAM

DRAIN_S = 100.0
"""How long a worker may take from SIGTERM to its end: to finish or give up what runs, and to send it."""
START_S = 60.0
_PR_SET_PDEATHSIG = 1


class WorkerEndedError(RuntimeError):
    """The worker's process has ended; the text has its last lines."""


def _end_with_parent() -> None:
    # Ray may kill an actor's process; a worker whose actor is gone could not be stopped by anyone.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class WorkerActor:
    """One worker. Its log goes on to the actor's, which Ray shows."""

    def __init__(self, coordinators: str, options: Mapping[str, str]) -> None:
        """Starts it and waits until it runs, which needs no coordinator. `options` are as `start` says."""
        told = {"coordinators": coordinators, "python": sys.executable, "metrics": "127.0.0.1:0", **options}
        variables = {f"FXFARM_{name.upper()}": value for name, value in told.items()}
        plain = {k: v for k, v in os.environ.items() if not k.startswith("FXFARM_")}
        # Lines that a program can read: where it serves metrics stands in one of them.
        self._process = subprocess.Popen(
            [str(PROGRAM), "worker"],
            env={**plain, **variables, "FXFARM_LOG_FORMAT": "json"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_end_with_parent,
        )
        self._said: list[str] = []
        self._metrics = ""
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._told.wait(START_S) or not self._metrics:
            self._process.kill()
            raise WorkerEndedError(self._last_words())

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            self._said = [*self._said[-9:], line]
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # not of the log, such as what the program says of an option
            if entry.get("message") == "worker ready":
                self._metrics = entry["metrics"]
                self._told.set()
        self._told.set()

    def _last_words(self) -> str:
        return "the worker has ended: " + "".join(self._said).strip()

    def check(self) -> str:
        """Where the worker serves /metrics and /readyz, on its node. Raises WorkerEndedError."""
        if self._process.poll() is not None:
            self._reader.join()
            raise WorkerEndedError(self._last_words())
        return self._metrics

    def stop(self) -> int:
        """Drains the worker; its exit status, 0 when all went well."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def start(
    coordinators: str,
    *,
    count: int = 1,
    slots: int = 1,
    options: Mapping[str, str] | None = None,
    ray_options: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Starts workers on the Ray cluster that the caller is connected to, spread over its nodes. Waits until
    all run; returns handles of their actors.

    `coordinators` is as for `fxfarm worker`. Each worker compiles `slots` graphs at once, and as many CPUs
    are asked of Ray for it. `options` are other options of `fxfarm worker` by name, as texts. `ray_options`
    go to Ray's `.options()`, such as `num_gpus` or `runtime_env`; actors end with the job, unless they are
    detached. Raises WorkerEndedError, within ray.exceptions.RayActorError, when one cannot run; none is left
    then.
    """
    told = {"slots": str(slots), **(options or {})}
    wanted = {"num_cpus": slots, "scheduling_strategy": "SPREAD", **(ray_options or {})}
    actor: Any = ray.remote(WorkerActor).options(**wanted)
    workers: list[Any] = [actor.remote(coordinators, told) for _ in range(count)]
    try:
        ray.get([worker.check.remote() for worker in workers])
    except Exception:
        for worker in workers:
            ray.kill(worker)
        raise
    return workers


def stop(workers: Sequence[Any]) -> list[int]:
    """Drains workers, all at the same time, and ends their actors; their exit statuses."""
    statuses: list[int] = ray.get([worker.stop.remote() for worker in workers])
    for worker in workers:
        ray.kill(worker)
    return statuses
