"""Containers, pods and services on this machine: processes with the network of a test's host, and the mounts,
the user and the variables that a recipe says.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cluster import Farm
from hosts import Hosts
from programs import PROGRAM, Role
from recipes import environment_of, secrets_of

USER = 10001
"""The images', and here the services', too."""
WITH_TESTS_PYTHON = "--inh-caps +dac_read_search --ambient-caps +dac_read_search"
"""The interpreter of the tests may lie where only root may look."""

# $1 is a file with names of hosts, $2 how many arguments tell of a mount each: a directory and what is there,
# or nothing for an empty one that is the user's own. What is mounted is seen by this process alone.
ENTER = """
set -eu
names=$1 mounts=$2; shift 2
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib
mkdir /run/etc; cp -a /etc/. /run/etc; mount --bind /run/etc /etc
cp "$names" /etc/hosts
while [ "$mounts" -gt 0 ]; do
  at=${1%%=*} from=${1#*=}; shift; mounts=$((mounts - 1))
  mkdir -p "$at"
  if [ -n "$from" ]; then mount --bind "$from" "$at"; else chown 10001:10001 "$at"; fi
done
exec setpriv --reuid 10001 --regid 10001 --clear-groups $CAPABILITIES -- "$@"
"""


@dataclasses.dataclass
class Box:
    """What a process has beside the machine: variables, directories by where it sees them, and its host."""

    environment: Mapping[str, str]
    mounts: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    empty: Collection[str] = ()
    host: int = 1


class Site:
    """The boxes of a test's farm, and the names that hosts have for them."""

    def __init__(self, farm: Farm, hosts: Hosts, names: Mapping[str, int]) -> None:
        self.farm, self.hosts = farm, hosts
        self._names = farm.directory / "names"
        lines = ["127.0.0.1 localhost", *(f"{hosts.address(host)} {name}" for name, host in names.items())]
        self._names.write_text("\n".join([*lines, ""]))
        # What the test's own programs need below the test's directory is the boxes' user's, too.
        self.give(farm.directory)
        self._mounts = farm.directory / "mounts"
        self._mounts.mkdir()

    @staticmethod
    def give(path: Path) -> None:
        """Makes it and what is in it the user's own."""
        for one in (path, *path.rglob("*")):
            os.chown(one, USER, USER, follow_symlinks=False)

    def pod(self, pod: dict[str, Any], secrets: Mapping[str, Mapping[str, bytes]]) -> Box:
        """With a Secret's files as kubelet mounts them: root's, and of the group that fsGroup says."""
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"] == USER
        mounts = {}
        for name, at, mode in secrets_of(pod):
            mounts[at] = self._mounts / f"{len(list(self._mounts.iterdir()))}-{name}"
            mounts[at].mkdir()
            for file, content in secrets[name].items():
                (mounts[at] / file).write_bytes(content)
                os.chown(mounts[at] / file, 0, USER)
                (mounts[at] / file).chmod(mode)
        (only,) = pod["containers"]
        # /tmp has the test's own directory.
        empty = {m["mountPath"] for m in only["volumeMounts"]} - mounts.keys() - {"/tmp"}
        return Box(environment_of(pod), mounts, empty)

    def linked(self, name: str, files: Collection[Path]) -> Path:
        """A directory with these files themselves, their owners and modes."""
        directory = self._mounts / name
        directory.mkdir()
        for file in files:
            os.link(file, directory / file.name)
        return directory

    def environment(self, box: Box) -> dict[str, str]:
        """The farm's own, and exactly what the recipe says."""
        return {**self.farm.env, **box.environment}

    def command(self, box: Box, capabilities: str = "") -> list[str]:
        """The command that runs another one in that box."""
        mounts = [f"{at}={source}" for at, source in box.mounts.items()] + [f"{at}=" for at in box.empty]
        enter = ["sh", "-c", ENTER, "sh", str(self._names), str(len(mounts)), *mounts]
        return [*self.hosts.command(box.host), "env", f"CAPABILITIES={capabilities}", *enter]

    def coordinator(self, box: Box, program: Path = PROGRAM, *args: str) -> Role:
        return self._start(box, self.command(box), program, args or ("coordinator",))

    def worker(self, box: Box, program: Path = PROGRAM, *args: str) -> Role:
        """With the test's engines."""
        box = dataclasses.replace(box, environment={**box.environment, "FXFARM_PYTHON": self.farm.python})
        return self._start(box, self.command(box, WITH_TESTS_PYTHON), program, args or ("worker",))

    def _start(self, box: Box, command: list[str], program: Path, args: Collection[str]) -> Role:
        started = Role(list(args), self.environment(box), prefix=command, program=program)
        self.farm.roles.append(started)
        return started
