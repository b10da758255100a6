"""The time of day may jump by a day: leases, heartbeats and deadlines go by a clock that does not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import Control, Farm
from farm_client import Client

SOURCE = Path(__file__).with_name("time_of_day.c")
DAY_S = 86_400
JOBS = ("jobs_started", "jobs_retried", "jobs_finished", "jobs_failed")


class TimeOfDay:
    """What the farm's processes take for it."""

    def __init__(self, farm: Farm) -> None:
        library = farm.directory / "time_of_day.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._file = farm.directory / "time-of-day"
        self._file.write_bytes(bytes(8))
        farm.variables |= {"LD_PRELOAD": str(library), "TIME_OF_DAY_FILE": str(self._file)}

    def off_by(self, seconds: int) -> None:
        # In place: processes have it mapped.
        with self._file.open("r+b", buffering=0) as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))


@pytest.fixture
def time_of_day(farm: Farm) -> TimeOfDay:
    return TimeOfDay(farm)


def test_a_job_outlives_jumps_of_the_clock(time_of_day: TimeOfDay, farm: Farm, client: Client) -> None:
    assert isinstance(farm.control, Control)
    farm.control.on("wait")
    _, endpoint = farm.coordinator()
    farm.worker(endpoint)
    farm.until_workers(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    farm.control.job()
    for off in (DAY_S, -DAY_S):
        time_of_day.off_by(off)
        # What the coordinator takes for the time: it has jumped indeed.
        assert farm.ask("status", endpoint)["unix_seconds"] == pytest.approx(time.time() + off, abs=600)
        model()
        assert model.status.stage == "eager"
    farm.control.open_gate()
    model.until_compiled()
    assert farm.counts(endpoint, *JOBS, "workers_lost") == (1, 0, 1, 0, 0)
    farm.until_workers(endpoint)
