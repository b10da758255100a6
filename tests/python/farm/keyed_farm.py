"""A farm whose links have keys and whose artifacts are signed, for a test: who has which key, and how each is
given to a program.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster import Farm, until
from farm_client import Client
from programs import Role


class KeyedFarm:
    """The coordinator's key, those of its peers and signers, and the files that say what each may do."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.directory = farm.directory / "keys"
        self.directory.mkdir()
        self.authorized = self.directory / "authorized"
        self.public: dict[str, str] = {}
        self.rights: dict[str, tuple[str, str]] = {}
        """By name: role and namespace."""
        self.signers: dict[str, str] = {}
        """Public keys by name; the coordinator accepts those in `accepted`."""
        self.accepted: list[str] = []
        self.clients_signers = self.directory / "signers"
        self.extra: list[str] = []
        for name in ("server", "alice", "worker", "operator", "stranger"):
            self.make(name)
        for name in ("worker", "stranger"):
            self.make_signer(name)
        self.accept("worker")
        self.trust("worker")
        self.allow(alice=("client", "team-a"), worker=("worker", "*"), operator=("operator", "*"))

    def make(self, name: str) -> None:
        done = self.farm.command("keygen", str(self.directory / name), "--json")
        assert done.returncode == 0, done.stderr
        made: dict[str, Any] = json.loads(done.stdout)
        assert made["secret_file"] == self.secret(name)
        self.public[name] = made["public_key"]

    def make_signer(self, name: str) -> None:
        done = self.farm.command("keygen", "--signing", str(self.directory / name), "--json")
        assert done.returncode == 0, done.stderr
        self.signers[name] = json.loads(done.stdout)["public_key"]

    def accept(self, *names: str) -> None:
        """Has the coordinator accept what these signers sign, and no others."""
        self.accepted = list(names)
        self.write()

    def trust(self, *names: str) -> None:
        """Has clients load what these signers sign, and no others."""
        self._replace(self.clients_signers, [f"signer * {self.signers[name]} {name}" for name in names])

    def secret(self, name: str) -> str:
        return str(self.directory / f"{name}.key_secret")

    def signing(self, name: str = "worker") -> tuple[str, str]:
        return "--signing-key", str(self.directory / f"{name}.sign_secret")

    def allow(self, **rights: tuple[str, str]) -> None:
        """Gives these rights, by the name of their key; those given before stay."""
        self.rights.update(rights)
        self.write()

    def forbid(self, name: str) -> None:
        del self.rights[name]
        self.write()

    def write(self, *lines: str) -> None:
        text = [f"{role} {space} {self.public[name]} {name}" for name, (role, space) in self.rights.items()]
        text += [f"signer * {self.signers[name]} {name}" for name in self.accepted]
        self._replace(self.authorized, [*text, *self.extra, *lines])

    def _replace(self, file: Path, lines: list[str]) -> None:
        # At once, as one does with a file that others read.
        written = file.with_suffix(".new")
        written.write_text("\n".join([*lines, ""]))
        written.replace(file)

    def coordinator(self, *args: str, key: str = "server", port: int = 0) -> tuple[Role, str]:
        keys = ("--server-key", self.secret(key), "--authorized-keys", str(self.authorized))
        return self.farm.coordinator(*keys, *args, port=port)

    def link(self, name: str, server: str = "server") -> tuple[str, ...]:
        """The flags that show the key of `name` to a coordinator with the key of `server`."""
        return "--secret-key", self.secret(name), "--server-public-key", self.public[server]

    def worker(
        self,
        endpoint: str,
        key: str = "worker",
        server: str = "server",
        signer: str = "worker",
        name: str = "w",
        signers: str = "",
    ) -> Role:
        trusted = ("--signers", signers) if signers else ()
        return self.farm.start(
            *("worker", "--coordinators", endpoint, "--python", self.farm.python, "--name", name),
            *("--slots", "1", "--metrics", "127.0.0.1:0", *self.link(key, server), *self.signing(signer)),
            *trusted,
        )

    def client(self, client: Client, endpoint: str, key: str = "alice", server: str = "server") -> None:
        client.set(
            FXFARM_ENDPOINTS=endpoint,
            FXFARM_LOCAL="false",
            FXFARM_SECRET_KEY=self.secret(key),
            FXFARM_SERVER_PUBLIC_KEY=self.public[server],
            FXFARM_SIGNERS=str(self.clients_signers),
        )

    def ask(self, what: str, endpoint: str, key: str = "operator", server: str = "server") -> dict[str, Any]:
        done = self.farm.command(what, "--json", "--endpoint", endpoint, *self.link(key, server))
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def counts(self, endpoint: str, *names: str) -> tuple[int, ...]:
        values = self.ask("stats", endpoint)["values"]
        return tuple(int(values.get(name, 0)) for name in names)

    def forget(self, endpoint: str, key: str) -> None:
        """Has the farm forget an artifact and failures."""
        done = self.farm.command("cache", "rm", key, "--endpoint", endpoint, *self.link("operator"))
        assert done.returncode == 0, done.stderr

    def until_worker(self, endpoint: str, name: str = "", server: str = "server") -> None:
        def idle() -> list[str]:
            workers = self.ask("status", endpoint, server=server)["workers"]
            return [w["name"] for w in workers if w["state"] == "idle" and w["name"].startswith(name)]

        until(f"worker {name} is idle", idle)

    def metric(self, role: Role, line: str, name: str) -> float:
        """A metric with its labels, as the page has it that the role names in the line with `line`."""
        page = self.farm.scrape(role.fact(line, "metrics"))
        (value,) = [row.rsplit(" ", 1)[1] for row in page.splitlines() if row.startswith(name + " ")]
        return float(value)

    def refused(self, role: Role, reason: str) -> int:
        return int(
            self.metric(role, "coordinator ready", f'fxfarm_link_peers_refused_total{{reason="{reason}"}}')
        )
