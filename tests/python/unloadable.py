"""Artifacts that are sound and that no machine can load."""

from __future__ import annotations

import re

from fxfarm._torch import pack

NEEDED = re.compile(rb"\0(GLIBC(?:XX)?_)\d+(\.\d+)+(?=\0)")
"""A version of the C or C++ library's symbols, as the linker's table of names has it."""
NOT_FOUND = r"GLIBC(XX)?_9[.\d]+' not found"
"""What loading such an artifact says."""


def needing_a_newer_library(artifact: bytes) -> bytes:
    """The artifact as a worker on a newer base would have made it."""
    altered = pack.unpack(artifact)
    assert altered.files
    for file in altered.files:
        file["data"], count = NEEDED.subn(_of_nowhere, file["data"])
        assert count > 0
        file["digest"] = pack.digest(file["data"])
    return pack.pack(altered)


def _of_nowhere(needed: re.Match[bytes]) -> bytes:
    """A version of the same length that no library has."""
    name = len(needed[1]) + 1
    return needed[0][:name] + b"9" + needed[0][name + 1 :]
