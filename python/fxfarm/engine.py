"""`python -m fxfarm.engine`: a warm process that compiles graphs for the worker that started it.

Frames go over stdin and stdout: a big-endian 32-bit length, then one msgpack map with "type". One job at a
time; the end of stdin ends the engine. Deadlines, memory limits and restarts are the worker's.
"""

from __future__ import annotations

import dataclasses
import gc
import io
import os
import select
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from fxfarm import disk
from fxfarm._torch.kernel_queue import Answer

PROTOCOL = 1
CACHE_BYTES = 1024 * 1024 * 1024  # limits::engine_cache_bytes
FRAME_BYTES_MAX = 1024 * 1024 * 1024  # limits::engine_frame_bytes_max
KERNELS_ELSEWHERE_MAX = (
    32  # limits::kernels_per_job, of which answers may be under way; a worker that says more gets no more
)
_READ_BYTES = 1024 * 1024
_HEADER = struct.Struct(">I")
_KERNEL_ANSWERS = ("kernel_done", "kernel_failed")


class ProtocolError(Exception):
    """The other side sent what the protocol does not allow."""


class Channel:
    """Frames over two byte streams. What has been read and not been taken is in here and nowhere else, so the
    source's descriptor can be waited for."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        # What one read of the descriptor gives. A buffered reader would wait for all that was asked for; its
        # `read1` does not, and keeps nothing back when it is asked for as much as its buffer holds.
        self._read = source.read1 if isinstance(source, io.BufferedIOBase) else source.read
        self._bytes = bytearray()
        self._next: dict[str, Any] | None = None

    def fileno(self) -> int:
        """The descriptor that frames come from."""
        return self._source.fileno()

    def receive(self) -> dict[str, Any] | None:
        """The next frame, or None at the end of the stream."""
        while (frame := self.peek()) is None:
            if self.fill():
                continue
            if not self._bytes:
                return None
            part = "a frame" if len(self._bytes) >= _HEADER.size else "a frame's length"
            raise ProtocolError(f"the stream ended inside {part}")
        self._next = None
        return frame

    def peek(self) -> dict[str, Any] | None:
        """The frame that `receive` would give, if it has been read as a whole."""
        if self._next is None and len(self._bytes) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._bytes)
            if size > FRAME_BYTES_MAX:
                raise ProtocolError(f"a frame of {size} bytes, at most {FRAME_BYTES_MAX} are allowed")
            end = _HEADER.size + size
            if len(self._bytes) >= end:
                with memoryview(self._bytes) as whole, whole[_HEADER.size : end] as body:
                    self._next = _frame(body)
                del self._bytes[:end]
        return self._next

    def fill(self) -> bool:
        """Reads what is there, or waits for more; False at the end of the stream."""
        data = self._read(_READ_BYTES)
        self._bytes += data
        return bool(data)

    def let_go(self) -> None:
        """Puts nothing in place of both streams."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._source.fileno())
        os.dup2(null, self._sink.fileno())
        os.close(null)

    def send(self, **frame: Any) -> None:
        """Writes one frame at once."""
        body = msgpack.packb(frame)
        self._sink.write(_HEADER.pack(len(body)) + body)
        self._sink.flush()


