"""What Python reads of others' words: whatever they are, there is a value or the one error meant for them.
The inputs are made up, the same ones each time."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fxfarm import _core, config, engine, manifest, stages
from fxfarm._torch import CompileError, CorruptArtifact, pack, rebuild, values
from fxfarm.warm.options import UsageError, parse_shapes

bounded = settings(
    derandomize=True, max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

DEEP = 5000
PACKED_DEEP = 1000
"""msgpack itself refuses more."""
INT64 = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.none() | st.booleans() | INT64 | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
"""What msgpack has."""
OPTIONS = sorted(config._OPTIONS)
WORDS = st.sampled_from(
    ["~", "/x", "1", "GiB", ":", ",", "{", "}", '"a"', "true", "tcp://", "off", "9" * 5000]
)
TEXTS = st.text(max_size=30) | st.lists(WORDS, max_size=6).map("".join)


# Configuration.


@bounded
@given(st.sampled_from(OPTIONS), TEXTS)
@example("record_bytes", "9" * 5000)
@example("client_metrics", "9" * 5000)
@example("trace", "~no-such-user-here/x")
@example("stage_options", "[" * DEEP)
def test_a_variable_is_a_value_or_is_refused_by_name(name: str, text: str) -> None:
    variable = "FXFARM_" + name.upper()
    try:
        config.load(environ={variable: text, "XDG_CONFIG_HOME": "/nowhere"})
    except config.ConfigError as e:
        assert str(e).startswith(f"{name} = ") and variable in str(e)


@bounded
@given(st.text(max_size=60).map("[client]\n".__add__).map(str.encode) | st.binary(max_size=60))
@example(b"[client]\nspace = " + b"[" * DEEP)
@example(b"[client]\nrecord_bytes = " + b"9" * 5000)
@example(b"client = 1")
@example(b"[client]\nspace = 1979-05-27")
def test_a_file_is_read_or_is_refused_by_name(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        try:
            config.load(environ={"FXFARM_CONFIG": file.name})
        except config.ConfigError as e:
            assert file.name in str(e)


@bounded
@given(st.integers(0, 10**9), st.sampled_from(sorted(config._UNITS)))
def test_bytes_are_a_number_times_its_unit(number: int, unit: str) -> None:
    found = config.load(environ={"FXFARM_RECORD_BYTES": f"{number}{unit}", "XDG_CONFIG_HOME": "/nowhere"})
    assert found.record_bytes == number * config._UNITS[unit]


# Stages and shapes.


@bounded
@given(
    st.lists(
        st.sampled_from([*stages.NAMED, stages.EAGER])
        | st.fixed_dictionaries(
            {"name": st.text(max_size=3)},
            optional={"options": st.dictionaries(st.text(max_size=3) | st.integers(), PLAIN, max_size=3)},
        )
        | st.dictionaries(st.text(max_size=3) | st.integers(), PLAIN, max_size=3),
        max_size=4,
    )
)
@example([{1: "a", "b": 2}])
@example([{"name": "a", "options": {1: 2, "b": 3}}])
def test_a_plan_is_in_the_farms_terms_or_refused(wanted: list[Any]) -> None:
    try:
        plan = stages.resolve(wanted)
    except ValueError:
        return
    names = [stage["name"] for stage in plan]
    assert len(set(names)) == len(names) and stages.EAGER not in names
    for stage in plan:
        for key, text in stage["options"].items():
            assert isinstance(key, str)
            assert json.dumps(json.loads(text), sort_keys=True) == text


def test_an_option_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = 1
    for _ in range(DEEP):
        value = [value]
    with pytest.raises(ValueError, match="option 'a' of stage 'mine' is no JSON value"):
        stages.resolve([{"name": "mine", "options": {"a": value}}])


@bounded
@given(st.lists(st.lists(st.integers(0, 10**9), min_size=1, max_size=4), max_size=4))
def test_shapes_are_read_as_they_are_written(shapes: list[list[int]]) -> None:
    text = ", ".join("x".join(map(str, shape)) for shape in shapes)
    assert parse_shapes(text) == tuple(map(tuple, shapes))


@bounded
@given(st.text(st.sampled_from("0123456789x,. -٣"), max_size=20))
@example("9" * 5000)
def test_shapes_are_whole_numbers_or_refused(text: str) -> None:
    try:
        shapes = parse_shapes(text)
    except UsageError:
        return
    assert "x".join(text.split()).count(",") >= len(shapes) - 1
    assert all(isinstance(n, int) and n >= 0 for shape in shapes for n in shape)


# Files and frames.


def read_request(data: bytes) -> manifest.Request:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / (_core.digest(data) + manifest.SUFFIX)
        path.write_bytes(data)
        return manifest.read(path)


REQUEST = {"format": manifest.FORMAT, "key": "k", "name": "n", "payload": b"g", "stages": [], "target": {}}


@bounded
@given(
    st.binary(max_size=60)
    | PLAIN.map(msgpack.packb)
    | st.tuples(st.sampled_from(sorted(REQUEST)), PLAIN).map(
        lambda change: msgpack.packb({**REQUEST, "parts": {}, change[0]: change[1]})
    )
)
@example(msgpack.packb(REQUEST))
@example(b"\x81\xc0\x01")
def test_a_recorded_graph_is_a_request_or_damaged(data: bytes) -> None:
    try:
        found = read_request(data)
    except manifest.DamagedRequest:
        return
    assert isinstance(found.key, str) and isinstance(found.payload, bytes) and isinstance(found.stages, list)


@bounded
@given(st.binary(max_size=40) | PLAIN.map(msgpack.packb), st.integers(0, 50) | st.none())
@example(b"\x81\xc0\x01", None)
@example(b"\x91" * PACKED_DEEP, None)
def test_a_frame_has_a_type_or_breaks_the_protocol(body: bytes, told: int | None) -> None:
    size = len(body) if told is None else told
    channel = engine.Channel(io.BytesIO(struct.pack(">I", size) + body), io.BytesIO())
    try:
        frame = channel.receive()
    except engine.ProtocolError:
        return
    assert frame is not None and isinstance(frame["type"], str)
    assert size <= len(body)


@bounded
@given(st.lists(st.dictionaries(st.text(max_size=8).filter("type".__ne__), PLAIN, max_size=3), max_size=3))
def test_frames_come_as_they_were_sent(frames: list[dict[str, Any]]) -> None:
    sink = io.BytesIO()
    for frame in frames:
        engine.Channel(io.BytesIO(), sink).send(type="t", **frame)
    channel = engine.Channel(io.BytesIO(sink.getvalue()), io.BytesIO())
    for frame in frames:
        assert msgpack.packb(channel.receive()) == msgpack.packb({"type": "t", **frame})
    assert channel.receive() is None


# Artifacts and graphs.

ARTIFACT: Mapping[str, Any] = {
    **{"format": pack.FORMAT, "manifest": {}, "entry": b"", "code": [], "constants": []},
    "files": [{"name": "n", "digest": pack.digest(b"x"), "data": b"x"}],
    "gpu_kernels": [
        {
            **{"name": "n", "function": "f", "types": "OO", "cubin": b"x", "launcher": b"x", "magic": b"x"},
            **{"device": 0, "shared_bytes": 0, "warps": 4, "scratch": 0},
        }
    ],
}


@bounded
@given(
    st.binary(max_size=60)
    | PLAIN.map(msgpack.packb)
    | st.tuples(st.sampled_from(sorted(ARTIFACT)), PLAIN).map(
        lambda change: msgpack.packb({**ARTIFACT, change[0]: change[1]})
    )
)
@example(msgpack.packb(ARTIFACT))
@example(b"\x81\xa6format" + b"\x91" * PACKED_DEEP + b"\x01")
def test_an_artifact_is_sound_or_corrupt(body: bytes) -> None:
    try:
        found = pack.unpack(hashlib.sha256(body).digest() + body)
    except CorruptArtifact:
        return
    assert all(pack.digest(file["data"]) == file["digest"] for file in found.files)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from(
        [..., torch.float32, torch.strided, torch.channels_last, torch.device("cpu"), torch.add]
    )
)
ARGUMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.builds(slice, inner, inner, inner)
    ),
    max_leaves=8,
)


@bounded
@given(ARGUMENTS)
@example(torch.Size([2, 3]))
@example(-(2**100))
def test_an_argument_of_a_node_is_read_as_it_is_written(value: Any) -> None:
    def none(*_: object) -> None:
        return None

    data = msgpack.unpackb(msgpack.packb(values.encode(value, none)), strict_map_key=False)
    found = values.decode(data, none)
    assert type(found) is type(value) and found == value


GRAPH: Mapping[str, Any] = {
    **{
        "inputs": [],
        "symbols": [],
        "guards": [],
        "constants": [],
        "operators": [],
        "ambient": {},
        "groups": [],
    },
    **{"inner": None, "module": {"nodes": [["o", None, [["t", 1]], []]], "placeholders": 0}},
}


def payload(graph: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(
        {"format": rebuild.FORMAT, "graph": msgpack.packb(graph), "name": "", "log_levels": {}}
    )
    return packed


@bounded
@given(
    st.tuples(st.sampled_from(sorted(GRAPH)), PLAIN).map(
        lambda change: payload({**GRAPH, change[0]: change[1]})
    )
    | st.binary(max_size=40)
    | st.lists(st.lists(st.sampled_from([*"pfmaMo", None]) | PLAIN, max_size=4), max_size=3).map(
        lambda nodes: payload({**GRAPH, "module": {"nodes": nodes, "placeholders": 0}})
    )
)
@example(payload({**GRAPH, "symbols": [[math.inf, None, None, False, True]]}))
@example(payload({**GRAPH, "module": {"nodes": [["p"]], "placeholders": 1}}))
def test_a_graph_is_rebuilt_or_refused(data: bytes) -> None:
    try:
        found = rebuild.rebuild(data)
    except CompileError as e:
        assert e.code in ("bad_input", "unserializable")
    else:
        assert isinstance(found.module, torch.fx.GraphModule)


def test_the_graph_that_the_others_are_made_from_is_one() -> None:
    module = rebuild.rebuild(payload(GRAPH)).module
    assert module() == (1,)
    with pytest.raises(CompileError, match="graph format 7"):
        rebuild.rebuild(msgpack.packb({"format": 7}))
