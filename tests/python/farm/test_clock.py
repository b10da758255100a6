"""The time of day may jump by a day: leases, heartbeats and deadlines go by a clock that does not."""

from __future__ import annotations

import time

import pytest
from cluster import Control, Farm
from farm_client import Client

# Of Debian's libfaketime: what each process sees of the time of day follows a file.
FAKE_TIME = "/usr/$LIB/faketime/libfaketimeMT.so.1"
DAY_S = 86_400
JOBS = ("jobs_started", "jobs_retried", "jobs_finished", "jobs_failed")


class TimeOfDay:
    """What the farm's processes take for it."""

    def __init__(self, farm: Farm) -> None:
        self._file = farm.directory / "time-of-day"
        self.off_by(0)
        farm.variables |= {
            "LD_PRELOAD": FAKE_TIME,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def off_by(self, seconds: int) -> None:
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}")
        written.rename(self._file)


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
