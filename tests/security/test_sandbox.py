"""What a job can do that has broken into its engine: nothing to the system, to the worker, or to other
namespaces. Each test tries, and says what it gets.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cluster import HERE, MARK, farm_in, until
from echo_farm import PLATFORM
from keyed_farm import KeyedFarm
from programs import Role

from fxfarm import _core

WAIT_MS = 60_000


def works() -> bool:
    tried = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(tried, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not works(), reason="there is no bubblewrap here, or no right to use it")


@pytest.fixture
def keyed(place: Path) -> Iterator[KeyedFarm]:
    """A farm of engines that do what they are told, in a sandbox that lets them see all of the test's place:
    what is to be hidden there has to be hidden on purpose.
    """
    artifacts = place / "artifacts"
    artifacts.mkdir()
    (artifacts / "platform").write_bytes(msgpack.packb(PLATFORM))
    with farm_in(place, artifacts, "attack_engine.py") as farm:
        paths = [str(place), str(HERE), sys.prefix, sys.base_prefix, str(Path(sys.executable).parent)]
        farm.variables |= {
            "FXFARM_ENGINE_SANDBOX": "bubblewrap",
            "FXFARM_ENGINE_SANDBOX_PATHS": ":".join(paths),
            "FXFARM_ENGINE_ENVIRONMENT": MARK,
            "FXFARM_JOB_ATTEMPTS": "1",
        }
        made = KeyedFarm(farm)
        for name in ("bob", "carol"):
            made.make(name)
        made.allow(bob=("client", "team-b"), carol=("client", "team-c"))
        yield made


class Attacker:
    """A client whose graphs are programs."""

    def __init__(self, keyed: KeyedFarm, endpoint: str, name: str) -> None:
        self._client = _core.Client(
            endpoints=[endpoint], key=keyed.secret(name), server_public_key=[keyed.public["server"]]
        )

    def tries(self, source: str) -> str:
        """What the program found, or why it came to nothing."""
        graph = source.encode()
        stages: Any = [{"name": "default", "options": {}}]
        number = self._client.submit(_core.digest(graph), "attack", graph, stages, PLATFORM)
        task = self._client.next_task(WAIT_MS)
        if task is not None:
            artifact = bytes(task.artifact).decode()
            task.done()
            self._client.release(number)
            return artifact
        (stage,) = self._client.graphs()[-1]["stages"]
        return str(stage["error"])

    def stop(self) -> None:
        self._client.stop()


@contextmanager
def attacker(keyed: KeyedFarm, endpoint: str, name: str = "alice") -> Iterator[Attacker]:
    made = Attacker(keyed, endpoint, name)
    yield made
    made.stop()


def worker_of(keyed: KeyedFarm, endpoint: str, *args: str, name: str = "w", python: str = "") -> Role:
    worker = keyed.farm.start(
        *("worker", "--coordinators", endpoint, "--python", python or keyed.farm.python, "--name", name),
        *("--slots", "1", "--metrics", "127.0.0.1:0", *keyed.link("worker"), *keyed.signing("worker"), *args),
    )
    keyed.until_worker(endpoint, f"{name}-")
    return worker


def real_worker_of(keyed: KeyedFarm, endpoint: str) -> Role:
    """One whose engines are run by the tests' Python, which can be asked what it needs."""
    return worker_of(keyed, endpoint, python=sys.executable)


