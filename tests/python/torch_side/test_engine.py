from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from engine_talk import Talk, directories
from farm import PYTHON, graphs_of, stage_of

from fxfarm import _torch, engine


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def talk(cache: Path) -> Iterator[Talk]:
    """A warm engine that all tests of this file share; it says hello and ready, and leaves when its input
    ends.
    """
    made = Talk(**directories(cache, "0"))
    hello, ready = made.channel.receive(), made.channel.receive()
    assert hello is not None
    assert ready is not None
    assert (hello["type"], hello["protocol"], hello["pid"]) == ("hello", 1, made.process.pid)
    assert ready["type"] == "ready"
    assert ready["platform"]["torch"] == torch.__version__
    assert ready["warm_seconds"] > 0
    yield made
    assert made.process.stdin is not None
    made.process.stdin.close()
    assert made.process.wait(60) == 0


def _graph() -> bytes:
    return graphs_of(lambda x: torch.sin(x) + 1, torch.ones(8))[0].payload


def test_a_job_gives_progress_and_an_artifact_that_loads(talk: Talk, tmp_path: Path) -> None:
    phases, done = talk.job(_graph(), stage_of())
    assert phases == ["deserialize", "compile", "pack"]
    assert done["type"] == "done"
    assert set(phases) <= set(done["phases"])
    stage = _torch.load_artifact(done["artifact"], tmp_path / "kernels")
    torch.testing.assert_close(stage.call([torch.ones(8)])[0], torch.sin(torch.ones(8)) + 1)


@pytest.mark.parametrize(
    ("graph", "options", "code", "reason"),
    [
        (b"garbage", {}, "bad_input", "not a graph"),
        (None, {"no_such_option": 1}, "bad_input", "unknown option no_such_option"),
        (None, {"max_autotune": 3}, "bad_input", "takes bool"),
    ],
)
def test_a_job_that_cannot_be_done_is_answered_and_the_engine_lives_on(
    graph: bytes | None, options: dict[str, Any], code: str, reason: str, talk: Talk
) -> None:
    _, failed = talk.job(graph or _graph(), stage_of(options))
    assert failed["type"] == "failed"
    assert failed["code"] == code
    assert reason in failed["reason"]
    _, done = talk.job(_graph(), stage_of())
    assert done["type"] == "done"


def test_an_operator_that_torch_registers_on_demand_is_registered_in_the_engine(
    talk: Talk, tmp_path: Path
) -> None:
    options_type = getattr(torch.nn, "LinearCrossEntropyOptions", None)
    if options_type is None:
        pytest.skip("this torch has no operator that it registers on demand")

    options, functional = options_type(batch_chunk_size=2, allow_retain_graph=True), torch.nn.functional

    def loss(x: torch.Tensor, weight: torch.Tensor, wanted: torch.Tensor) -> Any:
        return functional.linear_cross_entropy(x, weight, wanted, options=options)  # type: ignore[attr-defined]

    inputs = torch.randn(4, 8), torch.randn(5, 8), torch.tensor([0, 1, 2, 3])
    want = loss(*inputs)
    _, done = talk.job(graphs_of(loss, *inputs)[0].payload, stage_of())
    assert done["type"] == "done", done
    stage = _torch.load_artifact(done["artifact"], tmp_path / "kernels")
    torch.testing.assert_close(stage.call(list(inputs))[0], want)


def test_kernels_stay_in_the_engines_own_directory_and_headers_beside_it(talk: Talk, cache: Path) -> None:
    _, done = talk.job(_graph(), stage_of())
    assert done["type"] == "done"
    # os.walk passes over what the engine, which tidies up after its answer, removes meanwhile.
    found = [Path(folder, name) for folder, _, names in os.walk(cache) for name in names]
    mine, shared = cache / "0", cache / "headers"
    assert any(f.suffix == ".so" and f.is_relative_to(mine) for f in found)
    assert {f.parent for f in found if f.suffix == ".gch"} == {shared}
    assert not [f for f in found if f.name == ".unfinished"]


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    broken = Talk(FXFARM_ENGINE_KERNELS_DIR=str(tmp_path / "file"))
    broken.channel.receive()
    fatal = broken.channel.receive()
    assert fatal is not None
    assert (fatal["type"], fatal["code"]) == ("fatal", "engine_start")
    assert str(tmp_path / "file") in fatal["reason"]
    assert broken.process.wait(30) == 1


