"""The artifact: one msgpack map that names and carries everything a client needs to run a stage."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, get_type_hints

import msgpack

from .errors import CorruptArtifact

FORMAT = 5
"""Part of every graph key: what was packed in another way is missed and not misread."""
_CODE_FIELDS = {"source", "code", "magic"}


class GpuKernel(TypedDict):
    """A Triton kernel that is launched without Triton, in the one configuration that the worker chose."""

    name: str
    """Its key, see triton_tuning.triton_key."""
    function: str
    """Its name in the machine code."""
    cubin: bytes
    """The machine code of one CUDA module."""
    device: int
    """CUDA's number of the GPU that launches it."""
    shared_bytes: int
    """Of dynamic shared memory, for each block."""
    warps: int
    """In each block."""
    types: str
    """Of what it is launched with, a letter each (StaticallyLaunchedCudaKernel.arg_tys, torch 2.11-2.13)."""
    scratch: int
    """So many of the last of these are null pointers: memory that the launcher is not to bring."""
    launcher: bytes
    """Marshalled code of a function of the wrapper's arguments; calls its global `runner` with the grid."""
    magic: bytes
    """Of the Python that can run that code (importlib.util.MAGIC_NUMBER)."""


_GPU_KERNEL_FIELDS: Mapping[str, type] = get_type_hints(GpuKernel)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """`entry`: the pickled result of AOTAutograd, or of Inductor alone for an inner graph; `codes`: its
    wrappers; `files`: its shared objects; `gpu_kernels`: its Triton kernels.
    """

    manifest: dict[str, Any]
    entry: bytes
    codes: list[dict[str, Any]]
    files: list[dict[str, Any]]
    gpu_kernels: list[GpuKernel]
    constants: list[dict[str, Any]]


def digest(data: bytes | memoryview) -> str:
    """64 hex digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()


def pack(artifact: Artifact) -> bytes:
    """One bytes object: the digest of the body, then the body."""
    body = msgpack.packb(
        {
            "format": FORMAT,
            "manifest": artifact.manifest,
            "entry": artifact.entry,
            "code": artifact.codes,
            "files": artifact.files,
            "gpu_kernels": artifact.gpu_kernels,
            "constants": artifact.constants,
        }
    )
    assert isinstance(body, bytes)
    return hashlib.sha256(body).digest() + body


def unpack(data: bytes | memoryview) -> Artifact:
    """Raises CorruptArtifact unless every byte is as `pack` wrote it."""
    view = memoryview(data)
    head = hashlib.sha256().digest_size
    if len(view) <= head or hashlib.sha256(view[head:]).digest() != bytes(view[:head]):
        raise CorruptArtifact("the artifact's digest does not match its bytes")
    try:
        body = msgpack.unpackb(view[head:], strict_map_key=False)
        if body["format"] != FORMAT:
            raise CorruptArtifact(f"artifact format {body['format']}, this client reads {FORMAT}")
        parts = ("manifest", "entry", "code", "files", "gpu_kernels", "constants")
        found = Artifact(*(body[part] for part in parts))
        _check_files(found.files)
        _check_gpu_kernels(found.gpu_kernels)
        if not all(code.keys() >= _CODE_FIELDS for code in found.codes):
            raise CorruptArtifact("a wrapper lacks its source, its code or the mark of its Python")
    # A RecursionError: what is nested deeply enough cannot be shown.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArtifact(f"not an artifact: {type(error).__name__}: {error}") from error
    return found


def _check_files(files: Iterable[dict[str, Any]]) -> None:
    for file in files:
        if digest(file["data"]) != file["digest"]:
            raise CorruptArtifact(f"file {file['name']} does not match its digest")


def _check_gpu_kernels(kernels: Iterable[Mapping[str, Any]]) -> None:
    for kernel in kernels:
        for field, kind in _GPU_KERNEL_FIELDS.items():
            value = kernel[field]
            if type(value) is not kind or (isinstance(value, int) and value < 0):
                raise CorruptArtifact(f"a GPU's kernel has {field} {value!r:.80}")
