"""The examples do what they say. (examples/gpt2.py is what scripts/quickstart runs.)"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import HERE, Farm
from farm_client import PATIENCE_S
from farm_models import graph_digest

ROOT = HERE.parents[2]
EXAMPLES = ROOT / "examples"
BUILD = ROOT / "build" / "release"


def example(farm: Farm, *command: object, **variables: str) -> str:
    """What the program prints; it ends with 0."""
    done = subprocess.run(
        list(map(str, command)),
        env={**farm.env, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["train.py"], ["step     1  loss ", "eager ", "default "]),
        (["eight_ranks.py", "--ranks", "2"], ["rank 0: runs default; default loaded ", '"compiled_runs": 2']),
    ],
    ids=["train", "ranks"],
)
def test_an_example_ends_on_a_compiled_stage(
    program: list[str], said: list[str], real_farm: tuple[Farm, str]
) -> None:
    farm, endpoint = real_farm
    variables = {"FXFARM_ENDPOINTS": endpoint, "FXFARM_LOCAL": "false", "FXFARM_ROLL_BACK": "false"}
    # Leaves a core to the compile.
    variables["OMP_NUM_THREADS"] = "1"
    printed = example(farm, sys.executable, EXAMPLES / program[0], *program[1:], **variables)
    assert [text for text in said if text not in printed] == [], printed


@pytest.mark.parametrize("program", ["gpt2.py", "train.py"])
def test_an_example_that_stops_before_its_stage_is_there_says_so(program: str, place: Path) -> None:
    # Whoever connects here waits.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            "FXFARM_ENDPOINTS": f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "FXFARM_LOCAL": "false",
        }
        done = subprocess.run(
            [sys.executable, EXAMPLES / program, "--seconds", "0.1"],
            env={**os.environ, "HOME": str(place), **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert ": stopped too early, " in done.stdout
    assert "--seconds" in done.stdout


@pytest.fixture
def cpp_client() -> Path:
    """The C++ example, built anew when its sources have changed."""
    if not (BUILD / "build.ninja").exists():
        pytest.skip(f"{BUILD} is not there: scripts/setup makes it")
    build = ["cmake", "--build", str(BUILD), "--target", "fxfarm_cpp_client"]
    subprocess.run(build, check=True, capture_output=True, timeout=PATIENCE_S * 5)
    return BUILD / "examples" / "cpp_client" / "fxfarm_cpp_client"


def test_the_cpp_example_gets_the_artifact_of_an_exported_graph(
    cpp_client: Path, farm: Farm, artifacts: Path, graphs: dict[float, str]
) -> None:
    exported = farm.directory / "exported"
    example(farm, sys.executable, EXAMPLES / "cpp_client" / "export_graph.py", exported)
    made = artifacts / graph_digest((exported / "graph").read_bytes())
    # It only counts bytes, so that any artifact will do.
    shutil.copy(artifacts / graphs[1.0], made)
    _, endpoint = farm.local()
    printed = example(farm, cpp_client, endpoint, exported)
    assert f"artifact of {made.stat().st_size} bytes for stage key " in printed
    assert "cpp_client: stage default loaded local-" in printed
