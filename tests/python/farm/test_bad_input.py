"""What is wrong is named, with its place; and it harms nothing else."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from cluster import DEADLINE_S, PROGRAM, Farm, free_port, until
from farm_client import Client
from farm_models import UNLOADABLE
from unloadable import NOT_FOUND
from zmtp import Dealer

import fxfarm

NOBODY = 65534


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["coordinator", "--colour", "red"], 2, "--colour"),
        (["coordinator", "--listen", "tcp://127.0.0.1"], 2, "tcp://127.0.0.1"),
        (["worker", "--slots", "none"], 2, "slots"),
        (["worker", "--coordinators", "tcp://farm.example:7070"], 2, "farm.example"),
        (["local", "--idle-timeout", "soon"], 2, "idle-timeout"),
        (["local", "--socket", "run.sock"], 2, "run.sock"),
        (["frobnicate"], 2, "frobnicate"),
        (["status", "--endpoint", "tcp://127.0.0.1:1"], 1, "tcp://127.0.0.1:1"),
        (["worker", "--log-level", "loud"], 2, "loud"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_line_that_cannot_be_used_is_refused(
    farm: Farm, args: list[str], status: int, said: str
) -> None:
    done = farm.command(*args)
    assert (done.returncode, done.stdout) == (status, "")
    assert said.replace("-", "_") in done.stderr.replace("-", "_")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[coordinator]\nlisten = [\n\n[worker]\n", ":4:"),
        ('[coordinator]\ncolour = "red"\n', "colour"),
        ("[coordinator]\njob_attempts = 1000\n", "job_attempts"),
        ("[kitchen]\n", "kitchen"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(farm: Farm, text: str, said: str) -> None:
    file = farm.directory / "fxfarm.toml"
    file.write_text(text)
    done = farm.command("coordinator", "--config", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("option", ["listen", "metrics"])
def test_a_port_that_is_taken_is_named(farm: Farm, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        places = {"listen": f"tcp://127.0.0.1:{free_port()}", "metrics": "off"}
        places[option] = f"tcp://{address}" if option == "listen" else address
        done = farm.command("coordinator", "--listen", places["listen"], "--metrics", places["metrics"])
    assert done.returncode == 1
    assert address in done.stderr
    assert option == "metrics" or "in use" in done.stderr


@pytest.fixture
def unprivileged(farm: Farm) -> dict[str, object]:
    """How to run the program as a user who may not write everywhere."""
    for directory in (farm.directory, farm.directory / "run"):
        directory.chmod(0o755)
    # A wheel keeps the libraries that the program needs beside the package.
    packages = PROGRAM.parents[2]
    for folder in (PROGRAM.parent, packages / "fxfarm.libs"):
        if folder.is_dir():
            shutil.copytree(folder, farm.directory / folder.relative_to(packages))
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.mark.parametrize("role", ["coordinator", "local"])
def test_a_cache_directory_that_may_not_be_used_is_named(
    farm: Farm, unprivileged: dict[str, object], role: str
) -> None:
    cache = farm.directory / "closed"
    cache.mkdir(mode=0o500)
    runtime = farm.directory / "mine"
    runtime.mkdir(mode=0o700)
    if unprivileged:
        os.chown(runtime, NOBODY, NOBODY)
    where = (
        ["--socket", str(runtime / "f" / "local-t.sock")]
        if role == "local"
        else ["--listen", "tcp://127.0.0.1:0"]
    )
    done = subprocess.run(
        [
            str(farm.directory / PROGRAM.relative_to(PROGRAM.parents[2])),
            role,
            "--cache-dir",
            str(cache / "deep"),
            "--metrics",
            "off",
            *where,
        ],
        env=farm.env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **unprivileged,  # type: ignore[call-overload]
    )
    assert done.returncode == 1, done.stderr
    assert str(cache) in done.stderr
    assert "ermission denied" in done.stderr
    assert list(runtime.rglob("*.*")) == []


def test_an_unknown_stage_leaves_the_model_eager_and_is_told(farm: Farm, client: Client) -> None:
    model = client.model(options={"stages": ["default", "warp"]})
    model()
    assert model.status.stage == "eager"
    assert model.status.settled
    assert "unknown stage 'warp'; allowed: default" in model.status.error


def test_a_farm_out_of_reach_is_told_once_and_the_local_one_serves(
    farm: Farm, client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    client.set(FXFARM_ENDPOINTS=endpoint)
    models = [client.model(height) for height in (1.0, 2.0)]
    for model in models:
        model.until_compiled()
        assert model.stage.source.startswith("local-")
    assert capfd.readouterr().err.count(f"farm {endpoint} cannot be reached") == 1


def test_without_any_farm_the_model_stays_eager_and_says_why(farm: Farm, client: Client) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model()
    until("the reason is told", lambda: any(stage.error for stage in model.status.stages))
    assert model.stage.state == "waiting"
    assert endpoint in model.stage.error
    assert fxfarm.wait(timeout=0) is False


@pytest.fixture
def babbler() -> Iterator[str]:
    """The endpoint of somebody who answers everyone with rubbish."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 8)

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)


def test_an_endpoint_that_speaks_rubbish_is_given_up_for_the_local_farm(
    farm: Farm, client: Client, babbler: str
) -> None:
    client.set(FXFARM_ENDPOINTS=babbler)
    model = client.model()
    model.until_compiled()
    assert model.stage.source.startswith("local-")