def _frame(body: memoryview) -> dict[str, Any]:
    try:
        frame = msgpack.unpackb(body)
    except ValueError as error:
        raise ProtocolError(f"a frame that is not msgpack: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise ProtocolError("a frame without a type")
    return frame


def _take_standard_streams() -> Channel:
    """Keeps fds 0 and 1 for frames alone: prints go to stderr, and compilers started here read nothing."""
    source, sink = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Channel(source, sink)


@dataclasses.dataclass(frozen=True)
class Cache:
    """Where Inductor keeps what it can use again. Only this engine uses `kernels`; `headers` is for all, and
    in a sandbox to be read only."""

    kernels: Path
    headers: Path
    bytes_max: int


@contextmanager
def _cache() -> Iterator[Cache]:
    """The directories that the worker has for this engine; those that it did not name are for this engine
    alone and go with it. Raises OSError and ValueError.
    """
    # Set by the worker, which has claimed the first for this engine.
    kernels = os.environ.get("FXFARM_ENGINE_KERNELS_DIR")
    headers = os.environ.get("FXFARM_ENGINE_HEADERS_DIR")
    bytes_max = int(os.environ.get("FXFARM_ENGINE_CACHE_BYTES", CACHE_BYTES))
    with ExitStack() as stack:

        def directory(named: str | None) -> Path:
            if named:
                return Path(named)
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fxfarm-engine-")))

        cache = Cache(directory(kernels), directory(headers), bytes_max)
        for used in (cache.kernels, cache.headers):
            disk.make_private(used)
        disk.discard_unfinished(cache.kernels)
        # A job that was killed has not done so, and what it left counts against the next one's bound.
        disk.prune(cache.kernels, bytes_max)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache.kernels)
        # Inductor then keeps Triton's files below its own.
        os.environ.pop("TRITON_CACHE_DIR", None)
        yield cache


