"""What processes have of a machine at a moment, and what they take of it for a while: for bench/footprint.py,
whose rows are made here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import idle

SAMPLE_S = 0.1
Pids = Callable[[], Sequence[int]]


@dataclasses.dataclass
class Look:
    """What some processes have at a moment."""

    pss_mib: float = 0.0
    rss_mib: float = 0.0
    threads: int = 0
    open_files: int = 0

    def most(self, other: Look) -> None:
        """Takes what is larger there."""
        for name, value in dataclasses.asdict(other).items():
            setattr(self, name, max(getattr(self, name), value))


def look(pids: Sequence[int]) -> Look:
    """Sums; one that has ended meanwhile counts as far as it could be read."""
    found = Look()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found.pss_mib += int(line.split()[1]) / 1024
                elif line.startswith("Rss:"):
                    found.rss_mib += int(line.split()[1]) / 1024
            found.threads += sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
            found.open_files += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return found


def ran_s(pids: Sequence[int]) -> float:
    """Seconds on a core so far, of the threads that live; exact, for what hardly runs."""
    return sum(sum(idle.thread_ns(pid).values()) for pid in pids) / 1e9


def worked_s(pids: Sequence[int]) -> float:
    """Likewise in ticks, with threads and children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # utime, stime, cutime and cstime of proc(5).
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def row_of(part: str, state: str) -> dict[str, Any]:
    """A row without its rounds."""
    columns = (*(field.name for field in dataclasses.fields(Look)), "cpu_percent")
    return {"part": part, "state": state, **{name: [] for name in columns}}


def add_round(row: dict[str, Any], seen: Look, cpu_percent: float) -> None:
    """What was seen in one."""
    for name, value in {**dataclasses.asdict(seen), "cpu_percent": cpu_percent}.items():
        row[name].append(value)


def idle_rows(parts: dict[str, Pids], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """A row for each part, all watched at once while nothing happens."""
    rows = {part: row_of(part, "idle") for part in parts}
    for _ in range(rounds):
        before = {part: (time.monotonic(), ran_s(pids())) for part, pids in parts.items()}
        time.sleep(seconds)
        for part, pids in parts.items():
            begin, ran = before[part]
            percent = 100 * (ran_s(pids()) - ran) / (time.monotonic() - begin)
            add_round(rows[part], look(pids()), percent)
    return list(rows.values())


def at_work(rows: dict[str, dict[str, Any]], parts: dict[str, Pids], work: Callable[[], object]) -> None:
    """Adds a round to the rows: what the parts have while `work` is done."""
    seen = {part: Look() for part in parts}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            for part, pids in parts.items():
                seen[part].most(look(pids()))

    watcher = threading.Thread(target=watch)
    before = {part: worked_s(pids()) for part, pids in parts.items()}
    begin = time.monotonic()
    watcher.start()
    try:
        work()
    finally:
        took = time.monotonic() - begin
        worked = {part: worked_s(pids()) - before[part] for part, pids in parts.items()}
        done.set()
        watcher.join()
    for part, row in rows.items():
        add_round(row, seen[part], 100 * worked[part] / took)
