"""Models that run on a farm: in the test's own process, or in one of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from cluster import DEADLINE_S, HERE, Farm, until
from farm_models import Wave, wave_input

import fxfarm

PATIENCE_S = 2 * DEADLINE_S
"""How long a stage may take at most; nothing is measured here."""


class Model:
    """A model whose calls are all checked against what it answers without compiling."""

    def __init__(self, height: float, **compile_options: Any) -> None:
        model = Wave(height)
        self.want = model(wave_input())
        self._run = torch.compile(model, backend="fxfarm", dynamic=False, **compile_options)
        self._before = len(fxfarm.graphs())
        self()

    def __call__(self) -> None:
        with torch.no_grad():
            torch.testing.assert_close(self._run(wave_input()), self.want)

    @property
    def status(self) -> fxfarm.GraphStatus:
        return fxfarm.graphs()[self._before]

    @property
    def stage(self) -> fxfarm.StageStatus:
        return self.status.stages[0]

    def until_state(self, state: str) -> fxfarm.StageStatus:
        """Waits until the stage is in that state, answering all the while."""

        def reached() -> bool:
            self()
            return bool(self.status.stages) and self.stage.state == state

        until(f"the stage is {state}", reached, PATIENCE_S)
        return self.stage

    def until_compiled(self) -> None:
        """Waits for the compiled stage, and runs it."""
        self.until_state("loaded")
        runs = self.status.runs["default"]
        self()
        assert self.status.stage == "default"
        assert self.status.runs["default"] == runs + 1


class Client:
    """This process as a client of a test's farm."""

    def __init__(self, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        for name in [n for n in os.environ if n.startswith("FXFARM_")]:
            monkeypatch.delenv(name)
        self.set(**farm.variables, FXFARM_PYTHON=farm.python)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def model(self, height: float = 1.0, **compile_options: Any) -> Model:
        return Model(height, **compile_options)

    def leave(self) -> None:
        """As if the process ended: the next model starts anew."""
        torch._dynamo.reset()
        fxfarm.shutdown()


@contextmanager
def client_of(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    torch._dynamo.reset()
    made = Client(farm, monkeypatch)
    try:
        yield made
    finally:
        made.leave()


class ModelProcess:
    """model_process.py at work: commands go in by line, answers come out as JSON."""

    def __init__(self, farm: Farm, **variables: str) -> None:
        self.threads_left: list[str] | None = None
        """After the end: fxfarm's threads that still ran then."""
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**farm.env, "FXFARM_PYTHON": farm.python, "PYTHONPATH": ":".join(paths), **variables}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "model_process.py")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process has ended: {self.end()}"
        return json.loads(line)

    def ask(self, *words: object) -> Any:
        self.tell(*words)
        return self.answer()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Lets it run to its end; its exit status and what it printed as errors."""
        output, errors = self.process.communicate(timeout=DEADLINE_S)
        self.threads_left = json.loads(output.splitlines()[-1]) if output else []
        return self.process.returncode, errors


@contextmanager
def model_process(farm: Farm, **variables: str) -> Iterator[ModelProcess]:
    made = ModelProcess(farm, **variables)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.communicate()