def _use_own_threads_sparingly() -> None:
    """Before torch is imported: idle OpenMP threads sleep instead of spinning on the model's cores."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")


class KernelsElsewhere:
    """Other engines, which the worker asks for kernels of one job: a kernel_queue.Elsewhere."""

    def __init__(self, channel: Channel, job: str, at_once: int) -> None:
        self.at_once = at_once
        self._channel = channel
        self._job = job

    def ask(self, kernel: str, source: bytes) -> None:
        """Sends the kernel on its way."""
        self._channel.send(type="kernel", id=self._job, kernel=kernel, source=source)

    def wait(self, wake: int) -> Sequence[Answer] | None:
        """What has come, as soon as something has or `wake` can be read. None when the stream ends or has
        something else: that waits in the channel until the job is done.
        """
        while True:
            try:
                found = self._come()
            except ProtocolError:
                return None  # `receive` finds it as well
            if found:
                return found
            if self._channel.peek() is not None:
                return None
            readable, _, _ = select.select([self._channel.fileno(), wake], [], [])
            if wake in readable:
                return ()
            if not self._channel.fill():
                return None

    def _come(self) -> list[Answer]:
        found = []
        while (frame := self._channel.peek()) is not None and frame["type"] in _KERNEL_ANSWERS:
            self._channel.receive()
            kernel, library = str(frame.get("kernel", "")), frame.get("library")
            if frame.get("id") != self._job:
                continue  # of an earlier job
            if frame["type"] == "kernel_done":
                found.append(Answer(kernel, library if isinstance(library, bytes) else b""))
            else:
                found.append(Answer(kernel, None, busy=frame.get("code") == "busy"))
        return found


class Engine:
    """Answers frames until the worker has no more."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self) -> int:
        """The exit status."""
        from fxfarm._torch import platform
        from fxfarm._torch.errors import HeadersMissingError

        self._channel.send(
            type="hello", protocol=PROTOCOL, pid=os.getpid(), platform=platform.engine_platform()
        )
        with ExitStack() as stack:
            try:
                start = time.perf_counter()
                cache = stack.enter_context(_cache())
                _use_own_threads_sparingly()
                from fxfarm._torch import warm

                warm.warm(cache.kernels, cache.headers)
                if os.environ.get("FXFARM_ENGINE_PREPARE"):
                    # All that was wanted of this process, which sees nobody's graphs: what it has made stays.
                    disk.prune(cache.headers, cache.bytes_max, suffix=".gch")
                    return 0
                found = platform.client_platform(warm.device())
            except HeadersMissingError as error:
                self._channel.send(type="fatal", code="not_found", reason=str(error))
                return 1
            # Anything that keeps torch, Inductor or the cache from working is the worker's to know.
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:2000]
                self._channel.send(type="fatal", code="engine_start", reason=reason)
                return 1
            return self._serve(cache, found, start)

    def _serve(self, cache: Cache, found: dict[str, Any], start: float) -> int:
        from fxfarm._torch import warm

        warm_seconds = time.perf_counter() - start
        self._channel.send(type="ready", platform=found, warm_seconds=warm_seconds, kernels=True)
        while (frame := self._channel.receive()) is not None:
            if frame["type"] == "shutdown":
                break
            if frame["type"] in _KERNEL_ANSWERS:
                continue  # of a job that has ended
            works = {"compile": self._compile, "compile_kernel": self._compile_kernel}
            if (work := works.get(frame["type"])) is None:
                raise ProtocolError(f"unknown frame {frame['type'][:64]!r}")
            answer = self._answer(cache, frame, work)
            if reason := warm.lost():
                # No answer: the worker starts another engine, and the job is tried again.
                print(f"fxfarm engine: this process has lost its GPU: {reason}", file=sys.stderr)
                return 1
            self._channel.send(**answer)
            del answer, frame
            self._tidy(cache)
        return 0

    def _answer(
        self,
        cache: Cache,
        frame: dict[str, Any],
        work: Callable[[str, dict[str, Any], Callable[[str], None]], dict[str, Any]],
    ) -> dict[str, Any]:
        """The frame that answers a job."""
        from fxfarm._torch import CompileError
        from fxfarm._torch.errors import describe

        job = str(frame.get("id", ""))

        def progress(phase: str) -> None:
            self._channel.send(type="progress", id=job, phase=phase)

        try:
            with disk.unfinished(cache.kernels):
                return {"type": "done", "id": job, **work(job, frame, progress)}
        except CompileError as error:
            return {"type": "failed", "id": job, "code": error.code, "reason": str(error)}
        except KeyError as error:
            return {"type": "failed", "id": job, "code": "bad_input", "reason": f"the job lacks {error}"}
        except Exception as error:  # a job never ends the engine
            return {"type": "failed", "id": job, "code": "compile_failed", "reason": describe(error)}

    def _compile(self, job: str, frame: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
        from fxfarm._torch import compile_graph

        attempts = int(frame.get("attempts", 1))
        at_once = min(int(frame.get("kernels_elsewhere", 0)), KERNELS_ELSEWHERE_MAX)
        elsewhere = KernelsElsewhere(self._channel, job, at_once) if at_once > 0 else None
        made = compile_graph(frame["graph"], frame["stage"], frame["target"], progress, attempts, elsewhere)
        return {"artifact": made.data, "phases": made.phases, "kernels": made.kernels}

    def _compile_kernel(
        self, _: str, frame: dict[str, Any], progress: Callable[[str], None]
    ) -> dict[str, Any]:
        """A kernel of a job that another engine has."""
        from fxfarm._torch import compile_kernel

        made = compile_kernel(frame["source"], frame["stage"], frame["target"], progress)
        return {"artifact": made.data, "phases": made.phases}

    def _tidy(self, cache: Cache) -> None:
        from fxfarm._torch import warm

        warm.forget(cache.kernels)
        disk.prune(cache.kernels, cache.bytes_max)
        # A header that is gone costs its next user time and no more: compilers then read the text.
        if os.access(cache.headers, os.W_OK):
            disk.prune(cache.headers, cache.bytes_max, suffix=".gch")
        gc.collect()


def main() -> int:
    """Runs an engine on this process's standard streams."""
    channel = _take_standard_streams()
    # Processes that compile beside this one must not keep the worker waiting for the end of its frames.
    os.register_at_fork(after_in_child=channel.let_go)
    try:
        return Engine(channel).run()
    except ProtocolError as error:
        print(f"fxfarm engine: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0  # the worker left


if __name__ == "__main__":
    sys.exit(main())
