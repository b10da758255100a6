"""A client without torch: asks for the stages of many small graphs, and checks each artifact.

usage: echo_client.py ENDPOINTS PLATFORM FIRST COUNT AT_ONCE [NAME]

The graphs are called g0, g1, ..., or NAME.

Prints `loaded GRAPH STAGE` for each stage that arrived as it must, and in the end `settled N` with the number
of graphs that reached their last stage; then waits for the end of its input. Any other outcome is a line
`wrong ...`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgpack
from echo_engine import echo

from fxfarm import _core, config

STAGES = ("default", "max-autotune")
OPTIONS = ({}, {"max_autotune": "true"})
"""On a GPU the last one measures."""
WAIT_MS = 60_000


def graph_bytes(number: int) -> bytes:
    return f"graph-{number}".encode()


def graph_key(number: int) -> str:
    return _core.digest(graph_bytes(number))


class Asker:
    def __init__(self, endpoints: list[str], target: dict[str, object], name: str = "") -> None:
        self._name = name
        options = config.load()
        self._client = _core.Client(
            endpoints=endpoints,
            key=str(options.secret_key or ""),
            server_public_key=list(options.server_public_key),
            signers=str(options.signers or ""),
            insecure=options.insecure,
        )
        self._target = target
        self._numbers: dict[int, int] = {}
        self._open: dict[int, set[str]] = {}
        self.settled = 0

    def submit(self, number: int) -> None:
        stages = [
            {"name": name, "options": {"stage": json.dumps(name), **options}}
            for name, options in zip(STAGES, OPTIONS, strict=True)
        ]
        made = self._client.submit(
            graph_key(number),
            self._name or f"g{number}",
            graph_bytes(number),
            stages,
            self._target,  # type: ignore[arg-type]
        )
        self._numbers[made] = number

    def take(self) -> None:
        """One artifact."""
        task = self._client.next_task(WAIT_MS)
        if task is None:
            print("wrong: nothing came", json.dumps(self._client.graphs()), flush=True)
            raise SystemExit(1)
        number, stage = self._numbers[task.graph], STAGES[task.stage]
        if bytes(task.artifact) != echo(graph_bytes(number), stage):
            print("wrong:", bytes(task.artifact), flush=True)
        task.done()
        if stage == STAGES[-1]:
            self.settled += 1
        print("loaded", number, stage, flush=True)

    def all_at_their_last_stage(self) -> bool:
        return self._client.wait_slice("", WAIT_MS) == "reached"

    def stop(self) -> None:
        self._client.stop()


def main() -> None:
    endpoints, platform = sys.argv[1].split(","), Path(sys.argv[2])
    first, count, at_once = map(int, sys.argv[3:6])
    asker = Asker(endpoints, msgpack.unpackb(platform.read_bytes()), *sys.argv[6:7])
    asked = 0
    while asker.settled < count:
        while asked < count and asked - asker.settled < at_once:
            asker.submit(first + asked)
            asked += 1
        asker.take()
    print("settled", asker.settled if asker.all_at_their_last_stage() else "not", flush=True)
    sys.stdin.read()
    asker.stop()


if __name__ == "__main__":
    main()
