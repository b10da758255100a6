"""What can go wrong between a graph and its compiled form, as types that callers tell apart."""

from __future__ import annotations

REASON_CHARS_MAX = 2000


class Unserializable(Exception):
    """The graph holds something that cannot leave this process; `str()` says what and where."""


class CompileError(Exception):
    """A stage could not be compiled. `code` is one of compile_failed, unserializable, bad_input."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(shorten(reason))
        self.code = code


class HeadersMissingError(Exception):
    """A precompiled header is not there, and this process must not make it; `str()` says where."""


class CorruptArtifact(Exception):
    """The bytes are not what the farm made: truncated, altered, or not an artifact at all."""


class LoadError(Exception):
    """A sound artifact that this process cannot use, such as one made for another platform."""


def shorten(reason: str) -> str:
    """A reason bounded in length that keeps both its ends."""
    if len(reason) <= REASON_CHARS_MAX:
        return reason
    half = REASON_CHARS_MAX // 2 - 3
    return f"{reason[:half]} ... {reason[-half:]}"


def describe(error: BaseException) -> str:
    """Exception type and message on one line."""
    text = " ".join(str(error).split())
    return shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__)