def test_a_compiler_that_lies_elsewhere_is_seen_and_nothing_beside_it(
    keyed: KeyedFarm, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    compiler = outside / "gcc" / "bin" / "g++"
    compiler.parent.mkdir(parents=True)
    compiler.symlink_to(shutil.which("g++") or "/usr/bin/g++")
    (outside / "gcc" / "lib" / "gcc").mkdir(parents=True)
    monkeypatch.setenv("CXX", str(compiler))
    # A link in what can be seen anyway, as CUDA's /usr/local/cuda is.
    paths = f"{keyed.farm.variables['FXFARM_ENGINE_SANDBOX_PATHS']}:/usr/bin/cc"
    monkeypatch.setitem(keyed.farm.variables, "FXFARM_ENGINE_SANDBOX_PATHS", paths)
    _, endpoint = keyed.coordinator()
    real_worker_of(keyed, endpoint)

    def engine() -> list[str]:
        words = [text.split() for text in keyed.farm.processes().values()]
        return next((w for w in words if "--ro-bind-try" in w and "fxfarm.engine" in w), [])

    seen = until("an engine is started", engine)
    assert str(outside / "gcc") in seen
    assert not {str(outside), "/usr/bin/cc"} & set(seen)


def restarts(keyed: KeyedFarm, worker: Role, reason: str) -> int:
    name = f'fxfarm_worker_engine_restarts_total{{reason="{reason}"}}'
    page = keyed.farm.scrape(worker.fact("worker ready", "metrics"))
    return sum(int(float(row.rsplit(" ", 1)[1])) for row in page.splitlines() if row.startswith(name + " "))


def test_a_job_sees_no_secrets_and_changes_nothing_outside(keyed: KeyedFarm) -> None:
    os.environ["AWS_SECRET_ACCESS_KEY"] = "not for engines"
    try:
        _, endpoint = keyed.coordinator("--cache-dir", str(keyed.farm.directory / "store"))
        worker = worker_of(keyed, endpoint)
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]
    place, port = keyed.farm.directory, int(endpoint.rsplit(":", 1)[1])
    (status,) = keyed.ask("status", endpoint)["workers"]
    assert status["sandbox"] == "bubblewrap"
    assert keyed.metric(worker, "worker ready", 'fxfarm_worker_sandbox{kind="bubblewrap"}') == 1
    with attacker(keyed, endpoint) as alice:
        assert alice.tries("found = 1 + 1") == "2", "what it may, it can"
        for secret in (keyed.secret("worker"), str(keyed.directory / "worker.sign_secret")):
            assert alice.tries(f"found = open({secret!r}).read()") == "refused EACCES", secret
        assert alice.tries("found = os.environ.get('AWS_SECRET_ACCESS_KEY')") == "None"
        assert alice.tries("found = open('/etc/shadow').read()") == "refused ENOENT"
        assert alice.tries(f"found = os.kill({worker.pid}, 9)") == "refused ESRCH"
        for path in (
            "/proc/sys/kernel/core_pattern",
            "/usr/bin/x",
            "/etc/x",
            "/x",
            str(place / "x"),
            str(HERE / "x"),
        ):
            assert alice.tries(f"found = open({path!r}, 'w')") == "refused EROFS", path
        for host, refused in (("127.0.0.1", "ECONNREFUSED"), ("192.0.2.1", "ENETUNREACH")):
            attack = f"found = socket.create_connection(({host!r}, {port}), 5)"
            assert alice.tries(attack) == f"refused {refused}", host
        assert alice.tries("found = os.listdir('/proc/1/root/home')") == "refused ENOENT"
        mount = "libc = ctypes.CDLL(None, use_errno=True)\n"
        mount += (
            "libc.mount(b'none', b'/usr', b'tmpfs', 0, None)\nfound = errno.errorcode[ctypes.get_errno()]"
        )
        assert alice.tries(mount) == "EPERM"
    assert keyed.counts(endpoint, "jobs_finished", "jobs_failed") == (16, 0)
    assert keyed.metric(worker, "worker ready", "fxfarm_worker_jobs_done_total") == 16


