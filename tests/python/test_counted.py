"""What a call of the slot takes, in instructions; see scripts/counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COUNTED = Path(__file__).parents[2] / "scripts" / "counted"
NOT_HELD = 77


def test_a_call_of_the_slot_takes_no_more_instructions_than_it_did() -> None:
    done = subprocess.run(
        [str(COUNTED), "slot", "--python", sys.executable],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == NOT_HELD:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
