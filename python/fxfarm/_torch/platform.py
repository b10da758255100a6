"""What this process can run: the fields of a platform, and the ISA levels of x86-64."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fxfarm.stages import MEASURING, Stage

# The levels of the x86-64 System V ABI as Linux names their features.
_LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    ("x86-64-v2", frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"])),
    ("x86-64-v3", frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])),
    ("x86-64-v4", frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])),
)
# Width of the vectors that Inductor writes into its C++ at each level; 1 leaves vectors to the C++ compiler.
VECTOR_BITS = {"x86-64-v1": 1, "x86-64-v2": 1, "x86-64-v3": 256, "x86-64-v4": 512}
MARCH = {"x86-64-v1": "x86-64", "x86-64-v2": "x86-64-v2", "x86-64-v3": "x86-64-v3", "x86-64-v4": "x86-64-v4"}


def isa_of(flags: frozenset[str]) -> str:
    """The highest level all of whose features, and those of the levels below, are in `flags`."""
    level = "x86-64-v1"
    for name, needed in _LEVELS:
        if not needed <= flags:
            break
        level = name
    return level


@functools.cache
def cpu_isa() -> str:
    """The level of this machine's CPU; empty on machines that are not x86-64."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return isa_of(frozenset(line.partition(":")[2].split()))
    return "x86-64-v1"


def isa_rank(isa: str) -> int:
    """1 to 4 for a level, 0 for a text that is none."""
    names = list(VECTOR_BITS)
    return names.index(isa) + 1 if isa in names else 0


def host_platform() -> dict[str, Any]:
    """What can be said of a process that uses the CPU before torch is imported."""
    return {
        "torch": _torch_says("__version__"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "triton": _installed("triton"),
        "arch": platform.machine(),
        "isa": cpu_isa(),
        "threads": os.cpu_count() or 1,
        "device": "cpu",
        "gpu": "",
        "gpu_driver": "",
    }


def engine_platform() -> dict[str, Any]:
    """What an engine on this machine will compile for, before torch is imported: for its GPU where torch is
    built for CUDA and finds one.
    """
    found = host_platform()
    cuda = _torch_says("cuda")
    name = _first_gpu() if cuda else ""
    return {**found, "device": "cuda", "gpu": name, "gpu_driver": f"cuda {cuda}"} if name else found


def _first_gpu() -> str:
    """Name and compute capability of the first GPU as CUDA's driver counts them, which is as torch does;
    empty where there is no driver or no GPU.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    # https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html; 0 is CUDA_SUCCESS.
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, len(name), device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    )
    return "" if failed else _gpu(name.value.decode(), major.value, minor.value)


def _gpu(name: str, major: int, minor: int) -> str:
    return f"{name} sm_{major}{minor}"


# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


def gpu_serves(mine: str, wanted: str) -> bool:
    """Whether code for the GPU `wanted` runs on `mine`, both as in a platform (`serves_gpu` of
    runtime/platform.cpp)."""
    return mine == wanted or (wanted.startswith("sm_") and mine.endswith(f" {wanted}"))


def _measures(stages: Sequence[Stage]) -> bool:
    import torch._inductor.config as config

    asked = {
        name for stage in stages for name, text in stage["options"].items() if text not in ("false", "null")
    }
    return bool(asked & MEASURING) or any(getattr(config, name) for name in MEASURING)


# What ATEN_CPU_CAPABILITY limits ATen's own kernels to, as a level.
_ATEN_LIMITS = {"default": "x86-64-v2", "avx2": "x86-64-v3"}


def target_platform(device: str, isa_max: str, stages: Sequence[Stage] = ()) -> dict[str, Any]:
    """What artifacts for this process are to be made for: its platform, with kernels of at most the level
    `isa_max` (empty: any) and of what ATEN_CPU_CAPABILITY keeps ATen's to. Where none of `stages` has kernels
    measured beside each other, any GPU of this one's compute capability will do.
    """
    found = client_platform(device)
    if found["gpu"] and not _measures(stages):
        found["gpu"] = found["gpu"].rpartition(" ")[2]
    limits = [isa_max, _ATEN_LIMITS.get(os.environ.get("ATEN_CPU_CAPABILITY", "").lower(), "")]
    # On machines that are not x86-64 there is no level to lower.
    if found["isa"]:
        found["isa"] = min([found["isa"], *filter(None, limits)], key=isa_rank)
    return found


def client_platform(device: str = "cpu") -> dict[str, Any]:
    """The platform of this process for graphs on `device`."""
    import torch

    found = {
        **host_platform(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["gpu"] = _gpu(properties.name, properties.major, properties.minor)
        found["gpu_driver"] = f"cuda {torch.version.cuda}"
    return found


@functools.cache
def _torch_says(name: str) -> str:
    """A text of torch.version without importing torch, empty for one that is None; torch's distribution's
    version may lack the part behind `+`.
    """
    found = importlib.util.find_spec("torch")
    if found is None or not found.origin:
        return ""
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        # A broken installation; importing it will say how.
        return ""
    said = re.search(rf"^{name}(?:: [^=]+)? = '([^']+)'", text, re.MULTILINE)
    return said.group(1) if said else ""


@functools.cache
def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
