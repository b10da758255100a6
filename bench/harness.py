"""What the benchmarks share: a place of their own for each measurement, children that measure in a fresh
interpreter, and farms. `results.py` has the table or JSON at the end.

A measurement is a function of a benchmark's module that returns what json can hold. `Place.run` calls it in a
new interpreter, so nothing that an earlier one imported, cached or compiled helps it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

CHILD_S_MAX = 900.0
FARM_START_S_MAX = 60.0
FARM_STOP_S_MAX = 60.0
POLL_S = 0.01


class Place:
    """Directories of one measurement and the processes started there; its end stops and removes all."""

    def __init__(self, **variables: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="fxb-"))
        self.variables = variables

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        shutil.rmtree(self.root, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment with directories of the place's own, and Inductor's cache among them."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FXFARM_", "TORCHINDUCTOR_"))}
        own = {
            "XDG_RUNTIME_DIR": self._made("run"),
            "XDG_CACHE_HOME": self._made("cache"),
            "XDG_CONFIG_HOME": self._made("config"),
        }
        return {**kept, **own, "TORCHINDUCTOR_CACHE_DIR": self.fresh("inductor"), **self.variables, **more}

    def fresh(self, name: str) -> str:
        """A new empty directory."""
        return tempfile.mkdtemp(prefix=f"{name}-", dir=self.root)

    def _made(self, name: str) -> str:
        directory = self.root / name
        directory.mkdir(mode=0o700, exist_ok=True)
        return str(directory)

    def start(
        self,
        measure: Callable[..., Any],
        *,
        variables: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        **arguments: Any,
    ) -> Child:
        """Starts `measure(**arguments)` in a new interpreter, below the command `before` if there is one."""
        return Child(self, measure, arguments, variables or {}, before)

    def run(self, measure: Callable[..., Any], **more: Any) -> Any:
        """What `measure` returns in a new interpreter."""
        return self.start(measure, **more).result()

    def processes(self) -> list[int]:
        """Every living process that was started in this place, the detached ones too."""
        mark = f"XDG_RUNTIME_DIR={self.root}/run".encode()
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit() and int(directory.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (directory / "environ").read_bytes().split(b"\0"):
                        found.append(int(directory.name))
        return found

    def farms(self) -> list[int]:
        """The processes of the program `fxfarm`."""
        return [pid for pid in self.processes() if command_line(pid)[0].endswith("/fxfarm")]

    def engines(self) -> list[int]:
        """The processes that compile."""
        return [pid for pid in self.processes() if "fxfarm.engine" in command_line(pid)]

    def stop_all(self) -> None:
        """Asks the farms to leave, and insists on everything else."""
        for pid in self.farms():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not self.farms(), FARM_STOP_S_MAX)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Child:
    """A measurement that runs."""

    def __init__(
        self,
        place: Place,
        measure: Callable[..., Any],
        arguments: Mapping[str, Any],
        variables: Mapping[str, str],
        before: Sequence[str],
    ) -> None:
        self.name = measure.__name__
        command = [*before, *child_command(measure, place, **arguments)]
        self._answer = Path(command[-1])
        self._output = Path(place.fresh("output")) / "output"
        with self._output.open("wb") as sink:
            self.process = subprocess.Popen(
                command, env=place.environment(**variables), stdout=sink, stderr=sink
            )

    @property
    def answered(self) -> bool:
        """Whether the result is there; the process may still be about to end."""
        return self._answer.exists()

    def wait_answered(self, seconds_max: float) -> bool:
        """Whether the result came in time; the process may go on. Raises RuntimeError when it failed."""
        wait_until(lambda: self.answered or self.process.poll() is not None, seconds_max)
        if not self.answered and self.process.poll() is not None:
            self.result()
        return self.answered

    def result(self, seconds_max: float = CHILD_S_MAX) -> Any:
        """What the measurement returned. Raises RuntimeError with the child's output when it failed."""
        status = self.ended(seconds_max)
        if not self.answered:
            raise RuntimeError(f"{self.name} ended with {status} and no result:\n{self.output()}")
        return self.answer()["result"]

    def ended(self, seconds_max: float) -> int:
        """Its exit status; it is killed when it takes longer."""
        try:
            return self.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def output(self) -> str:
        """The end of what it has written."""
        return self._output.read_text(errors="replace")[-4000:]

    def answer(self) -> dict[str, Any]:
        """The result so far, with the time at which it was written."""
        answer: dict[str, Any] = json.loads(self._answer.read_text())
        return answer


