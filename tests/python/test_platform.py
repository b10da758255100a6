"""What an engine says of its machine before torch is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VERSION = "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
# The part of CUDA's driver that is asked, with what one of an H100 answers; `status` is that of cuInit.
DRIVER = """
#include <stdio.h>
int cuInit(unsigned flags) {{ return {status}; }}
int cuDeviceGet(int *device, int ordinal) {{ *device = 7; return 0; }}
int cuDeviceGetName(char *name, int size, int device) {{
  snprintf(name, size, "NVIDIA H100 80GB HBM3");
  return device == 7 ? 0 : 101;
}}
int cuDeviceGetAttribute(int *value, int attribute, int device) {{
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : -1;
  return device == 7 ? 0 : 101;
}}
"""
ASK = "import json; from fxfarm._torch import platform as p; print(json.dumps(p.engine_platform()))"


def asked(directory: Path, cuda: str, status: int | None) -> dict[str, Any]:
    """What an engine's process says where torch is built for `cuda` and cuInit gives `status`; with None
    there is no driver.
    """
    torch = directory / "python" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise RuntimeError('torch is imported')\n")
    (torch / "version.py").write_text(VERSION.format(cuda=cuda))
    if status is not None:
        source = directory / "driver.c"
        source.write_text(DRIVER.format(status=status))
        subprocess.run(["cc", "-shared", "-o", str(directory / "libcuda.so.1"), str(source)], check=True)
    env = {**os.environ, "PYTHONPATH": str(torch.parent), "LD_LIBRARY_PATH": str(directory)}
    done = subprocess.run([sys.executable, "-c", ASK], env=env, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("cuda", "status", "gpu", "driver"),
    [
        ("'13.0'", 0, "NVIDIA H100 80GB HBM3 sm_90", "cuda 13.0"),
        # CUDA_ERROR_NO_DEVICE.
        ("'13.0'", 100, "", ""),
        ("'13.0'", None, "", ""),
        ("None", 0, "", ""),
    ],
)
def test_an_engine_says_which_gpu_it_has(
    tmp_path: Path, cuda: str, status: int | None, gpu: str, driver: str
) -> None:
    found = asked(tmp_path, cuda, status)
    assert found["torch"] == "2.11.0+cu130"
    assert (found["gpu"], found["gpu_driver"]) == (gpu, driver)
    assert found["device"] == ("cuda" if gpu else "cpu")
