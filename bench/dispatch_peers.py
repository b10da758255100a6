"""Round trips of Ray's actor calls and Dask's tasks, for bench/dispatch.py, which runs this in an environment
of its own: `python dispatch_peers.py ray|dask SECONDS REQUEST_BYTES ANSWER_BYTES`; prints a JSON document.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

OUTSTANDING = 256


def measured(
    seconds: float, call: Callable[[], Any], take: Callable[[Sequence[Any]], Any]
) -> dict[str, float | list[float]]:
    """Calls per second with many outstanding, then the microseconds of single ones; each for so long."""
    take([call() for _ in range(OUTSTANDING)])
    calls, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        take([call() for _ in range(OUTSTANDING)])
        calls += OUTSTANDING
    waits_us, begin = [], time.perf_counter()
    while (before := time.perf_counter()) < begin + seconds:
        take([call()])
        waits_us.append((time.perf_counter() - before) * 1e6)
    return {"per_second": calls / spent, "waits_us": waits_us}


def with_ray(seconds: float, request: bytes, answer_bytes: int) -> dict[str, float | list[float]]:
    """Calls of one actor's method."""
    ray = importlib.import_module("ray")

    class Answerer:
        def answer(self, _: bytes) -> bytes:
            return bytes(answer_bytes)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    actor = ray.remote(Answerer).remote()
    try:
        return measured(seconds, lambda: actor.answer.remote(request), ray.get)
    finally:
        ray.shutdown()


def with_dask(seconds: float, request: bytes, answer_bytes: int) -> dict[str, float | list[float]]:
    """Tasks that do nothing, on one worker of a scheduler in another process."""
    distributed = importlib.import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:

        def call() -> Any:
            return client.submit(lambda _: bytes(answer_bytes), request, pure=False)

        return measured(seconds, call, client.gather)


if __name__ == "__main__":
    way, seconds_word, request_word, answer_word = sys.argv[1:]
    run = {"ray": with_ray, "dask": with_dask}[way]
    print(json.dumps(run(float(seconds_word), bytes(int(request_word)), int(answer_word))))
