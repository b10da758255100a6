"""Compilers that are stopped since what they make has come from elsewhere."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fxfarm._torch.stoppable import Run


def test_a_program_that_is_not_stopped_gives_its_status_and_what_it_said(tmp_path: Path) -> None:
    command = ["sh", "-c", "pwd; echo wrong >&2; exit 3"]
    assert Run().run(command, str(tmp_path)) == (3, f"{tmp_path}\nwrong\n".encode())


def test_what_a_program_has_started_is_killed_and_the_program_tidies_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    run, statuses = Run(), []
    inner = "echo $$ >begun; sleep 1000"

    def compile_it() -> None:
        statuses.append(
            run.run(["sh", "-c", f"sh -c '{inner}; exit 1' || echo tidied >told; exit 7"], str(tmp_path))[0]
        )
        run.ended.set()

    thread = threading.Thread(target=compile_it)
    thread.start()
    started = int((tmp_path / "begun").read_text())
    run.stop()
    assert statuses == [7]
    assert (tmp_path / "told").read_text() == "tidied\n"
    assert not Path(f"/proc/{started}").exists()
    thread.join()


def test_once_stopped_nothing_is_started(tmp_path: Path) -> None:
    run = Run()
    run.ended.set()
    run.stop()
    status, output = run.run(["touch", "made"], str(tmp_path))
    assert (status < 0, output, list(tmp_path.iterdir())) == (True, b"", [])
