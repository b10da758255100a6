"""What a benchmark answers with when it misses a target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=BENCH, env=env or None, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("hold('a call', [9.0, 1.0, 2.0], 2.0)", 0, "met: a call: 2.00, at most 2.00"),
        ("hold('a call', [1.0, 2.1, 2.2], 2.0)", 1, "MISSED: a call: 2.10, at most 2.00"),
        ("demand('no compiler', True)", 0, "met: no compiler"),
        ("demand('no compiler', False)", 1, "MISSED: no compiler"),
    ],
)
def test_one_missed_target_is_a_failure_and_is_named(target: str, status: int, said: str) -> None:
    done = run(
        "-c",
        "import harness, sys; report = harness.Report('b'); report.demand('always', True); "
        f"report.{target}; sys.exit(report.finish(None))",
    )
    assert (done.returncode, said in done.stdout.splitlines()) == (status, True), done.stdout + done.stderr


def test_without_strace_nobody_says_that_no_compiler_was_started() -> None:
    done = run("second_process.py", PATH="/nonexistent")
    assert (done.returncode, "strace is missing" in done.stderr) == (1, True), done.stderr
