"""Graphs that a process has recorded, and what is refused of a directory of them."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fxfarm import _core, disk, manifest, runtime
from fxfarm._torch import platform
from fxfarm.warm import replay
from fxfarm.warm.__main__ import given, main
from fxfarm.warm.build import BuildError, find
from fxfarm.warm.options import UsageError, parse, parse_shapes


def request(name: str = "m", **fields: Any) -> manifest.Request:
    standard: dict[str, Any] = {
        **{"key": "a" * 64, "name": name, "payload": b"graph" * 100, "parts": {"inputs": "1"}},
        **{"stages": [{"name": "default", "options": {}}], "target": platform.host_platform()},
    }
    return manifest.Request(**{**standard, **fields})


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FXFARM_LOCAL", "false")
    # Nobody is there.
    monkeypatch.setenv("FXFARM_ENDPOINTS", f"ipc://{tmp_path}/nobody.sock")


def written(directory: Path, *requests: manifest.Request) -> list[Path]:
    recorder = manifest.Recorder(directory, 1 << 20)
    for one in requests:
        recorder.write(one)
    return manifest.files_of(directory)


def test_what_was_recorded_is_read_again_and_recorded_once(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    files = written(directory, request("a"), request("b"), request("a"))
    assert sorted(manifest.read(f).name for f in files) == ["a", "b"]
    assert request("a") in [manifest.read(f) for f in files]
    assert {f.name for f in directory.iterdir()} == {f.name for f in files}
    assert directory.stat().st_mode & 0o077 == 0


def test_the_least_recently_recorded_go_first(tmp_path: Path) -> None:
    (first,) = written(tmp_path / "m", request("first"))
    os.utime(first, (1, 1))
    size = first.stat().st_size
    recorder = manifest.Recorder(tmp_path / "m", 2 * size + size // 2)
    for name in ("other", "third"):
        recorder.write(request(name))
    left = {manifest.read(f).name for f in manifest.files_of(tmp_path / "m")}
    assert left == {"other", "third"}


def test_only_what_is_in_the_directory_itself_counts(tmp_path: Path) -> None:
    (other,) = written(tmp_path / "m" / "other", request("other"))
    os.utime(other, (1, 1))
    size = other.stat().st_size
    recorder = manifest.Recorder(tmp_path / "m", size + size // 2)
    for name in ("first", "third"):
        recorder.write(request(name))
    (left,) = manifest.files_of(tmp_path / "m")
    assert manifest.read(left).name == "third"
    assert left.stat().st_mode & 0o777 == 0o600
    assert other.exists()


def test_not_every_graph_costs_a_look_at_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    prune = disk.prune
    monkeypatch.setattr(disk, "prune", lambda *given, **how: looks.append(given[1]) or prune(*given, **how))
    (first,) = written(tmp_path / "m", request("n000"))
    size = first.stat().st_size
    looks.clear()
    recorder = manifest.Recorder(tmp_path / "m", 100 * size)
    for number in range(1, 110):
        recorder.write(request(f"n{number:03}"))
    # The first write, the one that is one too many, and after 6 more there is another one.
    assert len(looks) == 3
    assert 93 <= len(manifest.files_of(tmp_path / "m")) <= 100


def test_what_dead_processes_left_half_written_goes_after_a_while(tmp_path: Path) -> None:
    disk.make_private(tmp_path / "m")
    names = (".a.fxgraph.1.tmp", ".b.fxgraph.2.tmp", ".c.other.1.tmp")
    for name in names:
        (tmp_path / "m" / name).write_bytes(b"x")
    for name in (names[0], names[2]):
        os.utime(tmp_path / "m" / name, (1, 1))
    written(tmp_path / "m", request())
    left = {f.name for f in (tmp_path / "m").iterdir() if f.name.startswith(".")}
    assert left == {names[1], names[2]}


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m").chmod(0o777)
    with pytest.raises(PermissionError):
        written(tmp_path / "m", request())


def test_a_manifest_that_everybody_may_write_to_is_refused_and_one_of_a_group_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "m"
    files = written(directory, request())
    directory.chmod(0o775)
    assert manifest.files_of(directory) == files
    # Where only owners delete, everybody adds.
    for mode in (0o777, 0o1777, 0o702):
        directory.chmod(mode)
        assert main(["--manifest", str(directory)]) == 2
        assert f"{directory} can be written by every user" in capsys.readouterr().err


def _named_by_digest(directory: Path, data: bytes) -> Path:
    path = directory / (_core.digest(data) + manifest.SUFFIX)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda body: msgpack.packb({**body, "format": 99}), "format"),
        (lambda body: msgpack.packb([1, 2]), "format"),
        (lambda body: b"\xc1", "no msgpack"),
        (lambda body: msgpack.packb({**body, "payload": "text"}), "payload is no bytes"),
        (lambda body: msgpack.packb({k: v for k, v in body.items() if k != "key"}), "key is no str"),
    ],
)
def test_what_is_no_request_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], bytes], why: str
) -> None:
    (good,) = written(tmp_path / "m", request())
    bad = _named_by_digest(tmp_path / "m", damage(msgpack.unpackb(good.read_bytes())))
    with pytest.raises(manifest.DamagedRequest, match=why):
        manifest.read(bad)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    (file,) = written(tmp_path / "m", request())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(manifest.DamagedRequest, match="does not hold"):
        manifest.read(file)


# `fxfarm warm` on one.


def warmed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    status = main([*argv, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_graphs_of_another_torch_and_damaged_ones_are_told_and_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**platform.host_platform(), "torch": "1.0.0"}
    files = written(tmp_path / "m", request("old", target=other), request("cut"))
    cut = next(f for f in files if manifest.read(f).name == "cut")
    cut.write_bytes(b"x")
    status, told = warmed(capsys, "--manifest", str(tmp_path / "m"))
    assert status == 1
    assert len(told["problems"]) == 2
    assert any("recorded with torch 1.0.0, and this is torch" in p for p in told["problems"])
    assert any("does not hold what its name says" in p for p in told["problems"])
    assert told["stages_ready"] == 0


def test_a_host_without_torch_leaves_it_to_the_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "_torch_says", lambda name: "")
    assert replay.refused(request(target={"torch": "1.0.0"})) == ""


def test_what_is_not_there_in_time_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "m", request("late"))
    status, told = warmed(capsys, "--manifest", str(tmp_path / "m"), "--timeout", "0.01")
    assert status == 1
    (problem,) = told["problems"]
    assert problem.startswith("late default: not in time, waiting")


@pytest.mark.parametrize("address", ["taken", "localhost:9464"])
def test_where_its_metrics_cannot_be_served_it_goes_on(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "m", request("late"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("FXFARM_CLIENT_METRICS", port if address == "taken" else address)
        status, told = warmed(capsys, "--manifest", str(tmp_path / "m"), "--timeout", "0.01")
    assert (status, len(told["problems"])) == (1, 1)
    assert told["problems"][0].startswith("late default: not in time")


def test_where_no_farm_can_be_asked_the_reason_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "m", request())
    argv = ["--manifest", str(tmp_path / "m")]
    assert main([*argv, "--endpoints", "tcp://a:99999"]) == 2
    assert "no farm can be asked: bad_input: endpoint 'tcp://a:99999'" in capsys.readouterr().err
    monkeypatch.delenv("FXFARM_ENDPOINTS")
    monkeypatch.delenv("FXFARM_LOCAL")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    assert main(argv) == 2
    assert "set XDG_RUNTIME_DIR or TMPDIR to a shorter one" in capsys.readouterr().err

    def fail(_: object) -> None:
        raise RuntimeError("io: no more sockets")

    monkeypatch.setattr(replay.local_farm, "connect", fail)
    status, told = warmed(capsys, *argv)
    assert (status, told["problems"]) == (1, ["no farm can be asked: io: no more sockets"])


def test_an_empty_manifest_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk.make_private(tmp_path / "m")
    assert warmed(capsys, "--manifest", str(tmp_path / "m"))[1]["problems"] == ["there is no graph"]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ([], "want either"),
        (["m:f", "--manifest", "d"], "want either"),
        (["m:f", "--training", "--inference"], "--training or --inference"),
        (["m:f", "--shapes", "4y8"], "'4y8' is no shape"),
        (["m:f", "--shapes", "4x"], "'4x' is no shape"),
        (["m:f", "--shapes", ",".join(["1"] * 1001)], "at most 1000"),
        (["m:f", "--stages", "fast"], "unknown stage 'fast'"),
        (["m:f", "--timeout", "soon"], "--timeout"),
        (["m:f", "--wrong"], "--wrong"),
        (["m"], "names no function"),
        (["no_such_module_here:f"], "there is no module"),
        (["/no/such/file.py:f"], "there is no file"),
        (["json:no_such_function"], "has no function"),
        (["--manifest", "/no/such/directory"], "cannot be read: No such file"),
        (["--manifest", "d", "--stages", "default"], "a manifest has its shapes and stages"),
        (["m:f", "--endpoints", "http://x"], "endpoints"),
    ],
)
def test_a_command_line_that_cannot_be_used_exits_with_2(
    argv: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


def test_shapes_are_numbers_with_x_between_them() -> None:
    assert parse_shapes("4x128, 8x128,3") == ((4, 128), (8, 128), (3,))
    assert parse(["m:f"]).shapes == ()


def test_a_module_that_breaks_is_told_apart_from_one_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_dependency\n")
    with pytest.raises(BuildError, match="no_such_dependency"):
        find(f"{tmp_path}/bad.py:f")
    (tmp_path / "worse.py").write_text("1 / 0\n")
    with pytest.raises(BuildError, match="ZeroDivisionError"):
        find(f"{tmp_path}/worse.py:f")
    (tmp_path / "program.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(BuildError, match="SystemExit"):
        find(f"{tmp_path}/program.py:f")
    with pytest.raises(UsageError):
        find(f"{tmp_path}/bad.py:")


def broken(shape: tuple[int, ...]) -> Any:
    raise OSError("no weights here") if shape == (2, 8) else SystemExit(0)


def fixed() -> Any:
    return abs, 1


def test_what_cannot_be_built_is_told_for_each_shape(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_given", {})
    status, told = warmed(capsys, f"{__name__}:broken", "--shapes", "2x8,4x8")
    assert (status, told["problems"]) == (
        1,
        [
            "for 2x8: the function raised OSError: no weights here",
            "for 4x8: the function raised SystemExit: 0",
        ],
    )
    assert main([f"{__name__}:fixed", "--shapes", "2x8"]) == 2
    assert "the function takes no shape" in capsys.readouterr().err


def test_a_manifest_that_may_not_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert main(["--manifest", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be read: Permission denied" in capsys.readouterr().err


def test_no_local_farm_stands_in_for_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXFARM_LOCAL")
    assert given(parse(["m:f"])) == {"local": False}
    monkeypatch.delenv("FXFARM_ENDPOINTS")
    assert given(parse(["m:f"])) == {}
    assert given(parse(["m:f", "--endpoint", "ipc:///x"])) == {"endpoints": ("ipc:///x",), "local": False}
    monkeypatch.setenv("FXFARM_LOCAL", "true")
    assert given(parse(["m:f", "--endpoints", "ipc:///x"]))["local"] is False
