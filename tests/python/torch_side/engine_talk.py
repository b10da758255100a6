"""An engine's process, and the worker's side of its pipes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from farm import PYTHON

from fxfarm import _torch, engine


class Talk:
    """The worker's side of an engine's pipes."""

    def __init__(self, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fxfarm.engine"],
            env={**os.environ, "PYTHONPATH": str(PYTHON), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.channel = engine.Channel(self.process.stdout, self.process.stdin)  # type: ignore[arg-type]

    def has_more(self) -> bool:
        """Whether the engine has said something that was not received yet."""
        return self.channel.peek() is not None or bool(select.select([self.channel], [], [], 0)[0])

    def job(self, graph: bytes, stage: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """The phases told, and the answer."""
        target = _torch.client_platform()
        self.channel.send(type="compile", id="job-1", stage=stage, target=target, graph=graph)
        phases = []
        while (frame := self.channel.receive()) is not None:
            assert frame["id"] == "job-1"
            if frame["type"] != "progress":
                return phases, frame
            phases.append(frame["phase"])
        raise AssertionError("the engine left in the middle of a job")


def directories(cache: Path, name: str) -> dict[str, str]:
    """What a worker tells an engine of the cache."""
    return {
        "FXFARM_ENGINE_KERNELS_DIR": str(cache / name),
        "FXFARM_ENGINE_HEADERS_DIR": str(cache / "headers"),
    }
