"""C++ kernels of one compile: compiled by threads of this process and by other engines of the farm (worker
side).

torch 2.11-2.13: a wrapper calls AsyncCompile.cpp_pybinding once per kernel, then AsyncCompile.wait with its
globals. CppPythonBindingsCodeCache.load_pybinding_async reads all settings in the calling thread and hands
`submit_fn` no more than the run of the C++ compiler: functools.partial(_worker_compile_cpp, lock, builders),
which builds what is not there yet; the last builder's get_target_file_path() is the library. What
load_pybinding_async returns awaits the future that `submit_fn` gave, calls the partial again and loads the
library. So a library that comes from elsewhere has only to be put there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import select
import shlex
import shutil
import struct
import threading
import time
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
from torch._inductor import cpp_builder, exc
from torch._inductor.codecache import CppPythonBindingsCodeCache

from fxfarm import disk

from . import wrapper
from .errors import CompileError
from .kernel_queue import Answer, Elsewhere, KernelQueue
from .replaced import replaced
from .stoppable import Run

_THREADS_MAX = 32
ARGUMENTS_MAX = 4096
ARGUMENT_CHARS_MAX = 256
SOURCE_BYTES_MAX = 4 * 1024 * 1024
"""Of a kernel that another engine compiles, packed as `encode` does. One that has more of anything is
compiled by the engine that has its graph."""


def compile_threads() -> int:
    """FXFARM_COMPILE_THREADS, or the cores this process may use."""
    asked = os.environ.get("FXFARM_COMPILE_THREADS", "")
    count = int(asked) if asked.isdecimal() else len(os.sched_getaffinity(0))
    return max(1, min(_THREADS_MAX, count))


def encode(argtypes: Sequence[str], source: str) -> bytes:
    """A kernel as another engine is asked for it."""
    return bytes(msgpack.packb({"argtypes": list(argtypes), "source": source}))


def decode(data: object) -> tuple[list[str], str]:
    """What `encode` was given; raises CompileError, with bad_input, for anything else."""
    if not isinstance(data, bytes) or len(data) > SOURCE_BYTES_MAX:
        raise CompileError("bad_input", f"no kernel, or one of more than {SOURCE_BYTES_MAX} bytes")
    try:
        kernel = msgpack.unpackb(data)
    except ValueError as error:
        raise CompileError("bad_input", f"not a kernel: {error}") from error
    argtypes, source = (kernel.get("argtypes"), kernel.get("source")) if isinstance(kernel, dict) else (0, 0)
    if not isinstance(source, str) or not isinstance(argtypes, list) or len(argtypes) > ARGUMENTS_MAX:
        raise CompileError("bad_input", "not a kernel: its source or the types of its arguments")
    if any(not isinstance(kind, str) or len(kind) > ARGUMENT_CHARS_MAX for kind in argtypes):
        raise CompileError("bad_input", "not a kernel: the type of an argument")
    return argtypes, source


def build(argtypes: Sequence[str], source: str) -> Path:
    """The library of a kernel, compiled under the settings that hold now, by this thread, and not loaded."""

    def path_only(_: Any, path: str, key: str) -> types.ModuleType:
        module = types.ModuleType(key)
        setattr(module, CppPythonBindingsCodeCache.entry_function, path)
        return module

    # torch 2.11-2.13, CppCodeCache.load_async: `cache` has what loads each library, _load_library_inner loads
    # it. With one of its own, nobody else meets what was not loaded.
    with replaced(CppPythonBindingsCodeCache, cache={}, _load_library_inner=classmethod(path_only)):
        path = Path(CppPythonBindingsCodeCache.load_pybinding(argtypes, source))
    disk.touch(path)
    return path


class KernelRecorder:
    """Compiles the C++ kernels of a job and notes which file each source became."""

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self.paths: dict[str, Path] = {}
        self.seconds = 0.0  # time that the compile waited for kernels
        self.counts = {"here": 0, "elsewhere": 0}
        self._elsewhere = elsewhere
        self._under_way = 0

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Has the body's kernels compiled so. Those that it has not waited for are given up at its end."""
        from torch._inductor.async_compile import AsyncCompile

        recorder = self
        at_once = self._elsewhere.at_once - self._under_way if self._elsewhere else 0
        queue = KernelQueue(compile_threads(), max(0, at_once))
        compiling = _Compiling(queue, self._elsewhere)
        stock_wait = AsyncCompile.wait

        def cpp_pybinding(_: Any, argtypes: list[str], source: str) -> Any:
            key = wrapper.kernel_key(argtypes, source)
            compiling.add(key, argtypes, source)
            return _Pending(key)

        def wait(self: Any, scope: dict[str, Any]) -> None:
            start = time.perf_counter()
            names = {name: value.key for name, value in scope.items() if isinstance(value, _Pending)}
            compiling.wait(set(names.values()))
            for name, key in names.items():
                scope[name] = compiling.load(key)
                # A loaded kernel is bound to its extension module.
                recorder.paths[key] = path = Path(scope[name].__self__.__file__)
                disk.touch(path)
            recorder.seconds += time.perf_counter() - start
            stock_wait(self, scope)

        try:
            with (
                replaced(AsyncCompile, cpp_pybinding=cpp_pybinding, wait=wait),
                # Has what loads each library, and would have what is given up below.
                replaced(CppPythonBindingsCodeCache, cache={}),
                replaced(cpp_builder, _run_compile_cmd=_run_stoppable),
                contextlib.closing(compiling),
            ):
                yield
        finally:
            # A graph may be begun anew; what was asked for until then may still come.
            self._under_way += queue.under_way
            self.counts["here"] += queue.here
            self.counts["elsewhere"] += queue.elsewhere


