"""Runs `fxfarm warm`. Exit status: 0, every graph has its last stage; 1, something failed, as is told; 2, the
command line or the configuration cannot be used."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import fxfarm
from fxfarm import config, logs, manifest
from fxfarm.status import GraphStatus
from fxfarm.warm import report
from fxfarm.warm.options import Options, UsageError, parse

OK, FAILED, USAGE = 0, 1, 2
SLICE_S = 0.25


def main(argv: Sequence[str], answers: Callable[[], TextIO] = lambda: sys.stdout) -> int:
    """See above. `answers` gives the stream for the summary, before anything of the user's runs."""
    began = time.monotonic()
    try:
        options = parse(argv)
        out = answers()
        graphs, faults = _replayed(options) if options.manifest else _built(options)
    except (UsageError, config.ConfigError) as e:
        print(f"fxfarm warm: {e}\n`fxfarm warm --help` tells what is allowed", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("fxfarm warm: interrupted", file=sys.stderr)
        return FAILED
    faults = [*faults, *report.problems(graphs)]
    if not graphs and not faults:
        faults = ["there is no graph"]
    document = report.summary(graphs, faults, time.monotonic() - began)
    print(report.as_json(document) if options.json else report.as_text(document), file=out, flush=True)
    return FAILED if faults else OK


def own_stdout() -> TextIO:
    """Standard output for the summary alone: what the model, its libraries and their programs print goes to
    standard error from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def given(options: Options) -> dict[str, Any]:
    """What the command line says of the client's options. Raises config.ConfigError."""
    found: dict[str, Any] = {}
    if options.endpoints:
        found["endpoints"] = options.endpoints
    elif options.endpoint and not config.load().endpoints:
        found["endpoints"] = (options.endpoint,)
    if options.log_level:
        found["log"] = options.log_level
    # The farm that was named is to be warm; a local one in its place would be of no use to anybody.
    if config.load(found).endpoints:
        found["local"] = False
    return found


def _replayed(options: Options) -> tuple[list[GraphStatus], list[str]]:
    from fxfarm.warm.replay import Replay

    assert options.manifest is not None
    settings = config.load(given(options))
    logs.set_up(settings.log)
    try:
        files = manifest.files_of(options.manifest)
    except manifest.OpenToAll as e:
        raise UsageError(str(e)) from e
    except OSError as e:
        raise UsageError(f"{options.manifest} cannot be read: {e.strerror}") from e
    try:
        replay = Replay(settings)
    except ValueError as e:
        raise UsageError(f"no farm can be asked: {e}") from e
    except RuntimeError as e:
        return [], [f"no farm can be asked: {e}"]
    progress = report.Progress(sys.stderr)
    try:
        replay.submit(files)
        replay.wait(time.monotonic() + options.timeout_s, lambda: progress.show(replay.graphs()))
        graphs = replay.graphs()
        progress.show(graphs)
        return graphs, []
    finally:
        progress.end()
        replay.stop()


def _built(options: Options) -> tuple[list[GraphStatus], list[str]]:
    from fxfarm.warm.build import BuildError, Calls, find

    # Here calls are made once; whether a stage is slower is for the processes to come to find out.
    fxfarm.configure(**given(options), roll_back=False)
    _check_stages(options.stages)
    faults: list[str] = []
    try:
        calls = Calls(find(options.target), options.stages, options.training)
    except BuildError as e:
        return [], [str(e)]
    progress, until = report.Progress(sys.stderr), time.monotonic() + options.timeout_s
    try:
        for shape in options.shapes or (None,):
            try:
                calls.make(shape)
            except BuildError as e:
                faults.append(str(e))
        while not fxfarm.wait(timeout=min(SLICE_S, max(0.0, until - time.monotonic()))):
            progress.show(fxfarm.graphs())
            if time.monotonic() >= until:
                break
        graphs = _once(fxfarm.graphs())
        progress.show(graphs)
        return graphs, faults
    finally:
        progress.end()
        fxfarm.shutdown()


def _check_stages(wanted: Sequence[str]) -> None:
    from fxfarm import stages

    try:
        stages.resolve(wanted or None, defined=config.load().stage_options)
    except ValueError as e:
        raise UsageError(f"--stages: {e}") from e


def _once(graphs: Sequence[GraphStatus]) -> list[GraphStatus]:
    """Of graphs that are equal, one: their stages are the same."""
    found: dict[str, GraphStatus] = {}
    for number, graph in enumerate(graphs):
        found.setdefault(graph.key or str(number), graph)
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], own_stdout))
