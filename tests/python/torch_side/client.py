"""A client process: captures a model's graph or runs it from an artifact, and reports as one line of JSON.

usage: client.py capture MODEL | client.py run MODEL ARTIFACT[,ARTIFACT] KERNELS [THREADS]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import models
import torch
from compiler_modules import compiler_modules

from fxfarm import _torch

started: list[Any] = []


def watch_programs() -> None:
    """Notes every attempt to start a program from Python."""

    def audit(event: str, args: Any) -> None:
        if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty"):
            started.append([event, str(args)[:200]])

    sys.addaudithook(audit)


def calls(name: str) -> tuple[Any, Any, Any]:
    """A function to compile, how to call it, and what to compare."""
    if name == "gpt2":
        model, inputs = models.gpt2()
        return model, lambda f: f(**inputs).logits, None
    if name == "classifier":
        model = models.classifier()
        x = torch.randn(2, 3, 8, 8)

        def step(f: Any) -> torch.Tensor:
            model.zero_grad()
            f(x).square().mean().backward()
            return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

        return model, step, "train"
    x = torch.arange(4096.0).reshape(64, 64) / 4096
    return models.row_sum, lambda f: f(x), None


def main() -> None:
    mode, name = sys.argv[1:3]
    if mode == "run" and len(sys.argv) > 5:
        torch.set_num_threads(int(sys.argv[5]))
    fn, call, train = calls(name)
    report: dict[str, Any] = {"prefix": sys.prefix, "torch": torch.__file__, "errors": []}
    report["capability"] = torch.backends.cpu.get_cpu_capability()
    artifacts = iter(sys.argv[3].split(",") if mode == "run" else ())

    def backend(gm: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graph = _torch.serialize(_torch.snapshot(gm, inputs))
        report["key"] = graph.key
        if mode == "capture":
            return gm.forward
        watch_programs()
        stage = _torch.load_artifact(Path(next(artifacts)).read_bytes(), Path(sys.argv[4]))
        return lambda *args: stage.call(list(args))

    with torch.set_grad_enabled(train is not None):
        want = call(fn)
        for again, _ in enumerate(sys.argv[3].split(",") if mode == "run" else "1"):
            if again:
                torch._dynamo.reset()  # which imports Inductor's compiler where torch has CUDA
            compiled = torch.compile(fn, backend=backend)
            # The second call has neither tracing nor loading in it.
            got = [call(compiled) for _ in range(2)]
            report["errors"] += [float((want - g).abs().max()) for g in got]
    report["error"] = max(report["errors"])
    report["scale"] = float(want.abs().max())
    report["compiler_modules"] = compiler_modules()
    report["programs"] = started
    print(json.dumps(report))


if __name__ == "__main__":
    main()
