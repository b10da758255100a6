from __future__ import annotations

import dataclasses
import stat
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
import torch
from farm import PYTHON, SHARED, farm, run_client, stage_of
from models import classifier, gpt2, row_sum
from unloadable import NOT_FOUND, needing_a_newer_library

from fxfarm import _torch
from fxfarm._torch import pack


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Artifacts of the client's models on disk, each compiled once for the whole file."""
    folder = tmp_path_factory.mktemp("artifacts")
    model, inputs = gpt2()
    trained = classifier()
    made = {}
    for name, fn, call, grad in (
        ("gpt2", model, lambda f: f(**inputs), False),
        ("classifier", trained, lambda f: f(torch.randn(2, 3, 8, 8)), True),
        ("row_sum", row_sum, lambda f: f(torch.ones(64, 64)), False),
    ):
        torch._dynamo.reset()
        compiled, done = farm(fn, folder / "kernels")
        with torch.set_grad_enabled(grad):
            call(compiled)
        made[name] = folder / name
        made[name].write_bytes(done[0].artifact)
    return made


NO_COMPILER = {"CXX": "/bin/false", "PATH": "/nonexistent"}


@pytest.mark.parametrize("model", ["gpt2", "classifier"])
def test_a_client_without_compiler_loads_and_runs(
    model: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    report = run_client("run", model, str(artifacts[model]), str(tmp_path / "kernels"), env=NO_COMPILER)
    assert report["error"] <= 1e-5 * max(1.0, report["scale"])
    assert report["compiler_modules"] == [], (
        "neither the load nor forward and backward may import the compiler"
    )
    assert report["programs"] == []


def test_another_directory_user_and_home_run_the_same_artifact(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    env = {**NO_COMPILER, "USER": "someone-else", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    report = run_client(
        "run", "row_sum", str(artifacts["row_sum"]), str(tmp_path / "k"), env=env, cwd=tmp_path
    )
    assert report["error"] <= 1e-5 * report["scale"]


def test_an_environment_at_another_path_runs_the_same_artifact(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    place = tmp_path / "venv"
    venv.create(place, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place)}))
    ours = Path(torch.__file__).parents[1]
    packages.rmdir()
    packages.symlink_to(ours)
    env = {**NO_COMPILER, "PYTHONPATH": f"{packages if ours == PYTHON else PYTHON}:{SHARED}"}
    report = run_client(
        *("run", "row_sum", str(artifacts["row_sum"]), str(tmp_path / "k")),
        env=env,
        python=str(place / "bin" / Path(sys.executable).name),
    )
    assert (report["prefix"], Path(report["torch"]).parents[1]) == (str(place), packages)
    assert report["error"] <= 1e-5 * report["scale"]
    assert report["programs"] == []


@pytest.mark.parametrize("threads", ["1", "2", "8", "32"])
def test_code_compiled_for_two_threads_is_right_for_any_count(
    threads: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    report = run_client("run", "row_sum", str(artifacts["row_sum"]), str(tmp_path / "kernels"), threads)
    assert report["error"] <= 1e-5 * report["scale"]


def test_every_altered_byte_is_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    sound = artifacts["row_sum"].read_bytes()
    for at in range(0, len(sound), max(1, len(sound) // 200)):
        bad = bytearray(sound)
        bad[at] ^= 1
        with pytest.raises(_torch.CorruptArtifact):
            _torch.load_artifact(bytes(bad), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 100])
def test_bytes_that_are_no_artifact_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(_torch.CorruptArtifact):
        _torch.load_artifact(data, tmp_path)


def test_an_artifact_laid_out_in_another_way_is_refused_as_corrupt(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    sound = pack.unpack(artifacts["row_sum"].read_bytes())
    without_magic = [{k: v for k, v in code.items() if k != "magic"} for code in sound.codes]
    old = pack.pack(dataclasses.replace(sound, codes=without_magic))
    with pytest.raises(_torch.CorruptArtifact, match="wrapper lacks"):
        _torch.load_artifact(old, tmp_path)


GPU_KERNEL = {
    **{"name": "n", "function": "f", "types": "OO", "cubin": b"x", "launcher": b"x", "magic": b"x"},
    **{"device": 0, "shared_bytes": 0, "warps": 4, "scratch": 0},
}


@pytest.mark.parametrize(
    "change",
    [{field: None} for field in GPU_KERNEL]
    + [{"device": -1}, {"warps": True}, {"shared_bytes": 1.5}, {"cubin": "x"}, {"types": b"OO"}],
    ids=str,
)
def test_a_gpus_kernel_that_is_none_is_refused_as_corrupt(
    change: dict[str, Any], artifacts: dict[str, Path], tmp_path: Path
) -> None:
    sound = pack.unpack(artifacts["row_sum"].read_bytes())
    pack.unpack(pack.pack(dataclasses.replace(sound, gpu_kernels=[GPU_KERNEL])))
    bad = pack.pack(dataclasses.replace(sound, gpu_kernels=[{**GPU_KERNEL, **change}]))
    with pytest.raises(_torch.CorruptArtifact, match=f"kernel has {next(iter(change))}"):
        _torch.load_artifact(bad, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("torch", "1.0.0"), ("python", "2.7"), ("arch", "riscv64"), ("triton", "9.9")],
)
def test_an_artifact_for_another_platform_is_refused(
    field: str, value: str, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(_torch.LoadError, match=f"made for {field} '{value}'"):
        _torch.load_artifact(_altered(artifacts["row_sum"], field, value), tmp_path)


def test_an_artifact_above_this_cpu_is_refused(
    artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fxfarm._torch import platform

    monkeypatch.setattr(platform, "cpu_isa", lambda: "x86-64-v2")
    with pytest.raises(_torch.LoadError, match="this CPU has x86-64-v2"):
        _torch.load_artifact(_altered(artifacts["row_sum"], "isa", "x86-64-v3"), tmp_path)


def _altered(path: Path, field: str, value: str) -> bytes:
    artifact = pack.unpack(path.read_bytes())
    artifact.manifest["platform"][field] = value
    return pack.pack(artifact)


def test_a_missing_kernel_is_an_error_and_never_a_compile(artifacts: dict[str, Path], tmp_path: Path) -> None:
    artifact = pack.unpack(artifacts["row_sum"].read_bytes())
    artifact.files.clear()
    with pytest.raises(_torch.LoadError, match="no kernel"):
        _torch.load_artifact(pack.pack(artifact), tmp_path)


def test_a_kernel_that_needs_a_newer_library_is_refused_with_its_name(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(_torch.LoadError, match=NOT_FOUND):
        _torch.load_artifact(needing_a_newer_library(artifacts["row_sum"].read_bytes()), tmp_path)


def test_kernels_are_private_files_named_by_content(artifacts: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    run_client("run", "row_sum", str(artifacts["row_sum"]), str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert files
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.name == f"{pack.digest(file.read_bytes())}.so"


def test_a_damaged_kernel_file_is_replaced(artifacts: dict[str, Path], tmp_path: Path) -> None:
    data = artifacts["row_sum"].read_bytes()
    name = pack.unpack(data).files[0]["digest"]
    (tmp_path / "k").mkdir(mode=0o700)
    (tmp_path / "k" / f"{name}.so").write_bytes(b"damaged")
    report = run_client("run", "row_sum", str(artifacts["row_sum"]), str(tmp_path / "k"))
    assert report["error"] <= 1e-5 * report["scale"]
    assert pack.digest((tmp_path / "k" / f"{name}.so").read_bytes()) == name


def test_a_directory_that_others_can_write_to_is_refused(artifacts: dict[str, Path], tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(_torch.LoadError, match="can be written by other users"):
        _torch.load_artifact(artifacts["row_sum"].read_bytes(), tmp_path)


def test_a_user_of_inductor_on_the_side_is_not_affected(artifacts: dict[str, Path], tmp_path: Path) -> None:
    from torch._inductor.async_compile import AsyncCompile

    before: Any = AsyncCompile.cpp_pybinding
    _torch.load_artifact(artifacts["row_sum"].read_bytes(), tmp_path / "k")
    assert AsyncCompile.cpp_pybinding is before


def test_an_unknown_option_is_bad_input(through_farm: Any) -> None:
    with pytest.raises(_torch.CompileError, match="unknown option nope") as caught:
        _torch.compile_graph(b"", stage_of({"nope": 1}), _torch.client_platform())
    assert caught.value.code == "bad_input"


@pytest.mark.parametrize("payload", [b"", b"garbage", b"\x80"])
def test_bytes_that_are_no_graph_are_bad_input(payload: bytes) -> None:
    with pytest.raises(_torch.CompileError) as caught:
        _torch.compile_graph(payload, stage_of(), _torch.client_platform())
    assert caught.value.code == "bad_input"
