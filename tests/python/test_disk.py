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


def test_the_half_written_files_of_a_killed_process_go(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fxfarm import disk\n"
        "mine = Path(sys.argv[1]); (mine / 'whole.so').write_bytes(b'x'); time.sleep(0.05)\n"
        "with disk.unfinished(mine):\n"
        "    (mine / 'half.so').write_bytes(b'x'); print('half', flush=True); time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    disk.discard_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["whole.so"]


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


def test_a_file_appears_as_a_whole_with_the_mode_asked_for(tmp_path: Path) -> None:
    disk.write_whole(tmp_path / "secret", b"1")
    before = os.umask(0o027)
    try:
        disk.write_whole(tmp_path / "open", b"2", mode=0o666)
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "open": 0o640}


def test_a_file_that_cannot_get_its_name_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        disk.write_whole(tmp_path / "taken", b"1")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="can be written by other users"):
        disk.make_private(tmp_path)
