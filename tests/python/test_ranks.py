"""Ranks of a job, whose graph has a collective, switch at the same call, and train as without the farm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_farm import stats_of
from rank_job import train

from fxfarm import ranks


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([{"late": 300}, {}], id="one loads late"),
        pytest.param([{}, {"slow": 0.01}, {"late": 100}, {}], id="four, one loads late and one is slow"),
    ],
)
def test_all_ranks_switch_at_the_same_call(
    model_farm: str, tmp_path: Path, faults: list[dict[str, Any]]
) -> None:
    before = stats_of(model_farm)
    told = train(tmp_path, model_farm, faults)
    (first,) = {rank["first"] for rank in told}
    assert first > max(fault.get("late", 0) for fault in faults)
    for rank in told:
        assert (rank["states"], rank["errors"]) == (["loaded"], [""])
        assert rank["stats"]["switches_agreed"] == 1
        assert rank["stats"]["compiled_runs"] == rank["calls"] - first
    after = stats_of(model_farm)
    assert after["switches_agreed"] - before["switches_agreed"] == 1


def test_a_rank_that_hears_no_verdict_finds_it_in_the_jobs_store(model_farm: str, tmp_path: Path) -> None:
    told = train(tmp_path, model_farm, [{}, {"deaf": True}])
    assert told[0]["first"] == told[1]["first"] is not None
    assert told[1]["stats"]["switches_waited"] == 1


def test_no_rank_switches_when_none_has_heard_the_verdict(model_farm: str, tmp_path: Path) -> None:
    """As when the coordinator dies between the votes and its verdict."""
    told = train(tmp_path, model_farm, [{"deaf": True, "until": {"switches_aborted": 1}}] * 2)
    for rank in told:
        assert rank["first"] is None
        assert rank["stats"]["switches_waited"] >= 1
        assert rank["states"] == ["armed"]


def test_a_rank_that_has_left_the_farm_keeps_the_others_eager(model_farm: str, tmp_path: Path) -> None:
    leaves = {"late": 10**9, "leaves": 50, "until": {"calls": 100}}
    told = train(tmp_path, model_farm, [{"until": {"armed": 1}}, leaves])
    assert [rank["first"] for rank in told] == [None, None]
    assert told[0]["states"] == ["armed"]


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (
            {"TORCHELASTIC_RUN_ID": "run", "MASTER_ADDR": "a", "MASTER_PORT": "1", "SLURM_JOB_ID": "7"},
            "run@a:1",
        ),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2"}, "slurm-7.2"),
        ({"SLURM_JOB_ID": "7"}, "slurm-7.0"),
        ({}, ""),
    ],
)
def test_a_job_is_named_by_its_launcher(environ: dict[str, str], name: str) -> None:
    assert ranks.job_name(environ) == name
