"""One model has one key: in each process, directory, user, rank and host, whatever its nodes are called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from farm import HERE, PYTHON

from fxfarm import _torch

NOBODY = 65534


def key_in_a_process(
    script: Path,
    env: dict[str, str] | None = None,
    *,
    path: Sequence[Path] = (),
    before: Sequence[str] = (),
    **popen: Any,
) -> str:
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, (*path, PYTHON)))}
    done = subprocess.run(
        [*before, sys.executable, str(script)],
        env={**plain, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        **popen,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def key() -> str:
    found = key_in_a_process(HERE / "keyed.py")
    assert len(found) == 64
    return found


def test_directories_variables_and_ranks_are_no_part_of_the_key(key: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a checkout of someone else's"
    elsewhere.mkdir()
    script = Path(shutil.copy(HERE / "keyed.py", elsewhere / "renamed.py"))
    variables = {"HOME": str(tmp_path), "USER": "someone", "LOGNAME": "someone", "TMPDIR": str(tmp_path)}
    variables |= {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "node-7"}
    variables |= {"HOSTNAME": "node-3", "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"}
    variables |= {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "LANG": "de_DE.UTF-8"}
    assert key_in_a_process(script, variables, cwd=elsewhere) == key


def test_where_torch_is_installed_is_no_part_of_the_key(key: str, tmp_path: Path) -> None:
    packages = Path(torch.__file__).parents[1]
    (tmp_path / "torch").symlink_to(packages / "torch")
    shown = "import torch; print(torch.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", shown],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(tmp_path)), "the other way to the same torch is taken"
    assert key_in_a_process(HERE / "keyed.py", path=[tmp_path]) == key


def test_the_user_is_no_part_of_the_key(key: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be someone else")
    try:
        subprocess.run([sys.executable, "-c", "import torch"], user=NOBODY, check=True, env={}, cwd="/")
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this interpreter or this torch is not for other users")
    with tempfile.TemporaryDirectory() as readable:
        Path(readable).chmod(0o755)
        script = Path(shutil.copy(HERE / "keyed.py", readable))
        assert key_in_a_process(script, user=NOBODY, cwd="/") == key


def test_the_host_is_no_part_of_the_key(key: str) -> None:
    apart = ["unshare", "--uts", "sh", "-c", 'hostname node-99 && exec "$@"', "sh"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no other host name can be had here")
    assert key_in_a_process(HERE / "keyed.py", before=apart) == key


def test_names_of_nodes_and_the_order_of_keywords_are_no_part_of_the_key() -> None:
    keys = []

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        keys.append(_torch.serialize(_torch.snapshot(gm, inputs)).key)
        for i, node in enumerate(gm.graph.nodes):
            node._rename(f"other_{i}")
            if len(node.kwargs) > 1:
                keywords.append(list(node.kwargs))
                node.kwargs = dict(reversed(node.kwargs.items()))
        keys.append(_torch.serialize(_torch.snapshot(gm, inputs)).key)
        return gm.forward

    keywords: list[list[str]] = []
    torch._dynamo.reset()
    torch.compile(lambda x: torch.sum(x, dim=0, keepdim=True) + 1, backend=backend)(torch.ones(3))
    assert keywords == [["dim", "keepdim"]]
    assert keys[0] == keys[1]
