"""Hosts of the test's own: network namespaces on one switch, whose cables can be pulled out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SUBNET = "10.213.7"
SWITCH = "switch"

needs_hosts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and the program ip"
)


class Hosts:
    """Hosts by number, from 1. The switch is a namespace, too: this machine's network is not touched."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def make(self, count: int) -> None:
        self._add(SWITCH)
        self._on(SWITCH, "link", "add", "bridge", "type", "bridge")
        self._on(SWITCH, "link", "set", "bridge", "up")
        for host in range(1, count + 1):
            port, space = f"port{host}", str(host)
            self._add(space)
            self._on(
                *(space, "link", "add", "eth0", "type", "veth"),
                *("peer", "name", port, "netns", self._space(SWITCH)),
            )
            self._on(SWITCH, "link", "set", port, "master", "bridge", "up")
            self._on(space, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            self._on(space, "link", "set", "eth0", "up")
            self._on(space, "link", "set", "lo", "up")

    def address(self, host: int) -> str:
        return f"{SUBNET}.{host}"

    def command(self, host: int) -> list[str]:
        """The command that runs another one there."""
        return ["ip", "netns", "exec", self._space(str(host))]

    def pull_out(self, host: int) -> None:
        """Its cable: what is sent from now on is lost, and neither end is told."""
        self._on(SWITCH, "link", "set", f"port{host}", "down")

    def plug_in(self, host: int) -> None:
        self._on(SWITCH, "link", "set", f"port{host}", "up")

    def remove(self) -> None:
        for space in self._made:
            _ip("netns", "del", space)

    @staticmethod
    def _space(name: str) -> str:
        return f"ff{os.getpid()}-{name}"

    def _add(self, name: str) -> None:
        _ip("netns", "add", self._space(name))
        self._made.append(self._space(name))

    def _on(self, name: str, *words: str) -> None:
        _ip("-n", self._space(name), *words)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def hosts_of(count: int) -> Iterator[Hosts]:
    made = Hosts()
    try:
        made.make(count)
        yield made
    finally:
        made.remove()
