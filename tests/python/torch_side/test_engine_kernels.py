"""One graph's C++ kernels compiled by two engines, and by one where the other is of no help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from engine_talk import Talk, directories
from farm import graphs_of, stage_of

from fxfarm import _torch
from fxfarm._torch import cpp_kernels

# As the real one, but where the test says so, each library waits until the test lets one more pass.
GATED = """#!/bin/sh
case "$*" in
*-shared*)
  if [ -e "$FXFARM_TEST_GATE/closed" ]; then
    printf x >"$FXFARM_TEST_GATE/begun"
    passed=$(head -c 1 "$FXFARM_TEST_GATE/pass") && [ "$passed" ] || exit 1
  fi ;;
esac
exec g++ "$@"
"""


class Gate:
    """In front of the C++ compiler of one engine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._ends = {}
        for name in ("begun", "pass"):
            os.mkfifo(directory / name)
            # Of both kinds, so that nobody waits for the other end to be opened.
            self._ends[name] = os.open(directory / name, os.O_RDWR)

    def close(self) -> None:
        (self.directory / "closed").touch()

    def open(self, waiting: int = 1) -> None:
        """For all that come, and for those that wait."""
        (self.directory / "closed").unlink()
        for _ in range(waiting):
            self.let_pass()

    def let_pass(self) -> None:
        """One more."""
        os.write(self._ends["pass"], b"x")

    def await_one(self) -> None:
        """Returns when one more has come that was not awaited yet."""
        assert os.read(self._ends["begun"], 1) == b"x"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


def start(cache: Path, name: str, **env: str) -> Talk:
    compiler = cache / "bin" / "g++"
    if not compiler.exists():
        compiler.parent.mkdir()
        compiler.write_text(GATED)
        compiler.chmod(0o700)
    plain = {"CXX": str(compiler), "FXFARM_COMPILE_THREADS": "1", "FXFARM_TEST_GATE": ""}
    talk = Talk(**directories(cache, name), **{**plain, **env})
    assert [frame and frame["type"] for frame in (talk.channel.receive(), talk.channel.receive())] == [
        "hello",
        "ready",
    ]
    return talk


def gated(cache: Path, name: str) -> tuple[Talk, Gate]:
    gate = Gate(cache / f"gate-{name}")
    return start(cache, name, **{"FXFARM_TEST_GATE": str(gate.directory)}), gate


def leave(talk: Talk) -> int:
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    return talk.process.wait(60)


@pytest.fixture(scope="module")
def helper(cache: Path) -> Iterator[Talk]:
    made = start(cache, "helper")
    yield made
    assert leave(made) == 0


@pytest.fixture(scope="module")
def asking(cache: Path) -> Iterator[tuple[Talk, Gate]]:
    made, gate = gated(cache, "asking")
    yield made, gate
    assert leave(made) == 0


