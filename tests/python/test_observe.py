"""What a process says of its graphs while they go to the farm and come back: log, profile, progress line."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from farm_double import Loaded, client, compiled, doubled_farm, prepared, seen_by_the_loader
from marks import forks
from programs import forked, until

import fxfarm
from fxfarm import _core, _torch, logs, progress

X = torch.ones(3)


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with doubled_farm(monkeypatch, tmp_path):
        yield
    logs.set_up("")


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fxfarm"]


# The log.


def test_a_graph_is_logged_when_it_is_sent_ready_and_switched(caplog: pytest.LogCaptureFixture) -> None:
    fxfarm.configure(log="info")
    compiled(doubled)(X)
    farm = client()
    farm.graph_states[1]["stages"][0].update(source="disk", seconds_to_ready=1.5)
    farm.arrive(1, 0, Loaded(lambda args: [args[0] * 2], boxed=True))
    assert fxfarm.wait(timeout=10)
    sent, ready, switched = said(caplog)
    assert sent.startswith("model is sent after ")
    assert sent.endswith(f"s: default, key {'k' * 64}")
    assert ready.startswith("model has default ready after 1.")
    assert ready.endswith("s, from disk")
    assert switched.startswith("model runs default, ")
    assert switched.endswith("s after its first call")


def test_a_failure_is_logged_once_with_its_reason_and_no_switch_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fxfarm.configure(log="info")
    compiled(doubled)(X)
    client().arrive(1, 0, RuntimeError("no such library"))
    assert fxfarm.wait(timeout=10)
    assert fxfarm.wait(timeout=10)
    seen_by_the_loader()
    assert [s for s in said(caplog) if "no such library" in s] == [
        "model goes without stage default: RuntimeError: no such library"
    ]
    assert not any("runs default" in s for s in said(caplog))


def test_without_the_option_a_programs_own_logging_decides() -> None:
    logger = logging.getLogger("fxfarm")
    logger.setLevel(logging.INFO)
    try:
        compiled(doubled)(X)
        client()
        assert (logger.level, logger.handlers) == (logging.INFO, [])
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("log", "program", "lines"),
    [
        ("", "", ["W"]),
        ("info", "", ["I", "W"]),
        ("error", "", []),
        ("off", "", []),
        ("info", "logging.basicConfig(format='%(message)s')", ["I", "W"]),
        ("info", "logging.basicConfig(handlers=[logging.NullHandler()])", ["I", "W"]),
        (
            "info",
            "h = logging.StreamHandler(); h.setLevel('WARNING')\nlogging.getLogger().addHandler(h)",
            ["I", "W"],
        ),
        ("", "logging.basicConfig(format='%(message)s', level='INFO')", ["I", "W"]),
        ("", "logging.basicConfig(format='%(message)s', level='ERROR')", []),
    ],
)
def test_lines_reach_standard_error_once(log: str, program: str, lines: list[str]) -> None:
    code = (
        f"import logging\nfrom fxfarm import logs\n{program}\nlogs.set_up({log!r})\n"
        "logs.log.info('I')\nlogs.log.warning('W')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [line[-1] for line in done.stderr.splitlines()] == lines


class Hostile(logging.Filter):
    """A program's filter that breaks."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise ValueError("no such field")


def test_what_a_programs_logging_raises_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fxfarm.configure(log="info")
    hostile, logger = Hostile(), logging.getLogger("fxfarm")
    logger.addFilter(hostile)
    try:
        fn = compiled(doubled, options={"stages": ["default", "max-autotune"]})
        fn(X)
        tasks = [client().arrive(1, 0, Loaded(doubled)), client().arrive(1, 1, Loaded(doubled))]
        assert fxfarm.wait(timeout=10)
        seen_by_the_loader()
    finally:
        logger.removeFilter(hostile)
    assert [t.answers for t in tasks] == [[("none", "")], [("none", "")]]
    (graph,) = fxfarm.graphs()
    assert (graph.stage, graph.error) == ("max-autotune", "")
    assert "no such field" in capsys.readouterr().err


def test_a_line_is_the_place_that_wrote_it(caplog: pytest.LogCaptureFixture) -> None:
    logs.log.warning("%s", "W")
    assert [(r.funcName, r.getMessage()) for r in caplog.records] == [
        ("test_a_line_is_the_place_that_wrote_it", "W")
    ]


def test_the_options_level_and_handler_go_with_it() -> None:
    logger = logging.getLogger("fxfarm")
    logs.set_up("debug")
    logs.set_up("debug")
    assert (logger.level, len(logger.handlers)) == (logging.DEBUG, 1)
    logs.set_up("")
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])


# The profile.


def profiled(call: Callable[[], object], **experimental: bool) -> list[str]:
    """Names of fxfarm's spans."""
    config = torch._C._profiler._ExperimentalConfig(**experimental)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, experimental_config=config) as profile:
        call()
    return [e.name for e in profile.events() if e.name.startswith("fxfarm::")]


