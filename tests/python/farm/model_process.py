"""A program with a model, for the farm's tests: obeys the lines on its input, answers each with JSON.

model HEIGHT    makes and calls a model         call          calls it again
wait SECONDS    fxfarm.wait                     graphs        name and stage of every graph
loader          a DataLoader with two workers   fork HEIGHT   a child that compiles a model of its own
pause           from now on background work stays in its first pause
compiler        the modules of Inductor's compiler that are imported

Its last answer, at its very end, is the names of fxfarm's threads that still run.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
from typing import Any

import torch
from compiler_modules import compiler_modules
from farm_models import Wave, wave_input

import fxfarm
from fxfarm import pace


def check(model: torch.nn.Module, compiled: Any) -> str:
    with torch.no_grad():
        torch.testing.assert_close(compiled(wave_input()), model(wave_input()))
    return "right"


def forked(height: float) -> int:
    """The exit status of a child whose model reaches its compiled stage."""
    pid = os.fork()
    if pid == 0:
        model = Wave(height)
        compiled = torch.compile(model, backend="fxfarm", dynamic=False)
        check(model, compiled)
        reached = fxfarm.wait(timeout=60)
        check(model, compiled)
        fxfarm.shutdown()
        os._exit(0 if reached else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def loaded() -> float:
    data = torch.utils.data.TensorDataset(torch.arange(64.0))
    return sum(float(batch.sum()) for (batch,) in torch.utils.data.DataLoader(data, 8, num_workers=2))


def paused() -> str:
    pace.STEP_S, pace.DUTY, pace.PAUSE_S_MAX = 0.0, 1e-9, 3600.0
    return "paused"


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("fxfarm-")]


def main() -> None:
    # What a shell starts in the background would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Asked for before fxfarm does, so that it is called after.
    atexit.register(lambda: print(json.dumps(threads()), flush=True))
    models: list[tuple[torch.nn.Module, Any]] = []
    print(json.dumps("up"), flush=True)
    for line in sys.stdin:
        what, *rest = line.split()
        answer: Any
        if what == "model":
            models.append((Wave(float(rest[0])), None))
            models[-1] = (models[-1][0], torch.compile(models[-1][0], backend="fxfarm", dynamic=False))
            answer = check(*models[-1])
        elif what == "call":
            answer = [check(*m) for m in models]
        elif what == "wait":
            answer = fxfarm.wait(timeout=float(rest[0]))
        elif what == "graphs":
            answer = [[g.stage, [[s.state, s.source, s.error] for s in g.stages]] for g in fxfarm.graphs()]
        elif what == "pause":
            answer = paused()
        elif what == "compiler":
            answer = compiler_modules()
        elif what == "loader":
            answer = loaded()
        elif what == "fork":
            answer = forked(float(rest[0]))
        else:
            raise SystemExit(f"unknown command {what}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
