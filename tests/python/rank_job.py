"""A job of several ranks that trains; see collective_rank.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def train(
    folder: Path,
    endpoint: str,
    faults: list[dict[str, Any]],
    prefixes: Sequence[Sequence[str]] = (),
    interface: str = "lo",
) -> list[dict[str, Any]]:
    """What each rank saw; `faults` are theirs, one for each, as are `prefixes`, commands that run them. They talk
    to each other over `interface`.
    """
    env = {**os.environ, "GLOO_SOCKET_IFNAME": interface, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "collective_rank.py")]
    started = [
        subprocess.Popen(
            [*prefix, *command, str(rank), str(len(faults)), str(folder), endpoint, json.dumps(fault)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, (fault, prefix) in enumerate(zip(faults, prefixes or [()] * len(faults), strict=True))
    ]
    try:
        answers = [rank.communicate(timeout=600)[0] for rank in started]
    finally:
        for rank in started:
            rank.kill()
    assert [rank.returncode for rank in started] == [0] * len(faults)
    told = [json.loads(answer.splitlines()[-1]) for answer in answers]
    assert all(rank["equal"] for rank in told)
    assert len({rank["calls"] for rank in told}) == 1
    return told
