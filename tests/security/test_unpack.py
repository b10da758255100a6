"""What an artifact cannot do to the process and the file system that it is unpacked in, whatever it says."""

from __future__ import annotations

import hashlib
import resource
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch

from fxfarm import _torch, disk
from fxfarm._torch import kernels, pack
from fxfarm._torch.graph_codec import tensor_from

GIB = 1 << 30
NAMES = ("../../victim", "/etc/passwd", "..", "a/b", "", "x\0y", "." * 5000)


def sealed(body: bytes) -> bytes:
    """With a digest that is right, as whoever makes one up gives it."""
    return hashlib.sha256(body).digest() + body


def artifact(**changed: Any) -> bytes:
    fields = {"manifest": {}, "entry": b"", "code": [], "files": [], "gpu_kernels": [], "constants": []}
    return sealed(msgpack.packb({"format": pack.FORMAT, **fields, **changed}))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Has this process get no more than a GiB beside what it has."""
    kib = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmSize"))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(kib.split()[1]) * 1024 + GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xc6\xff\xff\xff\xff" + b"x" * 64, id="bytes"),
        pytest.param(b"\xdb\xff\xff\xff\xff" + b"x" * 64, id="text"),
        pytest.param(b"\xdd\xff\xff\xff\xff" + b"\x01" * 64, id="list"),
        pytest.param(b"\xdf\xff\xff\xff\xff" + b"\x01\x01" * 64, id="map"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x01" + b"x" * 64, id="extension"),
        pytest.param(b"\x91" * 100_000 + b"\x01", id="nested"),
        pytest.param(b"\x81\xa6format", id="cut off"),
        pytest.param(msgpack.packb(7), id="a number"),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_lengths_that_are_made_up_take_no_room(body: bytes) -> None:
    with pytest.raises(_torch.CorruptArtifact):
        pack.unpack(sealed(body))


@pytest.mark.usefixtures("little_memory")
def test_a_tensor_has_the_bytes_that_it_comes_with() -> None:
    told = {"dtype": "float32", "device": ["cpu", None], "size": [2, 3], "stride": [3, 1]}
    sound = {**told, "data": struct.pack("<6f", *range(6))}
    torch.testing.assert_close(tensor_from(sound), torch.arange(6.0).reshape(2, 3))
    for size in ([1 << 40], [1 << 40, 1 << 40], [2, 2], [0], [-2, -3, 2]):
        with pytest.raises(_torch.CorruptArtifact, match="comes with 24"):
            tensor_from({**sound, "size": size})
    # A stride that asks for more than there is fails, too, and is no end of the process.
    with pytest.raises(RuntimeError):
        tensor_from({**sound, "stride": [1 << 40, 1]})


@pytest.mark.parametrize("name", NAMES)
def test_no_name_in_it_becomes_a_files(name: str, tmp_path: Path) -> None:
    data = b"object"
    for digest in (name, pack.digest(b"other"), pack.digest(data).upper()):
        with pytest.raises(_torch.CorruptArtifact, match="does not match its digest"):
            pack.unpack(artifact(files=[{"name": name, "digest": digest, "data": data}]))
    # What it calls itself does not matter to where it is put.
    named = {"name": name, "digest": pack.digest(data), "data": data}
    (file,) = pack.unpack(artifact(files=[named])).files
    folder = tmp_path / "k"
    disk.make_private(folder)
    assert kernels.place(folder, file["data"], file["digest"]) == folder / f"{pack.digest(data)}.so"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [f"{pack.digest(data)}.so"]
    assert stat.S_IMODE((folder / f"{pack.digest(data)}.so").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    data = b"object"
    name = pack.digest(data)
    victim, folder = tmp_path / "victim", tmp_path / "k"
    victim.write_bytes(b"precious")
    disk.make_private(folder)
    (folder / f"{name}.so").symlink_to(victim)
    path = kernels.place(folder, data, name)
    assert not path.is_symlink() and path.read_bytes() == data
    assert victim.read_bytes() == b"precious"


def test_what_is_no_list_of_files_is_refused(tmp_path: Path) -> None:
    for files in ({"a": 1}, [b"x"], [{"name": "x"}], [{"digest": "0" * 64, "data": 7, "name": "x"}], 7):
        with pytest.raises(_torch.CorruptArtifact):
            _torch.load_artifact(artifact(files=files), tmp_path / "k")
    assert not (tmp_path / "k").exists()