class Job:
    """A graph of some kernels that no job of another number has, and what its engine says while it compiles
    them."""

    _last = 0

    def __init__(self, talk: Talk, kernels: int, *, number: int = 0, **fields: int) -> None:
        Job._last += 1
        self.id = f"job-{Job._last}"
        self.number = number or Job._last
        self.talk = talk
        shift = 0.5 + self.number

        def fn(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            for place in range(kernels):
                # A constant of its own, so that no two kernels are alike.
                x = torch.softmax(x @ weight, -1) + (shift + 100 * place)
            return x

        self.inputs = [torch.randn(8, 8), torch.randn(8, 8)]
        self.want = fn(*self.inputs)
        self.talk.channel.send(
            type="compile",
            id=self.id,
            stage=stage_of(),
            target=_torch.client_platform(),
            graph=graphs_of(fn, *self.inputs)[0].payload,
            **fields,
        )

    def frame(self) -> dict[str, Any]:
        """The next that is not of a phase."""
        while True:
            frame = self.talk.channel.receive()
            assert frame is not None, "the engine left in the middle of a job"
            assert frame["id"] == self.id
            if frame["type"] != "progress":
                return frame

    def asked(self, count: int) -> list[dict[str, Any]]:
        """So many kernels that it asks for."""
        frames = [self.frame() for _ in range(count)]
        assert [frame["type"] for frame in frames] == ["kernel"] * count
        assert len({frame["kernel"] for frame in frames}) == count
        assert all(0 < len(frame["kernel"]) <= 64 for frame in frames)
        return frames

    def send(self, kernel: dict[str, Any], library: bytes) -> None:
        self.talk.channel.send(type="kernel_done", id=self.id, kernel=kernel["kernel"], library=library)

    def refuse(self, kernel: dict[str, Any], code: str) -> None:
        self.talk.channel.send(
            type="kernel_failed", id=self.id, kernel=kernel["kernel"], code=code, reason="for the test"
        )

    def end(self, directory: Path, answer: Callable[[dict[str, Any]], None] | None = None) -> dict[str, int]:
        """Who has made how many kernels of an artifact that loads and computes what eager code does."""
        while (frame := self.frame())["type"] == "kernel":
            assert answer is not None
            answer(frame)
        assert frame["type"] == "done", frame
        stage = _torch.load_artifact(frame["artifact"], directory)
        torch.testing.assert_close(stage.call(list(self.inputs))[0], self.want)
        return dict(frame["kernels"])


def compiled_by(helper: Talk, kernel: dict[str, Any]) -> bytes:
    frame = help_with(helper, kernel["source"])
    assert frame["type"] == "done", frame
    assert set(frame["phases"]) == {"kernels"}
    return bytes(frame["artifact"])


def help_with(helper: Talk, source: Any) -> dict[str, Any]:
    """The helper's answer to a kernel."""
    helper.channel.send(
        type="compile_kernel", id="help", stage=stage_of(), target=_torch.client_platform(), source=source
    )
    while True:
        frame = helper.channel.receive()
        assert frame is not None
        assert frame["id"] == "help"
        if frame["type"] != "progress":
            return frame


def test_what_another_engine_compiles_is_taken(
    asking: tuple[Talk, Gate], helper: Talk, tmp_path: Path
) -> None:
    talk, gate = asking
    gate.close()
    job = Job(talk, 4, kernels_elsewhere=8)
    gate.await_one()
    for kernel in job.asked(3):
        job.send(kernel, compiled_by(helper, kernel))
    gate.open()
    assert job.end(tmp_path) == {"here": 1, "elsewhere": 3}


def test_one_that_comes_while_it_is_compiled_here_ends_that(
    asking: tuple[Talk, Gate], helper: Talk, tmp_path: Path
) -> None:
    talk, gate = asking
    gate.close()
    job = Job(talk, 2, kernels_elsewhere=8)
    gate.await_one()
    (kernel,) = job.asked(1)
    library = compiled_by(helper, kernel)
    gate.let_pass()
    gate.await_one()
    # That compiler is never let pass.
    job.send(kernel, library)
    assert job.end(tmp_path) == {"here": 1, "elsewhere": 1}
    gate.open(waiting=0)


def test_no_more_are_asked_for_at_one_time_than_the_worker_allows(
    asking: tuple[Talk, Gate], helper: Talk, tmp_path: Path
) -> None:
    talk, gate = asking
    gate.close()
    job = Job(talk, 4, kernels_elsewhere=1)
    gate.await_one()
    for _ in range(3):
        (kernel,) = job.asked(1)
        library = compiled_by(helper, kernel)
        # It has had all the time of a compile to ask for another.
        assert not talk.has_more()
        job.send(kernel, library)
    gate.open()
    assert job.end(tmp_path) == {"here": 1, "elsewhere": 3}


def test_a_job_whose_kernels_nobody_answers_for_ends_and_late_answers_harm_no_other(
    asking: tuple[Talk, Gate], tmp_path: Path
) -> None:
    talk, _ = asking
    job = Job(talk, 3, kernels_elsewhere=8)
    unanswered: list[dict[str, Any]] = []
    assert job.end(tmp_path, unanswered.append) == {"here": 3, "elsewhere": 0}
    assert len(unanswered) == 2
    job.send(unanswered[0], b"too late")
    job.refuse(unanswered[1], "busy")
    assert Job(talk, 1).end(tmp_path) == {"here": 1, "elsewhere": 0}


def test_a_kernel_that_nobody_is_free_for_is_compiled_here(asking: tuple[Talk, Gate], tmp_path: Path) -> None:
    talk, gate = asking
    gate.close()
    job = Job(talk, 4, kernels_elsewhere=2)
    gate.await_one()
    for kernel in job.asked(2):
        job.refuse(kernel, "busy")
    gate.open()
    # One is asked for when the first has been made, and nothing once that is refused.
    again: list[dict[str, Any]] = []

    def refuse(kernel: dict[str, Any]) -> None:
        again.append(kernel)
        job.refuse(kernel, "busy")

    assert job.end(tmp_path, refuse) == {"here": 4, "elsewhere": 0}
    assert len(again) <= 3, "at most one for each kernel that was made"


def test_a_library_that_is_none_is_compiled_here(
    asking: tuple[Talk, Gate], helper: Talk, tmp_path: Path
) -> None:
    talk, gate = asking
    gate.close()
    job = Job(talk, 8, kernels_elsewhere=8)
    gate.await_one()
    whole, empty, garbage, cut, nameless, foreign, failed = job.asked(7)
    library = compiled_by(helper, whole)
    job.send(whole, library)
    job.send(empty, b"")
    job.send(garbage, b"garbage" * 1000)
    job.send(cut, library[: len(library) // 2])
    # A library of a Python module with another name.
    job.send(nameless, Path(msgpack._cmsgpack.__file__).read_bytes())
    # Its header's number of the machine is of none that there is.
    job.send(foreign, library[:18] + b"\xff\xff" + library[20:])
    job.refuse(failed, "compile_failed")
    gate.open()
    assert job.end(tmp_path) == {"here": 7, "elsewhere": 1}


@pytest.mark.parametrize(
    ("kernels", "fields"), [(3, {}), (3, {"kernels_elsewhere": 0}), (1, {"kernels_elsewhere": 8})]
)
def test_nothing_is_asked_for_that_is_not_allowed_or_of_no_use(
    kernels: int, fields: dict[str, int], asking: tuple[Talk, Gate], tmp_path: Path
) -> None:
    assert Job(asking[0], kernels, **fields).end(tmp_path) == {"here": kernels, "elsewhere": 0}


def test_a_kernel_that_is_in_the_cache_is_not_asked_for(asking: tuple[Talk, Gate], tmp_path: Path) -> None:
    first = Job(asking[0], 2)
    assert first.end(tmp_path) == {"here": 2, "elsewhere": 0}
    again = Job(asking[0], 2, number=first.number, kernels_elsewhere=8)
    assert again.end(tmp_path) == {"here": 0, "elsewhere": 0}


def test_an_engine_whose_worker_leaves_while_it_waits_for_kernels_finishes_its_job_and_leaves(
    cache: Path, tmp_path: Path
) -> None:
    talk, gate = gated(cache, "left")
    gate.close()
    job = Job(talk, 2, kernels_elsewhere=8)
    gate.await_one()
    job.asked(1)
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    gate.open()
    assert job.end(tmp_path) == {"here": 2, "elsewhere": 0}
    assert talk.process.wait(60) == 0


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        (b"garbage", "bad_input", "not a kernel"),
        (b"", "bad_input", "not a kernel"),
        ("text", "bad_input", "no kernel"),
        (msgpack.packb({"argtypes": [1], "source": ""}), "bad_input", "type of an argument"),
        (msgpack.packb({"argtypes": ["x" * 257], "source": ""}), "bad_input", "type of an argument"),
        (msgpack.packb({"argtypes": ["x"] * 4097, "source": ""}), "bad_input", "types of its arguments"),
        (msgpack.packb({"argtypes": "float*", "source": ""}), "bad_input", "types of its arguments"),
        (msgpack.packb({"argtypes": [], "source": b""}), "bad_input", "its source"),
        (msgpack.packb([]), "bad_input", "its source"),
        (cpp_kernels.encode([], "no C++"), "compile_failed", "CppCompileError"),
    ],
)
def test_a_kernel_that_cannot_be_compiled_is_answered_and_the_engine_takes_the_next(
    source: Any, code: str, said: str, helper: Talk
) -> None:
    failed = help_with(helper, source)
    assert (failed["type"], failed["code"]) == ("failed", code)
    assert said in failed["reason"]
    assert help_with(helper, cpp_kernels.encode([], 'extern "C" void kernel() {}'))["type"] == "done"


def test_a_kernel_of_too_many_bytes_is_refused() -> None:
    with pytest.raises(_torch.CompileError) as refused:
        cpp_kernels.decode(bytes(cpp_kernels.SOURCE_BYTES_MAX + 1))
    assert refused.value.code == "bad_input"


def test_a_kernel_that_was_only_compiled_is_not_loaded_and_can_be(tmp_path: Path) -> None:
    source = 'extern "C" void kernel() {}'
    made = _torch.compile_kernel(cpp_kernels.encode([], source), stage_of(), _torch.client_platform("cpu"))
    mapped = Path("/proc/self/maps").read_text()
    path = cpp_kernels.build([], source)
    assert str(path) not in mapped
    assert path.read_bytes()[:4] == made.data[:4] == b"\x7fELF"
    kernel = cpp_kernels.CppPythonBindingsCodeCache.load_pybinding([], source)
    assert kernel() is None
