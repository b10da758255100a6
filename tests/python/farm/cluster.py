"""Starts the real programs of a farm for a test, waits for them by what they say, and sees that nothing is
left.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programs import DEADLINE_S, PROGRAM, Role, signalled, until, wait_gone

HERE = Path(__file__).parent
MARK = "FARM_TEST_MARK"
"""A variable that every process of a test inherits, so that those which are left can be found."""


class LeftoverError(AssertionError):
    """A test's farm left something behind."""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Control:
    """The test's hold on the engines, of fast_engine.py or echo_engine.py, that a wrapper script starts."""

    def __init__(self, directory: Path, artifacts: Path, engine: str = "fast_engine.py") -> None:
        directory.mkdir()
        self.directory = directory
        os.mkfifo(directory / "events")
        os.mkfifo(directory / "gate")
        # Open at both ends, so that no engine waits for a reader and no reader sees an end.
        self._events = os.open(directory / "events", os.O_RDWR)
        self._gate = os.open(directory / "gate", os.O_RDWR)
        self._unread = b""
        self.python = directory / "python"
        self.python.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{HERE / engine}" "{artifacts}" "{directory}" "$@"\n'
        )
        self.python.chmod(0o755)

    def on(self, what: str, graph: str = "any") -> None:
        """What becomes of a graph's jobs from now on: compile, wait, die, fail, junk or junk-once."""
        written = self.directory / "next"
        written.write_text(what)
        written.rename(self.directory / graph)

    def job(self) -> tuple[int, str]:
        """Waits for an engine to begin with a job: its pid and the graph."""
        while b"\n" not in self._unread:
            assert select.select([self._events], [], [], DEADLINE_S)[0], "no engine began with a job"
            self._unread += os.read(self._events, 4096)
        line, _, self._unread = self._unread.partition(b"\n")
        _, pid, graph, _ = line.decode().split(" ")
        return int(pid), graph

    def jobs_begun(self) -> int:
        """How many more jobs have begun so far."""
        while select.select([self._events], [], [], 0)[0]:
            self._unread += os.read(self._events, 4096)
        return self._unread.count(b"\n")

    def open_gate(self) -> None:
        """Lets one waiting job go on."""
        os.write(self._gate, b".")

    def close(self) -> None:
        os.close(self._events)
        os.close(self._gate)


