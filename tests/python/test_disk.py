"""Directories that engines and clients keep files in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fxfarm import disk


def write(path: Path, size: int, used: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


def test_two_claims_never_meet_and_the_next_one_inherits(tmp_path: Path) -> None:
    with disk.claimed(tmp_path) as first, disk.claimed(tmp_path) as second:
        assert first != second
        (first / "kernel.so").write_bytes(b"x")
    with disk.claimed(tmp_path) as again:
        assert (again / "kernel.so").exists()
        assert again.stat().st_mode & 0o777 == 0o700


def test_a_killed_process_gives_its_claim_back_and_its_half_written_files_go(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fxfarm import disk\n"
        "with disk.claimed(Path(sys.argv[1])) as mine:\n"
        "    (mine / 'whole.so').write_bytes(b'x'); time.sleep(0.05)\n"
        "    with disk.unfinished(mine):\n"
        "        (mine / 'half.so').write_bytes(b'x'); print(mine, flush=True); time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    taken = Path(process.stdout.readline().strip())
    with disk.claimed(tmp_path) as other:
        assert other != taken
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    with disk.claimed(tmp_path) as mine:
        assert mine == taken
        assert sorted(p.name for p in mine.iterdir()) == ["whole.so"]


def test_what_a_finished_body_wrote_stays(tmp_path: Path) -> None:
    with disk.unfinished(tmp_path):
        (tmp_path / "kernel.so").write_bytes(b"x")
    disk.discard_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kernel.so"]


@pytest.mark.parametrize(
    ("bytes_max", "left"),
    [
        (100, ["a.cpp", "a.so", "b.so", "c.so"]),
        (99, ["b.so", "c.so"]),
        (40, ["b.so"]),
        (0, []),
    ],
)
def test_the_least_recently_used_go_first_and_files_of_one_name_together(
    bytes_max: int, left: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "x" / "a.cpp", 10, used=100)
    write(tmp_path / "x" / "a.so", 40, used=200)
    write(tmp_path / "x" / "b.so", 40, used=150)
    write(tmp_path / "y" / "c.so", 10, used=250)
    disk.touch(tmp_path / "x" / "b.so")
    disk.prune(tmp_path, bytes_max)
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == left


def test_only_the_suffix_asked_for_is_counted_and_deleted(tmp_path: Path) -> None:
    write(tmp_path / "p.h", 50, used=100)
    write(tmp_path / "p.h.gch", 50, used=100)
    disk.prune(tmp_path, 50, suffix=".gch")
    assert len(list(tmp_path.iterdir())) == 2
    disk.prune(tmp_path, 49, suffix=".gch")
    assert [p.name for p in tmp_path.iterdir()] == ["p.h"]


def test_a_directory_that_is_made_again_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    before = disk.identity(tmp_path / "d")
    assert before == disk.identity(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "gone")
    assert disk.identity(tmp_path / "d") is None
    (tmp_path / "d").mkdir()
    assert disk.identity(tmp_path / "d") not in (before, None)


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="can be written by other users"):
        disk.make_private(tmp_path)
