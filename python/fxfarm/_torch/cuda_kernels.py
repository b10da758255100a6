"""An artifact's Triton kernels on the client: loaded by CUDA's driver, launched by torch, without Triton.

The driver's calls hold no interpreter lock. Modules stay loaded until the process ends: unloading one waits
for the GPU, which the model's calls would feel.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import marshal
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .errors import LoadError
from .pack import GpuKernel, digest

# The driver's function by the digest of its code and name, and CUDA's number of the GPU. Read and written in
# single steps and without a lock, which a fork could leave held.
_loaded: dict[tuple[str, int], int] = {}

# As https://docs.nvidia.com/cuda/cuda-driver-api has them, without the CU_ in front.
_STREAM_CAPTURE_MODE_RELAXED = 2
_FUNC_CACHE_PREFER_SHARED = 1
_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1
_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97
# What a block may have without asking for it.
_UNASKED_SHARED_BYTES = 48 * 1024


class Kernel:
    """Stands for a CachingAutotuner whose one configuration is known: `run(*arguments, stream=...)`."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[..., None]) -> None:
        self.run = run


def load(kernel: GpuKernel) -> Kernel:
    """The kernel that an artifact carries, its code loaded once per process and GPU. Any thread.

    Raises LoadError for code of another Python, for more shared memory than the GPU has, and with the
    driver's words for what it refuses.
    """
    if kernel["magic"] != importlib.util.MAGIC_NUMBER:
        raise LoadError("its Triton kernels are launched by code for another Python")
    function = _function(kernel)
    # torch 2.11-2.13: what StaticallyLaunchedCudaKernel.run calls.
    statics: Any = torch._C._StaticCudaLauncher
    launch = statics._launch_kernel
    warps, shared, kinds = kernel["warps"], kernel["shared_bytes"], kernel["types"]
    scratch = (None,) * kernel["scratch"]

    def runner(x: int, y: int, z: int, stream: int, *args: Any) -> None:
        launch(function, x, y, z, warps, shared, kinds, args + scratch, stream)

    # Works out the grid and leaves out what is constant; its one global is what it calls then.
    return Kernel(types.FunctionType(marshal.loads(kernel["launcher"]), {"runner": runner}))


def _function(kernel: GpuKernel) -> int:
    """The driver's handle of the kernel (CUfunction). Two threads at once may load one code twice."""
    cubin, device = kernel["cubin"], kernel["device"]
    key = digest(cubin + kernel["function"].encode()), device
    known = _loaded.get(key)
    if known is not None:
        return known
    driver = _driver()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    with context(device):
        _check(driver, driver.cuModuleLoadData(ctypes.byref(module), cubin))
        name = kernel["function"].encode()
        _check(driver, driver.cuModuleGetFunction(ctypes.byref(function), module, name))
        if kernel["shared_bytes"] > _UNASKED_SHARED_BYTES:
            _allow_shared(driver, function, device, kernel["shared_bytes"])
        # By default CUDA loads a kernel when it is first launched. Drivers before 12.4 lack the call.
        if hasattr(driver, "cuFuncLoad"):
            _check(driver, driver.cuFuncLoad(function))
    return _loaded.setdefault(key, int(function.value or 0))


@contextlib.contextmanager
def context(device: int) -> Iterator[None]:
    """Makes the context that torch uses on that GPU this thread's in the body, which a thread that captures
    for a CUDA graph meanwhile does not mind. Afterwards this thread has the context and the mode of before.

    Raises LoadError with the driver's words, and OSError where there is none.
    """
    torch.cuda.init()
    driver = _driver()
    before, mode = ctypes.c_void_p(), ctypes.c_int(_STREAM_CAPTURE_MODE_RELAXED)
    _check(driver, driver.cuCtxGetCurrent(ctypes.byref(before)))
    _check(driver, driver.cuCtxSetCurrent(_primary(device)))
    try:
        _check(driver, driver.cuThreadExchangeStreamCaptureMode(ctypes.byref(mode)))
        try:
            yield
        finally:
            _check(driver, driver.cuThreadExchangeStreamCaptureMode(ctypes.byref(mode)))
    finally:
        _check(driver, driver.cuCtxSetCurrent(before))


@functools.cache
def _primary(device: int) -> ctypes.c_void_p:
    """That GPU's primary context, which torch uses. Held until the process ends, as torch holds it."""
    driver = _driver()
    context, handle = ctypes.c_void_p(), ctypes.c_int()
    _check(driver, driver.cuDeviceGet(ctypes.byref(handle), device))
    _check(driver, driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle))
    return context


def _allow_shared(driver: Any, function: ctypes.c_void_p, device: int, wanted: int) -> None:
    """Lets each block have `wanted` bytes of dynamic shared memory; raises LoadError where the GPU has less.
    As torch._C._StaticCudaLauncher._load_kernel (torch 2.11-2.13) asks for it: all that the kernel may have
    beside what it has anyway.
    """
    handle, most, fixed = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _check(driver, driver.cuDeviceGet(ctypes.byref(handle), device))
    attribute = _DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    _check(driver, driver.cuDeviceGetAttribute(ctypes.byref(most), attribute, handle))
    attribute = _FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
    _check(driver, driver.cuFuncGetAttribute(ctypes.byref(fixed), attribute, function))
    if wanted + fixed.value > most.value:
        raise LoadError(
            f"a kernel wants {wanted + fixed.value} bytes of shared memory, the GPU has {most.value}"
        )
    _check(driver, driver.cuFuncSetCacheConfig(function, _FUNC_CACHE_PREFER_SHARED))
    dynamic = most.value - fixed.value
    attribute = _FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _check(driver, driver.cuFuncSetAttribute(function, attribute, dynamic))


@functools.cache
def _driver() -> Any:
    """CUDA's driver as ctypes calls it: without the interpreter lock. Raises OSError where there is none."""
    driver = ctypes.CDLL("libcuda.so.1")
    # Handles are pointers; what is not declared would be cut to 32 bits.
    handle, number = ctypes.c_void_p, ctypes.c_int
    driver.cuModuleLoadData.argtypes = [ctypes.POINTER(handle), ctypes.c_char_p]
    driver.cuModuleGetFunction.argtypes = [ctypes.POINTER(handle), handle, ctypes.c_char_p]
    driver.cuDevicePrimaryCtxRetain.argtypes = [ctypes.POINTER(handle), number]
    driver.cuCtxGetCurrent.argtypes = [ctypes.POINTER(handle)]
    driver.cuCtxSetCurrent.argtypes = [handle]
    driver.cuThreadExchangeStreamCaptureMode.argtypes = [ctypes.POINTER(number)]
    driver.cuFuncGetAttribute.argtypes = [ctypes.POINTER(number), number, handle]
    driver.cuFuncSetAttribute.argtypes = [handle, number, number]
    driver.cuFuncSetCacheConfig.argtypes = [handle, number]
    if hasattr(driver, "cuFuncLoad"):
        driver.cuFuncLoad.argtypes = [handle]
    return driver


def _check(driver: Any, status: int) -> None:
    """Raises LoadError unless a call of the driver's went well."""
    if status == 0:
        return
    text = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(text))
    raise LoadError(f"CUDA's driver: {(text.value or b'error').decode()} ({status})")