def test_namespaces_have_neither_engine_nor_cache_in_common(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()
    worker = worker_of(keyed, endpoint)
    leave = (
        "state['secret'] = 'of team-a'\nkernels = Path(os.environ['FXFARM_ENGINE_KERNELS_DIR'])\n"
        "(kernels / 'kernel.so').write_text('of team-a')\nPath('/tmp/note').write_text('of team-a')\n"
        "found = kernels\n"
    )
    look = "found = (state.get('secret'), Path('/tmp/note').exists(), Path({0!r}).exists(), '{1}')"
    with attacker(keyed, endpoint) as alice, attacker(keyed, endpoint, "bob") as bob:
        kernels = Path(alice.tries(leave))
        assert kernels.joinpath("kernel.so").read_text() == "of team-a"
        # The worker's first namespace; its engines were there for those that share.
        assert restarts(keyed, worker, "namespace") == 1
        assert alice.tries(look.format(str(kernels), 1)) == "('of team-a', True, True, '1')"
        assert restarts(keyed, worker, "namespace") == 1, "one namespace, one engine"
        assert bob.tries(look.format(str(kernels), 2)) == "(None, False, False, '2')"
        listing = f"found = [p.name for p in Path({str(kernels.parent.parent)!r}).iterdir()]"
        assert kernels.parent.name not in bob.tries(listing)
        poison = f"found = open({str(kernels / 'kernel.so')!r}, 'w')"
        assert bob.tries(poison) == "refused ENOENT"
        headers = "found = open(os.environ['FXFARM_ENGINE_HEADERS_DIR'] + '/x.gch', 'w')"
        assert bob.tries(headers) == "refused EROFS", "every engine reads them"
        assert restarts(keyed, worker, "namespace") == 2
        assert alice.tries(look.format(str(kernels), 3)) == "(None, False, True, '3')", (
            "its cache, a new engine"
        )
        assert restarts(keyed, worker, "namespace") == 3
    assert kernels.joinpath("kernel.so").read_text() == "of team-a"
    assert keyed.counts(endpoint, "jobs_started", "jobs_finished") == (7, 7)


def test_those_who_share_artifacts_share_engines(keyed: KeyedFarm) -> None:
    keyed.write("share team-a team-b")
    _, endpoint = keyed.coordinator()
    worker = worker_of(keyed, endpoint)
    with attacker(keyed, endpoint) as alice, attacker(keyed, endpoint, "bob") as bob:
        alice.tries("state['seen'] = 'by team-a'")
        assert bob.tries("found = state.get('seen')") == "by team-a"
    assert restarts(keyed, worker, "namespace") == 1, "the two of them are expected no more than others"


def test_engines_are_shared_by_isolated_namespaces_where_it_is_wanted(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()
    worker = worker_of(keyed, endpoint, "--engine-shared-by-namespaces")
    with attacker(keyed, endpoint) as alice, attacker(keyed, endpoint, "bob") as bob:
        alice.tries("state['seen'] = 'by team-a'")
        assert bob.tries("found = state.get('seen')") == "by team-a"
    assert restarts(keyed, worker, "namespace") == 0


def test_a_worker_starts_engines_for_the_only_namespace_that_it_has_served_and_of_several_for_none(
    keyed: KeyedFarm,
) -> None:
    _, endpoint = keyed.coordinator()
    kernels = "found = os.environ.get('FXFARM_ENGINE_KERNELS_DIR')"
    first = worker_of(keyed, endpoint)
    with attacker(keyed, endpoint) as alice, attacker(keyed, endpoint, "bob") as bob:
        place = alice.tries(kernels)
        assert restarts(keyed, first, "namespace") == 1
        assert first.stop() == 0
        second = worker_of(keyed, endpoint)
        assert alice.tries(f"{kernels}  # again") == place
        assert restarts(keyed, second, "namespace") == 0
        bob.tries("found = 1")
        assert restarts(keyed, second, "namespace") == 1
        assert second.stop() == 0
        third = worker_of(keyed, endpoint)
        assert alice.tries(f"{kernels}  # a third time") == "None", "it has its own"
        assert restarts(keyed, third, "namespace") == 0


BOMBS = {
    "files": (
        "for i in range(10**6): open(f\"{os.environ['TMPDIR']}/{i}\", 'w').close()",
        "too_large",
        "files",
    ),
    "bytes": (
        "for i in range(10**6): Path(os.environ['TMPDIR'], str(i)).write_bytes(bytes(1 << 20))",
        "too_large",
        "files",
    ),
    "processes": (
        "for i in range(100): os.fork() or (os.setsid(), os.fork(), time.sleep(1000))\ntime.sleep(1000)",
        "too_large",
        "processes",
    ),
    "memory": ("x = b'x' * (1 << 30)\ntime.sleep(1000)", "memory", "memory"),
    "memory of a daemon": (
        "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: x = b'x' * (1 << 30)\n  time.sleep(1000)\n"
        "time.sleep(1000)",
        "memory",
        "memory",
    ),
    "CPU": ("while True: pass", "deadline", "CPU time"),
    "time": ("time.sleep(1000)", "deadline", "deadline"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_takes_too_much_is_ended_and_says_of_what(keyed: KeyedFarm, bomb: str) -> None:
    attack, code, what = BOMBS[bomb]
    _, endpoint = keyed.coordinator(*(["--job-deadline", "2s"] if bomb == "time" else []))
    limits = ("--engine-disk-bytes", "64MiB", "--engine-processes", "50", "--engine-memory-bytes", "512MiB")
    worker = worker_of(keyed, endpoint, *limits, "--engine-cpu-time", "3s")
    with attacker(keyed, endpoint, "carol") as carol:
        why = carol.tries(attack)
        assert code in why and what in why
        # The coordinator sees a deadline as soon, and then has the worker end the job.
        counted = (code, "cancelled") if bomb == "time" else (code,)
        until("it is counted", lambda: sum(restarts(keyed, worker, reason) for reason in counted) == 1)
        assert keyed.counts(endpoint, "jobs_started", "jobs_failed", "jobs_finished") == (1, 1, 0)
        assert carol.tries("found = 'well'") == "well", "the next one is served"
    until(
        "its files are gone", lambda: len(list((keyed.farm.directory / "tmp").glob("fxfarm-work-*/*"))) == 1
    )


def test_a_job_that_needs_more_memory_than_a_worker_allows_goes_to_one_that_allows_it(
    keyed: KeyedFarm,
) -> None:
    _, endpoint = keyed.coordinator("--job-attempts", "3")
    files = "64"
    little = ("--engine-memory-bytes", "256MiB", "--engine-open-files", files)
    first = worker_of(keyed, endpoint, *little, name="little")
    # On the first worker it does not end by itself.
    there = f"resource.getrlimit(resource.RLIMIT_NOFILE)[0] == {files}"
    hungry = f"x = b'x' * (1 << 29)\nif {there}: time.sleep(1000)\nfound = len(x)"
    with attacker(keyed, endpoint, "carol") as carol:
        why = carol.tries(hungry)
        assert why.startswith("no_worker") and f"engine memory of more than {256 << 20} bytes wanted" in why
        assert keyed.counts(endpoint, "jobs_started", "jobs_retried", "jobs_failed") == (1, 1, 1)
        assert restarts(keyed, first, "memory") == 1
        worker_of(keyed, endpoint, "--engine-memory-bytes", "2GiB", name="much")
        assert carol.tries(hungry) == str(1 << 29)
        assert carol.tries("found = 'well'") == "well"
    assert keyed.counts(endpoint, "jobs_started", "jobs_retried", "jobs_finished") == (3, 1, 2)
    assert restarts(keyed, first, "memory") == 1, "it has not been tried there again"


def test_what_one_process_may_not_is_refused_to_it(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()
    worker_of(keyed, endpoint, "--engine-file-bytes", "1MiB", "--engine-open-files", "64")
    with attacker(keyed, endpoint) as alice:
        large = "with open(os.environ['TMPDIR'] + '/x', 'wb') as f: f.write(bytes(2 << 20)), f.flush()"
        assert alice.tries(large) == "refused EFBIG"
        assert alice.tries("found = [open('/dev/null') for _ in range(100)]") == "refused EMFILE"
        assert alice.tries("found = resource.getrlimit(resource.RLIMIT_CORE)") == "(0, 0)"
        raise_it = "resource.setrlimit(resource.RLIMIT_NOFILE, (65, 65))"
        attack = f"try: {raise_it}\nexcept ValueError as error: found = error"
        assert "not allowed to raise" in alice.tries(attack)


def test_a_daemon_of_a_job_ends_with_the_engine(keyed: KeyedFarm) -> None:
    _, endpoint = keyed.coordinator()
    worker_of(keyed, endpoint)
    daemon = "if os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n"
    daemon += (
        "  for fd in (0, 1, 2): os.close(fd)\n  os.execv('/usr/bin/sleep', ['sleep', '12345'])\nos.wait()"
    )

    def left() -> list[int]:
        return [pid for pid, text in keyed.farm.processes().items() if "sleep 12345" in text]

    with attacker(keyed, endpoint) as alice, attacker(keyed, endpoint, "bob") as bob:
        alice.tries(daemon)
        until("it is seen, so that it can be missed", lambda: len(left()) == 1)
        assert bob.tries("found = 'well'") == "well"
        assert left() == []


def test_where_there_is_no_sandbox_the_worker_says_why(keyed: KeyedFarm) -> None:
    programs = keyed.farm.directory / "programs"
    programs.mkdir()
    refusing = programs / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'no namespaces here' >&2\nexit 1\n")
    refusing.chmod(0o755)
    keyed.farm.variables |= {"PATH": f"{programs}:{os.environ['PATH']}", "FXFARM_ENGINE_SANDBOX": "auto"}
    _, endpoint = keyed.coordinator()
    worker = worker_of(keyed, endpoint)
    why = "bwrap: no namespaces here"
    assert why in worker.wait_line("engines run without a sandbox")
    (status,) = keyed.ask("status", endpoint)["workers"]
    assert status["sandbox"] == f"none: {why}"
    assert keyed.metric(worker, "worker ready", 'fxfarm_worker_sandbox{kind="none"}') == 1
    with attacker(keyed, endpoint) as alice:
        assert alice.tries("found = 'well'") == "well"

    keys = (*keyed.link("worker"), *keyed.signing("worker"))
    refused = keyed.farm.command(
        *("worker", "--coordinators", endpoint, "--engine-sandbox", "bubblewrap", "--metrics", "off", *keys)
    )
    assert refused.returncode == 1
    assert refused.stderr.count(f"engine_sandbox: bubblewrap is wanted, but: {why}") == 1


# A driver that finds a GPU where it finds its own file, which a sandbox does not show it.
DRIVER = """
#include <unistd.h>
int cuInit(unsigned flags) { (void)flags; return access(MARK, F_OK) == 0 ? 0 : 100; }
"""


@pytest.fixture
def gpu_device() -> Iterator[None]:
    """A device that looks like a GPU's by its name."""
    device = Path(f"/dev/nvidia-of-a-test-{os.getpid()}")
    try:
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError as refused:
        pytest.skip(f"a device cannot be made: {refused}")
    yield
    device.unlink()


@pytest.mark.parametrize("seen", [True, False], ids=["a driver that works in it", "one that does not"])
def test_a_gpu_that_a_sandbox_would_take_from_engines_is_not_taken(
    seen: bool,
    keyed: KeyedFarm,
    gpu_device: None,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = keyed.farm.directory if seen else tmp_path_factory.mktemp("outside")
    (place / "mark").touch()
    libraries = keyed.farm.directory / "libraries"
    libraries.mkdir()
    (libraries / "driver.c").write_text(DRIVER)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f'-DMARK="{place}/mark"', "-o", "libcuda.so.1", "driver.c"],
        cwd=libraries,
        check=True,
    )
    monkeypatch.setitem(keyed.farm.variables, "LD_LIBRARY_PATH", str(libraries))
    monkeypatch.setitem(keyed.farm.variables, "FXFARM_ENGINE_SANDBOX", "auto")
    _, endpoint = keyed.coordinator()
    real_worker_of(keyed, endpoint)
    (status,) = keyed.ask("status", endpoint)["workers"]
    if seen:
        assert status["sandbox"] == "bubblewrap"
    else:
        assert status["sandbox"] == "none: in it there is no GPU for engines: bwrap: cuInit says 100"
