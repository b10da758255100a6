"""Two ranks that train together share each compile, may switch at different times, and agree with eager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from model_farm import stats_of

HERE = Path(__file__).parent
SWITCH_AT = (2, 4)
"""The step at which each rank switches."""


def test_two_ranks_train_as_in_eager_though_they_switch_at_different_steps(
    model_farm: str, tmp_path: Path
) -> None:
    before = stats_of(model_farm)
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "ddp_rank.py")]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(len(SWITCH_AT)), str(tmp_path), model_farm, str(step)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, step in enumerate(SWITCH_AT)
    ]
    try:
        answers = [rank.communicate(timeout=600)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0]
    told = [json.loads(answer.splitlines()[-1]) for answer in answers]

    for switch_at, rank in zip(SWITCH_AT, told, strict=True):
        count = len(rank["stages"])
        assert rank["stages"] == [["eager"]] * switch_at + [["default"]] * (count - switch_at)
        assert rank["errors"] == [""] * rank["graphs"]
    assert told[0]["graphs"] > 1, "the graph is split at the buckets"
    # One job for each stage key, and each rank asks for all of them.
    assert told[0]["keys"] == told[1]["keys"]
    after = stats_of(model_farm)
    keys = set(told[0]["keys"])
    assert after["jobs_finished"] - before["jobs_finished"] == len(keys)
    assert after["lookups"] - before["lookups"] == 2 * told[0]["graphs"]
    first, second = (torch.load(tmp_path / f"rank-{rank}") for rank in range(2))
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
