"""An artifact's shared objects on the client: written once by content, loaded without the lock."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fxfarm import _core, disk

from .errors import LoadError
from .pack import digest

# Read and written in single steps and without a lock, which a fork could leave held.
_loaded: dict[str, Callable[..., Any]] = {}


def place(directory: Path, data: bytes, name: str) -> Path:
    """The file for content `name`: one whose bytes are right, or a new one put there in one step."""
    path = directory / f"{name}.so"
    try:
        if digest(path.read_bytes()) == name:
            disk.touch(path)
            return path
    except FileNotFoundError:
        pass
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def load(directory: Path, data: bytes, name: str) -> Callable[..., Any]:
    """The function `kernel` of the shared object with content `name`, loaded once per process from a file in
    `directory`.
    """
    known = _loaded.get(name)
    if known is not None:
        return known
    path = place(directory, data, name)
    # Without the interpreter lock; the import below then finds the library opened.
    _core.preload(str(path))
    # Kernels read the address of this accessor when they initialize (torch 2.11-2.13,
    # CppPythonBindingsCodeCache).
    guards: Any = torch._C._dynamo.guards
    address = guards._torchinductor_pyobject_tensor_data_ptr
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(address)
    # The last part of the name picks PyInit_kernel.
    spec = importlib.util.spec_from_file_location(f"fxfarm_kernel_{name}.kernel", path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no extension module")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        raise LoadError(f"kernel {name[:16]}: {error}") from error
    return _loaded.setdefault(name, module.kernel)
