"""Redis servers that a test starts: one, over TLS, a cluster, and a master with a replica and Sentinels."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster import DEADLINE_S, free_port, until

PASSWORD = "correct horse"


def openssl(directory: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True, timeout=DEADLINE_S)


def make_certificates(directory: Path) -> None:
    """ca.crt, and server.crt with server.key for 127.0.0.1."""
    new_key = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(directory, *new_key, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test")
    openssl(directory, *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        directory,
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "names", "-out", "server.crt"),
    )


class Redis:
    """One server in a directory of its own; it ends with the test."""

    def __init__(self, directory: Path, *args: str, port: int = 0, cli: tuple[str, ...] = ()) -> None:
        self.port = port or free_port()
        self.directory = directory / f"redis-{self.port}"
        self.directory.mkdir()
        self._args = args
        self._cli = cli
        self.start()

    def start(self) -> None:
        """Starts it, again on the same port, and waits until it answers."""
        self.process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
                *("--dir", str(self.directory), "--logfile", "log", *self._args),
            ],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
        )
        until(
            "redis answers",
            lambda: self.cli("ping", check=False) in ("PONG", "NOAUTH Authentication required."),
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cli(self, *args: str, check: bool = True) -> str:
        """What redis-cli prints for a command."""
        done = subprocess.run(
            ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *self._cli, *args],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_S,
            check=check,
        )
        return done.stdout.strip()

    def keys(self, part: str = "") -> list[str]:
        return [key for key in self.cli("--scan").splitlines() if part in key]

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)


@contextmanager
def redis_in(directory: Path, *args: str, port: int = 0, cli: tuple[str, ...] = ()) -> Iterator[Redis]:
    server = Redis(directory, *args, port=port, cli=cli)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def tls_in(directory: Path) -> Iterator[tuple[Redis, Path]]:
    """A server that speaks TLS only and wants a password, and its authority's certificate."""
    make_certificates(directory)
    port = free_port()
    tls = [f"--tls-{name}-file" for name in ("cert", "key", "ca-cert")]
    files = [str(directory / name) for name in ("server.crt", "server.key", "ca.crt")]
    args = [word for pair in zip(tls, files, strict=True) for word in pair]
    cli = ("--tls", "--cacert", files[2], "--no-auth-warning", "-a", PASSWORD)
    server = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", PASSWORD)
    with redis_in(directory, *server, *args, port=port, cli=cli) as redis:
        yield redis, directory / "ca.crt"


@contextmanager
def cluster_in(directory: Path) -> Iterator[list[Redis]]:
    """Three masters with a third of the slots each."""
    with ExitStack() as stack:
        nodes = []
        for _ in range(3):
            enabled = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            nodes.append(stack.enter_context(redis_in(directory, *enabled)))
        nodes[0].cli("--cluster", "create", *(n.address for n in nodes), "--cluster-yes")
        for node in nodes:
            until("the cluster is ready", lambda node=node: "cluster_state:ok" in node.cli("cluster", "info"))
        yield nodes


class Resharding:
    """A slot on its way from the node that has the key to another one of the cluster."""

    def __init__(self, nodes: list[Redis], key: str) -> None:
        self._nodes = nodes
        self._slot = nodes[0].cli("cluster", "keyslot", key)
        self.source = next(n for n in nodes if key in n.keys())
        self.target = next(n for n in nodes if n is not self.source)
        self.target.cli("cluster", "setslot", self._slot, "importing", self._id(self.source))
        self.source.cli("cluster", "setslot", self._slot, "migrating", self._id(self.target))

    def move(self, *keys: str) -> None:
        """From now on the source answers questions for these with ASK, those for others itself."""
        moved = self.source.cli("migrate", "127.0.0.1", str(self.target.port), "", "0", "5000", "keys", *keys)
        assert moved == "OK"

    def end(self) -> None:
        """From now on the source answers with MOVED."""
        for node in self._nodes:
            node.cli("cluster", "setslot", self._slot, "node", self._id(self.target))

    @staticmethod
    def _id(node: Redis) -> str:
        return node.cli("cluster", "myid")


@contextmanager
def sentinel_in(directory: Path) -> Iterator[tuple[Redis, Redis, Redis]]:
    """A master called `main`, its replica, and a Sentinel that watches them."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_in(directory))
        replica = stack.enter_context(redis_in(directory, "--replicaof", "127.0.0.1", str(master.port)))
        until("the replica follows", lambda: "master_link_status:up" in replica.cli("info", "replication"))
        port = free_port()
        config = directory / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 3000\n"
        )
        sentinel = stack.enter_context(redis_as_sentinel(directory, config, port))
        until("the replica is known", lambda: "slaves=1" in sentinel.cli("info", "sentinel"))
        yield master, replica, sentinel


@contextmanager
def redis_as_sentinel(directory: Path, config: Path, port: int) -> Iterator[Redis]:
    class Sentinel(Redis):
        def start(self) -> None:
            self.process = subprocess.Popen(
                [
                    *("redis-server", str(config), "--sentinel", "--bind", "127.0.0.1"),
                    *("--port", str(port), "--logfile", str(self.directory / "log")),
                ],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
            )
            until("the Sentinel answers", lambda: self.cli("ping", check=False) == "PONG")

    server = Sentinel(directory, port=port)
    try:
        yield server
    finally:
        server.kill()