def test_calls_are_spans_of_a_profile_by_their_stage() -> None:
    fn = compiled(doubled)
    assert profiled(lambda: fn(X)) == ["fxfarm::eager model"]
    client().arrive(1, 0, Loaded(doubled))
    assert fxfarm.wait(timeout=10)
    assert profiled(lambda: (fn(X), fn(X))) == ["fxfarm::default model"] * 2
    runs = fxfarm.graphs()[0].runs
    fn(X)
    assert (runs, fxfarm.graphs()[0].runs["default"]) == ({"eager": 1, "default": 2}, 3)


def test_load_and_switch_are_spans_where_all_threads_are_profiled() -> None:
    fn = compiled(doubled)
    fn(X)

    def arrive() -> None:
        client().arrive(1, 0, Loaded(doubled))
        assert fxfarm.wait(timeout=10)

    assert profiled(arrive, profile_all_threads=True) == [
        "fxfarm::load default model",
        "fxfarm::switch default model",
    ]


def test_a_call_that_raises_in_a_profile_raises_the_same() -> None:
    def bad(_: object) -> None:
        raise KeyError("the model's own")

    _torch.watch()
    slot = _core.Slot(bad, name="unnamed")

    def call() -> None:
        with pytest.raises(KeyError, match="the model's own"):
            slot(1)

    assert profiled(call) == []
    slot.name_spans(("fxfarm::eager x",))
    assert profiled(call) == ["fxfarm::eager x"]


def test_a_span_that_cannot_be_made_is_no_failure_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda seen: told.append(seen.exc_type))
    flags = {"on": True}
    try:
        _core.watch_profiler(flags, "on", lambda name: 1 / 0)
        slot = _core.Slot(lambda x: x + 1)
        assert (slot(1), told) == (2, [ZeroDivisionError])
        flags["on"] = False
        assert (slot(1), told) == (2, [ZeroDivisionError])
    finally:
        _torch.watch()


# The progress line.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "environ", "shown"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"RANK": "0"}, True),
        (True, {"RANK": "1"}, False),
        (True, {"SLURM_PROCID": "2"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_only_the_first_rank_at_a_terminal_has_a_line(
    terminal: bool, environ: dict[str, str], shown: bool
) -> None:
    assert progress.wanted(environ, Terminal() if terminal else io.StringIO()) is shown


def test_a_closed_stream_or_none_has_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Terminal()
    closed.isatty = io.StringIO.isatty.__get__(closed)  # type: ignore[method-assign]
    closed.close()
    assert not progress.wanted({}, closed)
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.wanted({})


def test_the_line_tells_what_graphs_run_and_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 0.001)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fxfarm.configure(progress=True)
    compiled(doubled)(X)
    farm = client()
    farm.graph_states[1]["stages"][0]["state"] = "running"
    until("the compile is told", lambda: "fxfarm: 1 graph, 1 on eager; 1 compiling" in terminal.getvalue())
    farm.arrive(1, 0, Loaded(doubled))
    until("the switch is told", lambda: "fxfarm: 1 graph, 1 on default\r" in terminal.getvalue())
    fxfarm.shutdown()
    written = terminal.getvalue()
    assert written.endswith("\n")
    assert "fxfarm-progress" not in [t.name for t in threading.enumerate()]
    assert terminal.getvalue() == written


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_only_with_the_option_there_is_a_thread_for_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    compiled(doubled)(X)
    client()
    assert "fxfarm-prepare" in threads()
    assert "fxfarm-progress" not in threads()
    fxfarm.shutdown()
    fxfarm.configure(progress=True)
    torch._dynamo.reset()
    compiled(doubled)(X)
    assert "fxfarm-progress" in threads()
    fxfarm.shutdown()
    assert "fxfarm-progress" not in threads()


def test_a_record_that_cannot_be_written_is_told_once_and_the_graphs_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    fxfarm.configure(record=tmp_path / "file")
    for factor in (2, 3):
        compiled(lambda x, factor=factor: x * factor)(X)
    prepared()
    assert len(client().graph_states) == 2
    assert caplog.text.count("graphs are not recorded") == 1


@forks
def test_the_child_of_a_fork_writes_neither_line_nor_trace_and_its_parent_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fxfarm.configure(progress=True, trace=tmp_path / "t.json", record=tmp_path / "record")
    compiled(doubled)(X)
    client()
    prepared()
    until("the line is there", terminal.getvalue)

    def check() -> bool:
        inherited, alone = terminal.getvalue(), "fxfarm-progress" not in threads()
        fxfarm.shutdown()
        return alone and terminal.getvalue() == inherited and not (tmp_path / "t.json").exists()

    assert forked(check) == 0
    assert list((tmp_path / "record").iterdir())
    fxfarm.shutdown()
    assert terminal.getvalue().endswith("\n")
    assert (tmp_path / "t.json").exists()
