"""What a call of the slot takes, in instructions; see scripts/counted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

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


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, for which a release build of Debian 12's compiler is there."""
    loader = SourceFileLoader("counted", str(COUNTED))
    spec = importlib.util.spec_from_loader("counted", loader)
    assert spec is not None
    script: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "counted", script)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["counted", "instructions", "--program", sys.executable])
    monkeypatch.setattr(script.Program, "made_by", lambda _: "GNU 12.2.0 Release")
    return script


@pytest.mark.parametrize(
    ("bounds_of", "status", "said"),
    [
        ("GNU 12.2.0 Release", 1, "there is no valgrind"),
        (
            "GNU 14.1.0 Release",
            1,
            "the bounds are of GNU 14.1.0 Release, and have to be of GNU 12.2.0 Release",
        ),
    ],
)
def test_what_has_to_be_held_and_cannot_is_a_failure(
    counted: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bounds_of: str,
    status: int,
    said: str,
) -> None:
    def without_valgrind(command: list[str], place: Path) -> str:
        if command[0] == "valgrind":
            raise FileNotFoundError
        return ""

    monkeypatch.setattr(counted, "ran", without_valgrind)
    monkeypatch.setattr(counted, "read_table", lambda: counted.Table(bounds_of, "", 5.0, {}))
    assert counted.main() == status
    assert said in capsys.readouterr().err


def test_what_others_have_built_is_not_held_and_no_failure(
    counted: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(counted.Program, "made_by", lambda _: "GNU 14.1.0 Release")
    assert counted.main() == NOT_HELD
    assert "instructions: not held: built by GNU 14.1.0 Release" in capsys.readouterr().out