class Farm:
    """One test's place: directories of its own, the programs that it starts, and the questions it asks."""

    def __init__(
        self, directory: Path, artifacts: Path | None = None, engine: str = "fast_engine.py"
    ) -> None:
        self.directory = directory
        self.roles: list[Role] = []
        self.operator: list[str] = []
        """A command that runs those with which the test asks."""
        self.mark = hashlib.blake2b(str(directory).encode(), digest_size=8).hexdigest()
        for name in ("run", "tmp"):
            (directory / name).mkdir(mode=0o700)
        self.variables = {
            MARK: self.mark,
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "TMPDIR": str(directory / "tmp"),
            "FXFARM_ENGINE_ENVIRONMENT": MARK,
        }
        # Engines that a test has a hold on tell it their pids; those in a sandbox have others there.
        if artifacts is not None:
            self.variables["FXFARM_ENGINE_SANDBOX"] = "none"
        self.control = Control(directory / "control", artifacts, engine) if artifacts is not None else None

    @property
    def env(self) -> dict[str, str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("FXFARM_", "TORCHINDUCTOR_"))}
        return {**plain, **self.variables}

    @property
    def python(self) -> str:
        return sys.executable if self.control is None else str(self.control.python)

    def start(self, *args: str, **popen: Any) -> Role:
        role = Role(list(args), self.env, **popen)
        self.roles.append(role)
        return role

    def coordinator(self, *args: str, port: int = 0) -> tuple[Role, str]:
        """A coordinator that answers, and its endpoint."""
        metrics = () if "--metrics" in args else ("--metrics", "127.0.0.1:0")
        role = self.start("coordinator", "--listen", f"tcp://127.0.0.1:{port}", *metrics, *args)
        return role, role.fact("coordinator ready", "endpoints")

    def worker(self, *endpoints: str, slots: int = 1, name: str = "w") -> Role:
        """A worker of those coordinators; `ready` tells when they know of it."""
        return self.start(
            *("worker", "--coordinators", ",".join(endpoints), "--python", self.python, "--name", name),
            *("--slots", str(slots), "--metrics", "127.0.0.1:0"),
        )

    def local(self, *args: str) -> tuple[Role, str]:
        """A local farm in the foreground, and its endpoint."""
        path = self.directory / "run" / "fxfarm" / "local-test.sock"
        role = self.start("local", "--socket", str(path), "--python", self.python, *args)
        role.wait_line("local farm ready")
        return role, f"ipc://{path}"

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.operator, str(PROGRAM), *args],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def ask(self, what: str, endpoint: str = "") -> dict[str, Any]:
        """The answer to a command as JSON."""
        done = self.command(what, "--json", *(["--endpoint", endpoint] if endpoint else []))
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def stats(self, endpoint: str = "") -> dict[str, float]:
        values: dict[str, float] = self.ask("stats", endpoint)["values"]
        return values

    def counts(self, endpoint: str, *names: str) -> tuple[int, ...]:
        stats = self.stats(endpoint)
        return tuple(int(stats.get(name, 0)) for name in names)

    def until_workers(self, endpoint: str, count: int = 1, state: str = "idle") -> list[dict[str, Any]]:
        """Waits until so many workers are in that state."""

        def there() -> list[dict[str, Any]]:
            workers = [w for w in self.ask("status", endpoint)["workers"] if w["state"] == state]
            return workers if len(workers) == count else []

        found: list[dict[str, Any]] = until(f"{count} workers {state}", there)
        return found

    def scrape(self, address: str) -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE_S) as answer:
            return str(answer.read().decode())

    def own_socket(self) -> str:
        """The endpoint of the local farm that a client started."""
        (found,) = (self.directory / "run" / "fxfarm").glob("local-*.sock")
        return f"ipc://{found}"

    def processes(self) -> dict[int, str]:
        """Every process of this test by pid, with its command line."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def stop_all(self) -> None:
        """Ends what is still there: roles by SIGTERM, which each answers with status 0, then local farms that
        clients started.
        """
        try:
            for role in self.roles:
                if role.process.poll() is None:
                    assert role.stop() == 0, role.log
            for pid, command in self.processes().items():
                if " local --detach" in command:
                    signalled(pid, signal.SIGTERM)
            left = {pid: text for pid, text in self.processes().items() if not wait_gone(pid, 40)}
            if left:
                raise LeftoverError(f"processes are left: {left}")
        finally:
            for pid in self.processes():
                signalled(pid)
            for role in self.roles:
                role.ended()
            if self.control is not None:
                self.control.close()

    def check_files(self) -> None:
        """Raises when a socket, lock, log or temporary file is left."""
        runtime = self.directory / "run" / "fxfarm"
        left = [*(runtime.iterdir() if runtime.exists() else ()), *(self.directory / "tmp").iterdir()]
        # torch's own, in every process that compiles.
        left = [p for p in left if not p.name.startswith("torchinductor_")]
        # A worker that was killed cannot tidy up; the next one of this user does.
        if any(role.process.returncode == -signal.SIGKILL for role in self.roles):
            left = [p for p in left if not p.name.startswith("fxfarm-work-")]
        left += [p for p in (self.directory / "cache").rglob("*") if ".tmp" in p.name]
        if left:
            raise LeftoverError(f"files are left: {[str(p) for p in left]}")


@contextmanager
def farm_in(directory: Path, artifacts: Path | None = None, engine: str = "fast_engine.py") -> Iterator[Farm]:
    farm = Farm(directory, artifacts, engine)
    try:
        yield farm
    finally:
        farm.stop_all()
    farm.check_files()
