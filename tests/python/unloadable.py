"""Artifacts that are sound and that no machine can load."""

from __future__ import annotations

from fxfarm._torch import pack

# A version of the C++ library's symbols that every kernel needs, as the linker's table of names has it, and
# one of the same length that no library has.
NEEDED, NOWHERE = b"\0GLIBCXX_3.4.21\0", b"\0GLIBCXX_9.4.21\0"


def needing_a_newer_library(artifact: bytes) -> bytes:
    """The artifact as a worker on a newer base would have made it."""
    altered = pack.unpack(artifact)
    assert altered.files
    for file in altered.files:
        assert file["data"].count(NEEDED) == 1
        file["data"] = file["data"].replace(NEEDED, NOWHERE)
        file["digest"] = pack.digest(file["data"])
    return pack.pack(altered)
