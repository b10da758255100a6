"""What an engine reads while it waits for kernels."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from fxfarm import engine
from fxfarm._torch.kernel_queue import Answer

JOB = "job"


class Pipes:
    """The worker's end of an engine's input, and a descriptor that wakes it."""

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self.source = os.fdopen(read, "rb", buffering=0)
        self.channel = engine.Channel(self.source, io.BytesIO())
        self.elsewhere = engine.KernelsElsewhere(self.channel, JOB, 8)
        self.wake = os.eventfd(0)

    def write(self, data: bytes) -> None:
        os.write(self._write, data)

    def end(self) -> None:
        os.close(self._write)
        self._write = -1

    def wait(self) -> Any:
        return self.elsewhere.wait(self.wake)

    def close(self) -> None:
        self.source.close()
        os.close(self.wake)
        if self._write >= 0:
            self.end()


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def frame(**fields: Any) -> bytes:
    sink = io.BytesIO()
    engine.Channel(io.BytesIO(), sink).send(**fields)
    return sink.getvalue()


DONE = frame(type="kernel_done", id=JOB, kernel="a", library=b"library")
BUSY = frame(type="kernel_failed", id=JOB, kernel="b", code="busy", reason="")
FAILED = frame(type="kernel_failed", id=JOB, kernel="c", code="compile_failed", reason="")
LATE = frame(type="kernel_done", id="before", kernel="a", library=b"library")
SHUTDOWN = frame(type="shutdown")


def test_answers_come_together_and_in_their_order(pipes: Pipes) -> None:
    pipes.write(DONE + LATE + BUSY + FAILED)
    assert pipes.wait() == [Answer("a", b"library"), Answer("b", None, busy=True), Answer("c", None)]


def test_an_answer_without_a_library_has_an_empty_one(pipes: Pipes) -> None:
    pipes.write(frame(type="kernel_done", id=JOB, kernel="a"))
    assert pipes.wait() == [Answer("a", b"")]


def test_one_that_was_read_with_another_frame_is_not_missed(pipes: Pipes) -> None:
    pipes.write(frame(type="compile") + DONE)
    assert pipes.channel.receive() == {"type": "compile"}
    assert pipes.wait() == [Answer("a", b"library")]


def test_who_is_done_here_does_not_wait_for_the_rest_of_a_frame(pipes: Pipes) -> None:
    pipes.write(DONE[:9])
    os.eventfd_write(pipes.wake, 1)
    assert pipes.wait() == ()
    os.eventfd_read(pipes.wake)
    pipes.write(DONE[9:])
    assert pipes.wait() == [Answer("a", b"library")]


def _nothing_more(pipes: Pipes) -> None:
    assert pipes.channel.receive() is None


def _a_shutdown(pipes: Pipes) -> None:
    assert pipes.channel.receive() == {"type": "shutdown"}


def _an_error(pipes: Pipes) -> None:
    with pytest.raises(engine.ProtocolError):
        pipes.channel.receive()


@pytest.mark.parametrize(
    ("data", "after"),
    [
        (b"", _nothing_more),
        (SHUTDOWN, _a_shutdown),
        (SHUTDOWN + DONE, _a_shutdown),
        (struct.pack(">I", engine.FRAME_BYTES_MAX + 1), _an_error),
        (struct.pack(">I", 1) + b"\xc1", _an_error),
        (struct.pack(">I", 1) + msgpack.packb(1), _an_error),
        (DONE[:2], _an_error),
        (DONE[:-1], _an_error),
    ],
)
def test_what_is_no_answer_waits_until_the_job_is_done(
    data: bytes, after: Callable[[Pipes], None], pipes: Pipes
) -> None:
    pipes.write(BUSY + data)
    pipes.end()
    while pipes.wait() is not None:
        pass
    after(pipes)
