"""The package's public face and its binding."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fxfarm
from fxfarm import _cli, _core, config, local_farm, runtime


def test_importing_it_is_cheap() -> None:
    code = (
        "import sys, threading, fxfarm; fxfarm.stats();"
        "assert 'torch' not in sys.modules and threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_graph_there_is_nothing_to_wait_for_or_tell() -> None:
    assert runtime.current() is None
    assert fxfarm.wait(timeout=0)
    assert fxfarm.graphs() == []
    counted = "bg_started bg_finished eager_runs compiled_runs fast_runs optimized_runs"
    counted += " switches_agreed switches_aborted switches_waited"
    assert fxfarm.stats() == dict.fromkeys(counted.split(), 0)
    fxfarm.reset_stats()
    fxfarm.shutdown()


def test_every_public_name_exists_and_says_what_it_is() -> None:
    for name in set(fxfarm.__all__) - {"__version__"}:
        assert getattr(fxfarm, name).__doc__
    assert _core.version() == fxfarm.__version__


def test_without_torch_the_backend_names_the_versions_that_it_works_with(tmp_path: Path) -> None:
    from fxfarm._torch.compat import SUPPORTED

    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    found = subprocess.run(
        [sys.executable, "-c", "import fxfarm.backend"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(fxfarm.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    (low, (major, minor)) = SUPPORTED
    assert f"pip install 'torch>={low[0]}.{low[1]},<{major}.{minor + 1}'" in found.stderr


def test_torch_knows_the_backend() -> None:
    import torch

    assert "fxfarm" in torch._dynamo.list_backends()


def test_digests_equal_the_farms() -> None:
    assert _core.digest(b"abc") == hashlib.blake2b(b"abc", digest_size=32).hexdigest()


def test_preload_says_what_the_linker_says(tmp_path: Path) -> None:
    library = tmp_path / "no.so"
    library.write_text("no library")
    with pytest.raises(OSError, match=r"no\.so"):
        _core.preload(str(library))
    _core.preload("libc.so.6")


def test_the_local_farms_socket_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert _core.default_local_socket("t").startswith(f"ipc://{tmp_path}/fxfarm/")
    assert _core.default_local_socket("t") != _core.default_local_socket("u")
    with pytest.raises(ValueError, match="bad_input"):
        _core.default_local_socket("a/b")


def test_the_local_farm_runs_the_packages_program_in_this_environment() -> None:
    options = config.Config(python="/p", salt="s")
    program, *arguments = local_farm.command("ipc:///run/f.sock", options)
    assert Path(program).parts[-3:] == ("fxfarm", "bin", "fxfarm")
    assert " ".join(arguments) == "local --detach --socket /run/f.sock --python /p --salt s"
    assert local_farm.command("ipc:///run/f.sock", config.Config(local=False)) == []


def test_environments_do_not_share_a_local_farm() -> None:
    assert local_farm.environment_tag("/a/python") != local_farm.environment_tag("/b/python")
    assert local_farm.environment_tag("/a/python") == local_farm.environment_tag("/a/python")


def test_a_client_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="bad_input"):
        _core.Client()


def test_the_script_says_when_its_program_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cli, "PROGRAM", tmp_path / "fxfarm")
    monkeypatch.setenv("FXFARM_PYTHON", "kept")
    with pytest.raises(SystemExit, match=r"cannot run .*No such file"):
        _cli.main()