def child_command(measure: Callable[..., Any], place: Place, **arguments: Any) -> list[str]:
    """The command that calls `measure`; its last word is the file of the answer."""
    module = Path(sys.modules[measure.__module__].__file__ or "").stem
    answer = str(Path(place.fresh("answer")) / "answer.json")
    return [sys.executable, __file__, module, measure.__name__, json.dumps(arguments), answer]


def answer_now(result: Any) -> None:
    """In a child: gives the result before the measurement ends, with the time (CLOCK_MONOTONIC)."""
    target = Path(sys.argv[4])
    target.with_suffix(".new").write_text(json.dumps({"result": result, "monotonic": time.monotonic()}))
    target.with_suffix(".new").rename(target)


def wait_until(done: Callable[[], bool], seconds_max: float) -> bool:
    """Whether `done` came true in time."""
    end = time.monotonic() + seconds_max
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def command_line(pid: int) -> list[str]:
    """The words that a process was started with; one empty word when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = [""]
    return words


def fxfarm_program() -> str:
    """The program that the package in use brings."""
    import fxfarm

    return str(Path(fxfarm.__file__).parent / "bin" / "fxfarm")


@contextlib.contextmanager
def farm_process(place: Place, *words: str, before: Sequence[str] = (), **variables: str) -> Iterator[int]:
    """A process `fxfarm WORDS...`, below the command `before`, from its ready line to its end; its pid."""
    environment = place.environment(**variables)
    log = Path(place.fresh("farm")) / "log"
    with log.open("wb") as sink:
        command = [*before, fxfarm_program(), *words]
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
    try:
        started = wait_until(
            lambda: process.poll() is not None or b" ready" in log.read_bytes(), FARM_START_S_MAX
        )
        if not started or process.poll() is not None:
            raise RuntimeError(f"fxfarm {' '.join(words)} did not start:\n{log.read_text()[-4000:]}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(FARM_STOP_S_MAX)


# Modules of Inductor's compiler, which a client has no need of.
_COMPILER = re.compile(
    r"torch\._inductor\.(compile_fx|select_algorithm|graph|lowering|scheduler|ir|debug|async_compile|"
    r"decomposition|codegen\.(cpp|triton|wrapper)\w*)$"
)


def compiler_modules() -> list[str]:
    """Those that this process has imported."""
    return sorted(filter(_COMPILER.match, sys.modules))


def compiled(module: Any, backend: str | Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile` with a type that its callers can be checked with."""
    import torch

    made: Callable[..., Any] = torch.compile(module, backend=backend)
    return made


def micro_program(target: str) -> Path:
    """A program of bench/micro, built from this checkout; or from the directory BENCH_PROGRAMS, for
    machines that cannot build. Raises subprocess.CalledProcessError.
    """
    if built := os.environ.get("BENCH_PROGRAMS"):
        return Path(built) / target
    root = Path(__file__).resolve().parent.parent
    build = root / "build/bench-micro"
    configure = ["cmake", "-S", str(root), "-B", str(build), "-G", "Ninja", "-DFXFARM_BENCH=ON"]
    # What they say goes beside the table, not into it.
    subprocess.run(configure, stdout=sys.stderr, check=True)
    subprocess.run(["cmake", "--build", str(build), "--target", target], stdout=sys.stderr, check=True)
    return build / "bench/micro" / target


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has. From here on SIGTERM ends a benchmark as Ctrl-C does: cleanly."""
    signal.signal(signal.SIGTERM, _leave)
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", metavar="FILE", help="write the rows there too")
    return made


if __name__ == "__main__":
    # Under its own name, so that the benchmark's module and this are one.
    import harness

    # A shell's background jobs ignore Ctrl-C, and so would their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    found = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(**json.loads(sys.argv[3]))
    if not Path(sys.argv[4]).exists():
        harness.answer_now(found)
