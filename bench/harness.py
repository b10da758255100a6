"""What the benchmarks share: a place of their own for each measurement, children that measure in a fresh
interpreter, farms, and the table or JSON at the end.

A measurement is a function of a benchmark's module that returns what json can hold. `Place.run` calls it in a
new interpreter, so nothing that an earlier one imported, cached or compiled helps it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

Row = dict[str, Any]

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


# Models.


def build(name: str) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any]]:
    """A model with random weights in eval mode, its inputs, and what takes the tensor out of its output."""
    import torch

    torch.manual_seed(0)
    if name == "mlp":
        layers = [torch.nn.Linear(1024, 1024), torch.nn.ReLU()] * 4
        return torch.nn.Sequential(*layers).eval(), (torch.randn(32, 1024),), lambda out: out
    if name == "parts":
        return in_parts(), (torch.randn(1, 64, 256),), lambda out: out
    import transformers

    if name == "gpt2":
        gpt2 = transformers.GPT2Config()
        return (
            transformers.GPT2LMHeadModel(gpt2).eval(),
            (torch.randint(0, gpt2.vocab_size, (1, 64)),),
            lambda out: out.logits,
        )
    small = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
    sizes: dict[str, dict[str, Any]] = {
        "bert": {},
        "bert4": {"num_hidden_layers": 4, **small},
        "deep": {"num_hidden_layers": 48, **small},
    }
    bert = transformers.BertConfig(**sizes[name])
    return (
        transformers.BertModel(bert).eval(),
        (torch.randint(0, bert.vocab_size, (1, 64)),),
        lambda out: out.last_hidden_state,
    )


def in_parts(parts: int = 8) -> Any:
    """A model that Dynamo splits into so many graphs, no two of them equal."""
    import torch

    class Part(torch.nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            size = 512 + 64 * number
            grow, shrink = torch.nn.Linear(256, size), torch.nn.Linear(size, 256)
            self.layer = torch.nn.Sequential(torch.nn.LayerNorm(256), grow, torch.nn.GELU(), shrink)
            self.rest = Part(number + 1) if number + 1 < parts else None

        def forward(self, x: Any) -> Any:
            x = x + self.layer(x)
            if self.rest is None:
                return x
            torch._dynamo.graph_break()  # not in a loop, where Dynamo would leave the frame alone
            return self.rest(x)

    return Part(0).eval()


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


# "deep" is bert4 with 48 layers: a graph of more than a thousand nodes. "parts" is many graphs at once.
MODELS = ("gpt2", "bert", "bert4", "deep", "mlp", "parts")


# Results.


def summary(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(values), min(values), max(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range as a text."""
    if not values:
        return "-"
    middle, least, most = summary(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def machine() -> Row:
    """What the numbers depend on; the load says whether others used the machine too."""
    model = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def versions() -> Row:
    """Versions of what is compared."""
    found: Row = {"python": platform.python_version()}
    for name in ("torch", "transformers", "fxfarm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


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


class Report:
    """The rows of one benchmark; printed as a table, written as JSON."""

    def __init__(self, name: str) -> None:
        self.document: Row = {
            **{"name": name, "machine": machine(), "versions": versions()},
            **{"rows": [], "targets": []},
        }

    def add(self, **row: Any) -> None:
        """One row, told on stderr at once, as the table comes last. Numbers are shown as median and range."""
        self.document["rows"].append(row)
        told = ", ".join(f"{name} {_shown(value)}" for name, value in row.items() if value is not None)
        print(f"{self.document['name']}: {told}", file=sys.stderr, flush=True)

    def hold(self, what: str, values: Sequence[float], most: float) -> None:
        """A target: the median of the rounds is to be no more than `most`."""
        median = statistics.median(values)
        self._note(f"{what}: {_shown(median)}, at most {_shown(most)}", median <= most)

    def reach(self, what: str, values: Sequence[float], least: float) -> None:
        """A target: the median of the rounds is to be no less than `least`."""
        median = statistics.median(values)
        self._note(f"{what}: {_shown(median)}, at least {_shown(least)}", median >= least)

    def demand(self, what: str, met: bool) -> None:
        """A target that is met or not."""
        self._note(what, met)

    def _note(self, text: str, met: bool) -> None:
        self.document["targets"].append({"target": text, "met": met})

    def finish(self, json_file: str | None) -> int:
        """Prints the table and the targets, and writes the file when there is a name for it; 1 when a target
        is missed, else 0: what main returns."""
        self.document["machine"]["load_after"] = os.getloadavg()[0]
        rows = self.document["rows"]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = [columns, *([_shown(row.get(name)) for name in columns] for row in rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
        facts = {**self.document["machine"], **self.document["versions"]}
        print(self.document["name"] + ": " + ", ".join(f"{k} {v}" for k, v in facts.items()))
        for line in table:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        for target in self.document["targets"]:
            print(f"{'met' if target['met'] else 'MISSED'}: {target['target']}")
        if json_file:
            Path(json_file).write_text(json.dumps(self.document, indent=1) + "\n")
        return 0 if all(target["met"] for target in self.document["targets"]) else 1


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.2f}"
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        return spread(value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


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