def test_without_torch_the_engine_says_so_and_leaves(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch on this machine')")
    broken = Talk(PYTHONPATH=f"{tmp_path}:{PYTHON}")
    frames = [broken.channel.receive(), broken.channel.receive()]
    assert frames[0] is not None
    assert frames[1] is not None
    assert frames[0]["type"] == "hello"
    assert frames[1]["type"] == "fatal"
    assert frames[1]["code"] == "engine_start"
    assert "no torch on this machine" in frames[1]["reason"]
    assert broken.process.wait(30) == 1


@pytest.mark.parametrize("data", [b"\0\0\0", struct.pack(">I", 5) + b"ab", struct.pack(">I", 1) + b"\xc1"])
def test_a_broken_stream_is_a_protocol_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(data)
    with path.open("rb") as source, pytest.raises(engine.ProtocolError):
        engine.Channel(source, source).receive()


def test_a_frame_above_the_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(struct.pack(">I", engine.FRAME_BYTES_MAX + 1))
    with path.open("rb") as source, pytest.raises(engine.ProtocolError, match="at most"):
        engine.Channel(source, source).receive()


def test_frames_come_back_as_they_were_sent(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    with path.open("wb") as sink:
        channel = engine.Channel(sink, sink)
        channel.send(type="done", id="1", artifact=b"\0\1")
        channel.send(type="shutdown")
    raw = path.read_bytes()
    assert msgpack.unpackb(raw[4 : 4 + struct.unpack(">I", raw[:4])[0]])["artifact"] == b"\0\1"
    with path.open("rb") as source:
        channel = engine.Channel(source, source)
        assert [f and f["type"] for f in (channel.receive(), channel.receive(), channel.receive())] == [
            "done",
            "shutdown",
            None,
        ]


def test_an_engine_keeps_no_more_kernels_than_it_may(talk: Talk, cache: Path) -> None:
    small = Talk(**directories(cache, "1"), FXFARM_ENGINE_CACHE_BYTES="0")
    small.channel.receive()
    small.channel.receive()
    _, done = small.job(_graph(), stage_of())
    assert done["type"] == "done"
    small.channel.send(type="shutdown")
    assert small.process.wait(60) == 0
    assert not list((cache / "1").rglob("*.so"))
    assert list((cache / "0").rglob("*.so")), "another engine's kernels are not its to delete"


@pytest.mark.parametrize(
    ("lost", "status", "told"), [("", 0, ["ready", "failed"]), ("an assertion", 1, ["ready"])]
)
def test_an_engine_that_has_lost_its_gpu_leaves_without_an_answer(
    lost: str,
    status: int,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fxfarm._torch import warm

    monkeypatch.setattr(warm, "lost", lambda: lost)
    jobs, answers = io.BytesIO(), io.BytesIO()
    worker = engine.Channel(io.BytesIO(), jobs)
    worker.send(type="compile", id="j", stage=stage_of(), target=_torch.client_platform(), graph=b"garbage")
    jobs.seek(0)
    cache = engine.Cache(tmp_path, tmp_path, engine.CACHE_BYTES)
    assert engine.Engine(engine.Channel(jobs, answers))._serve(cache, {}, 0.0) == status
    answers.seek(0)
    heard = engine.Channel(answers, io.BytesIO())
    frames = [frame["type"] for frame in iter(heard.receive, None)]
    assert [kind for kind in frames if kind != "progress"] == told
    assert ("lost its GPU: an assertion" in capsys.readouterr().err) == bool(lost)
