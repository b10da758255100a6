"""A farm of echo_engine.py, and clients of echo_client.py that it serves: many graphs in little time."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgpack
from cluster import DEADLINE_S, HERE, Farm, farm_in

AT_ONCE = 8
"""Graphs that a client waits for at a time."""
PLATFORM = {
    **{"torch": "2.13.0", "python": "3.11", "triton": "", "arch": "x86_64", "isa": "x86-64-v3"},
    **{"threads": 1, "device": "cpu", "gpu": "", "gpu_driver": ""},
}
GPU_PLATFORM = {
    **PLATFORM,
    **{"triton": "3.6.0", "device": "cuda", "gpu": "NVIDIA H100 80GB HBM3 sm_90", "gpu_driver": "cuda 13.0"},
}
"""Of which an echo engine has no need: it says so, and its worker is one with a GPU."""


@contextmanager
def echo_farm_in(place: Path, platform: Mapping[str, object] = PLATFORM) -> Iterator[Farm]:
    artifacts = place / "artifacts"
    artifacts.mkdir()
    (artifacts / "platform").write_bytes(msgpack.packb(platform))
    with farm_in(place, artifacts, "echo_engine.py") as farm:
        yield farm


class Asking:
    """A client process that asks for the graphs `first` to `first + count - 1`. What it prints, which
    echo_client.py tells, goes to `heard`. `prefix` is a command that runs it, `name` what all of its graphs
    are called, `env` its environment when that is not the farm's.
    """

    def __init__(
        self,
        farm: Farm,
        endpoints: Sequence[str],
        first: int,
        count: int,
        heard: queue.Queue[str],
        prefix: Sequence[str] = (),
        name: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.settled = False
        self._last = ["settled", str(count)]
        self._heard = heard
        platform = farm.directory / "artifacts" / "platform"
        self.process = subprocess.Popen(
            [
                *(*prefix, sys.executable, str(HERE / "echo_client.py"), ",".join(endpoints), str(platform)),
                *(str(first), str(count), str(AT_ONCE), *filter(None, [name])),
            ],
            env=farm.env if env is None else env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.split() == self._last:
                self.settled = True
            self._heard.put(line.strip())

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def leave(self) -> int:
        """Lets it end; its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._end()

    def _end(self) -> int:
        status = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return status


def next_line(heard: queue.Queue[str]) -> str:
    """What a client prints next; raises when something came that must not."""
    line = heard.get(timeout=DEADLINE_S)
    assert not line.startswith("wrong"), line
    return line
