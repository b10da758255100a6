"""The measurements of a benchmark, one after the other, for as long as there is time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import results


class Missing(Exception):
    """What a way needs is not on this machine."""


class Turns:
    """Tries each measurement, so that one that fails or has no time does not cost what the others found."""

    def __init__(self, report: results.Report, seconds: float) -> None:
        self._report = report
        self._end = time.monotonic() + seconds

    def tried(self, what: str, measure: Callable[[], Any]) -> Any:
        """What `measure` returns; None where there is nothing. That it failed counts as a missed target."""
        if time.monotonic() > self._end:
            return self._told(f"{what}: not reached")
        try:
            found = measure()
        except Missing as e:
            return self._told(f"{what}: left out: {e} is not here")
        except RuntimeError as e:
            self._report.demand(f"{what}: is measured", False)
            return self._told(f"{what}: failed: {e}")
        self._told(f"{what}: {found}")
        return found

    def _told(self, text: str) -> None:
        print(f"{self._report.document['name']}: {text}", file=sys.stderr, flush=True)