def test_peers_that_speak_rubbish_or_another_version_are_counted_and_refused(
    farm: Farm, client: Client
) -> None:
    _, endpoint = farm.coordinator()
    port = int(endpoint.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        # Ends before ZeroMQ's oldest framing, which has no greeting, would see a message in it.
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    newer = {"magic": "fxfarm", "version": 99, "role": "client", "id": "x"}
    for said, reason in (
        (msgpack.packb({"type": "hello", "body": newer}), "hello.version: 99"),
        (msgpack.packb({"type": "hello", "body": {**newer, "magic": "other"}}), "magic"),
        (msgpack.packb([1, 2, 3]), "expected a map"),
        (b"\xc1" * 300, "message"),
    ):
        dealer = Dealer(port, DEADLINE_S)
        dealer.send(said)
        answer = dealer.receive()
        dealer.close()
        assert (answer["type"], answer["body"]["code"]) == ("rejected", "protocol")
        assert reason in answer["body"]["reason"]
    assert farm.stats(endpoint)["link_rejected"] == 4
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    client.model().until_compiled()


def test_an_artifact_with_a_flipped_byte_is_compiled_again(farm: Farm, client: Client) -> None:
    coordinator, endpoint = farm.coordinator()
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    client.model().until_compiled()
    client.leave()
    assert coordinator.stop() == 0

    cache = farm.directory / "cache" / "fxfarm" / "coordinator"
    (file,) = [f for f in cache.rglob("*") if f.is_file() and f.stat().st_size > 4096]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    farm.coordinator(port=int(endpoint.rsplit(":", 1)[1]))
    model = client.model()
    model.until_compiled()
    assert model.stage.source.startswith("w-")
    names = ("jobs_started", "jobs_finished", "cache_errors_disk", "cache_hits_disk", "artifacts_refused")
    assert farm.counts(endpoint, *names) == (1, 1, 1, 0, 0)


def test_a_stored_artifact_that_cannot_be_loaded_is_compiled_again(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    _, endpoint = farm.local()
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    farm.control.on("junk-once")
    model = client.model()
    model.until_compiled()
    names = ("jobs_started", "jobs_finished", "artifacts_refused", "load_failures")
    assert farm.counts(endpoint, *names) == (2, 2, 1, 1)


def test_a_stage_that_is_never_loadable_is_given_up(farm: Farm, client: Client) -> None:
    assert farm.control is not None
    farm.control.on("junk")
    model = client.model()
    assert model.until_state("failed").error.startswith("corrupt: ")
    assert farm.counts(farm.own_socket(), "jobs_started", "artifacts_refused") == (2, 1)


def test_a_stage_that_needs_a_newer_library_leaves_eager_and_names_it(farm: Farm, client: Client) -> None:
    model = client.model(UNLOADABLE)
    stage = model.until_state("failed")
    assert stage.error.startswith("load_failed: ")
    assert re.search(NOT_FOUND, stage.error)
    model()
    assert (model.status.stage, model.status.settled) == ("eager", True)
    client.model(1.0).until_compiled()
    assert farm.counts(farm.own_socket(), "load_failures", "stages_served_job") == (1, 2)


@pytest.fixture
def torchless(place: Path) -> str:
    """An interpreter that has fxfarm, and no torch."""
    packages = place / "packages"
    packages.mkdir()
    for package in (fxfarm, msgpack):
        (packages / package.__name__).symlink_to(Path(package.__file__).parent)
    wrapper = place / "torchless"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -S "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def test_an_engine_without_torch_is_told_as_no_worker_with_its_reason(
    farm: Farm, client: Client, torchless: str
) -> None:
    client.set(FXFARM_PYTHON=torchless)
    stage = client.model().until_state("failed")
    assert stage.error.startswith("no_worker: engine_start: ")
    assert "No module named 'torch'" in stage.error


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_that_cannot_be_used_is_told_as_no_worker(
    farm: Farm, client: Client, python: str
) -> None:
    client.set(FXFARM_PYTHON=python)
    stage = client.model().until_state("failed")
    assert stage.error.startswith("no_worker: ")
    assert "/nowhere/python" in stage.error or "exited with 1" in stage.error


@pytest.fixture
def small_disk(farm: Farm) -> Iterator[Path]:
    directory = farm.directory / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield directory
    # Lazily: the coordinator still has it open.
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_costs_the_store_and_nothing_else(farm: Farm, client: Client, small_disk: Path) -> None:
    _, endpoint = farm.coordinator("--cache-dir", str(small_disk / "cache"), "--memory-bytes", "0")
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    model = client.model(2.0)
    model.until_compiled()
    assert model.stage.source.startswith("w-")
    assert farm.counts(endpoint, "jobs_finished", "cache_errors_disk") == (1, 1)
    client.leave()
    client.model(2.0).until_compiled()
    assert farm.counts(endpoint, "jobs_finished", "cache_errors_disk") == (2, 2)


def test_a_store_whose_directory_is_gone_serves_from_memory_and_has_it_again(
    farm: Farm, client: Client
) -> None:
    cache = farm.directory / "store"
    _, endpoint = farm.coordinator("--cache-dir", str(cache))
    farm.worker(endpoint)
    client.set(FXFARM_ENDPOINTS=endpoint, FXFARM_LOCAL="false")
    client.model(1.0).until_compiled()
    shutil.rmtree(cache)
    client.leave()
    again = client.model(1.0)
    again.until_compiled()
    assert again.stage.source == "memory"
    client.model(2.0).until_compiled()
    assert farm.counts(endpoint, "jobs_finished", "jobs_failed", "cache_errors_disk") == (2, 0, 0)
    assert len([p for p in cache.rglob("*") if p.is_file()]) == 1, "what was made since"