@dataclasses.dataclass(frozen=True)
class _Pending:
    """Stands in a wrapper's globals for a kernel that is being compiled."""

    key: str


@dataclasses.dataclass
class _Kernel:
    """One that the cache lacked: what compiles it into `library`, the run of the thread that does, if one was
    given it, and what it failed with."""

    source: bytes
    build: Callable[[], None]
    library: Path
    run: Run | None = None
    error: Exception | None = None


class _Submitted:
    """In place of the future that load_async awaits: who loads a kernel has awaited it before."""

    def result(self) -> None:
        """Nothing to wait for."""


class _Compiling:
    """Carries out what a KernelQueue decides.

    The threads of a pool compile; the thread that waits for kernels, and only it, asks others, takes what
    they send, and loads.
    """

    def __init__(self, queue: KernelQueue, elsewhere: Elsewhere | None) -> None:
        self._queue = queue
        self._elsewhere = elsewhere
        self._kernels: dict[str, _Kernel] = {}
        self._loads: dict[str, Callable[[], Any]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(compile_threads(), "fxfarm-kernel")
        # Guards the queue, and whether the pool still takes anything.
        self._lock = threading.Lock()
        self._closed = False
        # Written to whenever a thread is done with a kernel.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def add(self, key: str, argtypes: list[str], source: str) -> None:
        """Has the kernel compiled unless the cache has it."""

        def submit(compiled: Any) -> _Submitted:
            library = Path(compiled.args[1][-1].get_target_file_path())
            self._kernels[key] = _Kernel(encode(argtypes, source), compiled, library)
            with self._lock:
                self._queue.add(key)
            return _Submitted()

        self._loads[key] = CppPythonBindingsCodeCache.load_pybinding_async(argtypes, source, submit_fn=submit)
        # Once it is no longer locked by load_async.
        self._go_on()
        self._ask()

    def load(self, key: str) -> Any:
        """The kernel, loaded; what `wait` has returned for."""
        return self._loads[key]()

    def wait(self, keys: Collection[str]) -> None:
        """Returns when they all can be loaded; raises what one cannot be compiled for."""
        wanted = {key: self._kernels[key] for key in keys if key in self._kernels}
        while True:
            with self._lock:
                missing = [key for key in wanted if not self._queue.made(key)]
            for kernel in wanted.values():
                if kernel.error is not None:
                    raise kernel.error
            if not missing:
                return
            self._ask()
            self._take(self._answers())
            self._go_on()

    def close(self) -> None:
        """Gives up what is still being compiled."""
        with self._lock:
            self._closed = True
        for kernel in self._kernels.values():
            if kernel.run is not None:
                kernel.run.stop()
        self._pool.shutdown()
        os.close(self._wake)

    def _go_on(self) -> None:
        """Has the threads take what they are to compile."""
        with self._lock:
            while not self._closed and (key := self._queue.next_here()) is not None:
                kernel = self._kernels[key]
                kernel.run = Run()
                try:
                    self._pool.submit(self._compile, key, kernel, kernel.run)
                except RuntimeError:  # there can be no more threads
                    kernel.run.ended.set()
                    raise

    def _compile(self, key: str, kernel: _Kernel, run: Run) -> None:
        error: Exception | None = None
        _this_thread.run = run
        try:
            kernel.build()
        except Exception as raised:  # whatever it is, is for the thread that waits
            error = raised
        with self._lock:
            if error is None:
                self._queue.made_here(key)
            elif run.stopped:
                kernel.library.unlink(missing_ok=True)
                self._queue.stopped_here(key)
            else:
                kernel.error = error
                self._queue.failed_here(key)
        run.ended.set()
        try:
            self._go_on()
        except RuntimeError as refused:  # by the system; for the thread that waits
            kernel.error = kernel.error or refused
        finally:
            os.eventfd_write(self._wake, 1)

    def _ask(self) -> None:
        if self._elsewhere is None:
            return
        while True:
            with self._lock:
                key = self._queue.next_elsewhere()
            if key is None:
                return
            if len(self._kernels[key].source) > SOURCE_BYTES_MAX:
                with self._lock:
                    self._queue.refused(key, busy=False)
                continue
            self._elsewhere.ask(key, self._kernels[key].source)

    def _answers(self) -> Sequence[Answer]:
        """Returns when something has come or a thread is done with a kernel."""
        found: Sequence[Answer] | None = ()
        if self._elsewhere is not None:
            found = self._elsewhere.wait(self._wake)
        else:
            select.select([self._wake], [], [])
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        if found is None:
            self._elsewhere = None
            with self._lock:
                self._queue.nothing_comes()
            return ()
        return found

    def _take(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if answer.library is None:
                with self._lock:
                    self._queue.refused(answer.kernel, busy=answer.busy)
                continue
            with self._lock:
                useful = self._queue.came(answer.kernel)
            if useful:
                self._use(answer.kernel, answer.library)

    def _use(self, key: str, library: bytes) -> None:
        """Puts a library that has come in its place, and loads it."""
        kernel = self._kernels[key]
        sound = _is_whole(library)
        if sound and kernel.run is not None:
            kernel.run.stop()
            with self._lock:
                if self._queue.made(key):
                    return
        loaded = sound and self._loads_from(key, library)
        with self._lock:
            if loaded:
                self._queue.made_elsewhere(key)
            else:
                self._queue.failed_elsewhere(key)

    def _loads_from(self, key: str, library: bytes) -> bool:
        path = self._kernels[key].library
        try:
            disk.write_whole(path, library, mode=0o700)
            self._loads[key]()
        except Exception:  # whatever its code raises
            path.unlink(missing_ok=True)
            return False
        return True


_this_thread = threading.local()
# torch 2.11-2.13, cpp_builder: what run_compile_cmd, and so CppBuilder.build, starts the compiler with.
_stock_run = cpp_builder._run_compile_cmd


def _run_stoppable(cmd_line: str, cwd: str) -> None:
    """In place of _run_compile_cmd, for threads of _Compiling."""
    run: Run | None = getattr(_this_thread, "run", None)
    if run is None:
        _stock_run(cmd_line, cwd)
        return
    command = shlex.split(cmd_line)
    status, output = run.run(command, cwd)
    if status:
        # CppBuilder.build has made it for this command alone.
        shutil.rmtree(cwd, ignore_errors=True)
        raise exc.CppCompileError(command, output.decode("utf-8", "replace"))


# The header of ELF-64: magic, class, and e_shoff, e_shentsize, e_shnum of the table at the end.
_ELF = struct.Struct("=4sB35xQ10xHH2x")


def _is_whole(library: bytes) -> bool:
    """Whether it looks like a kernel's library, from its first byte to its last.

    To load one that was cut off could end the process; and one that lacks what Python looks for would stay in
    the process under the name of the file, whatever is there later.
    """
    if len(library) < _ELF.size:
        return False
    magic, bits, sections, size, count = _ELF.unpack_from(library)
    wanted = f"PyInit_{CppPythonBindingsCodeCache.entry_function}\0".encode()
    return magic == b"\x7fELF" and bits == 2 and sections + size * count <= len(library) and wanted in library
