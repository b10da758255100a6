"""`python -m fxfarm.engine`: a warm process that compiles graphs for the worker that started it.

Frames go over stdin and stdout: a big-endian 32-bit length, then one msgpack map with "type". One job at a
time; the end of stdin ends the engine. Deadlines, memory limits and restarts are the worker's.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from fxfarm import disk

PROTOCOL = 1
CACHE_BYTES = 1024 * 1024 * 1024  # limits::engine_cache_bytes
FRAME_BYTES_MAX = 1024 * 1024 * 1024  # limits::engine_frame_bytes_max
_HEADER = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what the protocol does not allow."""


class Channel:
    """Frames over two byte streams."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink

    def receive(self) -> dict[str, Any] | None:
        """The next frame, or None at the end of the stream."""
        head = self._source.read(_HEADER.size)
        if not head:
            return None
        if len(head) < _HEADER.size:
            raise ProtocolError("the stream ended inside a frame's length")
        (size,) = _HEADER.unpack(head)
        if size > FRAME_BYTES_MAX:
            raise ProtocolError(f"a frame of {size} bytes, at most {FRAME_BYTES_MAX} are allowed")
        body = self._source.read(size)
        if len(body) < size:
            raise ProtocolError("the stream ended inside a frame")
        try:
            frame = msgpack.unpackb(body)
        except ValueError as error:
            raise ProtocolError(f"a frame that is not msgpack: {error}") from error
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            raise ProtocolError("a frame without a type")
        return frame

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


def _take_standard_streams() -> Channel:
    """Keeps fds 0 and 1 for frames alone: prints go to stderr, and compilers started here read nothing."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
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

        self._channel.send(type="ready", platform=found, warm_seconds=time.perf_counter() - start)
        while (frame := self._channel.receive()) is not None:
            if frame["type"] == "shutdown":
                break
            if frame["type"] != "compile":
                raise ProtocolError(f"unknown frame {frame['type'][:64]!r}")
            answer = self._compile(cache, frame)
            if reason := warm.lost():
                # No answer: the worker starts another engine, and the job is tried again.
                print(f"fxfarm engine: this process has lost its GPU: {reason}", file=sys.stderr)
                return 1
            self._channel.send(**answer)
            del answer, frame
            self._tidy(cache)
        return 0

    def _compile(self, cache: Cache, frame: dict[str, Any]) -> dict[str, Any]:
        """The frame that answers a job."""
        from fxfarm._torch import CompileError, compile_graph
        from fxfarm._torch.errors import describe

        job = str(frame.get("id", ""))

        def progress(phase: str) -> None:
            self._channel.send(type="progress", id=job, phase=phase)

        try:
            attempts = int(frame.get("attempts", 1))
            with disk.unfinished(cache.kernels):
                made = compile_graph(frame["graph"], frame["stage"], frame["target"], progress, attempts)
            return {"type": "done", "id": job, "artifact": made.data, "phases": made.phases}
        except CompileError as error:
            return {"type": "failed", "id": job, "code": error.code, "reason": str(error)}
        except KeyError as error:
            return {"type": "failed", "id": job, "code": "bad_input", "reason": f"the job lacks {error}"}
        except Exception as error:  # a job never ends the engine
            return {"type": "failed", "id": job, "code": "compile_failed", "reason": describe(error)}

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
