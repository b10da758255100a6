"""What recipes under docker/ and pages in docs/deploy/ say, for tests that do as they say."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from programs import PROGRAM

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
KUBERNETES = DOCKER / "kubernetes"
RUN_S = 120
PORTS = {"coordinator": {7070, 9090}, "worker": {9091}}


def reference(page: str) -> str:
    return (ROOT / "docs/reference" / page).read_text()


def drain_s() -> int:
    """How long each step of a drain may take, in seconds."""
    found = re.search(r"auto drain_max = (\d+)s;", (ROOT / "runtime/limits.hpp").read_text())
    assert found
    return int(found[1])


def drains_s(of: str) -> int:
    """How long a role may take from SIGTERM to its end: to finish, to give up, to send, to write to Redis."""
    return drain_s() * (4 if of == "coordinator" else 3)


def blocks(page: str, language: str) -> list[str]:
    """The code of that language on a page, as it stands there."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S)
    assert found, f"{page} has no {language}"
    return found


def block(page: str, part: str, language: str = "bash") -> str:
    """The one block with `part` in it."""
    (only,) = [code for code in blocks(page, language) if part in code]
    return only


def rendered(overlay: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    return [d for d in yaml.safe_load_all(done.stdout) if d]


def workloads_of(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m for m in manifests if m["kind"] in ("StatefulSet", "Deployment")]


def pods_of(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod's own part of each workload, by the workload's name."""
    return {w["metadata"]["name"]: w["spec"]["template"]["spec"] for w in workloads_of(manifests)}


def environment_of(pod: dict[str, Any]) -> dict[str, str]:
    """What the manifest itself says, and a name for what a node would fill in."""
    (only,) = pod["containers"]
    return {e["name"]: e.get("value", "pod-0") for e in only["env"]}


def secrets_of(pod: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The name, the directory and the files' mode of each Secret that the pod needs."""
    (only,) = pod["containers"]
    places = {mount["name"]: mount["mountPath"] for mount in only["volumeMounts"]}
    for volume in pod["volumes"]:
        if "secret" in volume and not volume["secret"].get("optional"):
            yield volume["secret"]["secretName"], places[volume["name"]], volume["secret"]["defaultMode"]


def compose_service(name: str, *files: str) -> dict[str, Any]:
    """A service of compose files that are used together: variables of later ones win, secrets are added."""
    told = [yaml.safe_load((DOCKER / file).read_text())["services"][name] for file in files]
    return {
        "environment": {k: v for service in told for k, v in service["environment"].items()},
        "secrets": [secret for service in told for secret in service.get("secrets", [])],
    }


def variables_of(script: str, **known: str) -> dict[str, str]:
    """The variables of the farm that a shell has when it has read this, without what runs other programs."""
    other = re.compile(r"(docker |srun |\S+=\S+ python )")
    lines = [line for line in script.splitlines() if not other.match(line)]
    shell = ["bash", "-euac", "\n".join([*lines, "env -0"])]
    environment = {"PATH": os.environ["PATH"], **known}
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=RUN_S, check=True)
    told = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    return {name: value for name, value in told.items() if name.startswith("FXFARM_")}


def dockerfile_stages() -> dict[str, str]:
    """The instructions of each stage by its name."""
    text = (DOCKER / "Dockerfile").read_text()
    stages = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.MULTILINE)
    return dict(zip(stages[1::2], stages[2::2], strict=True))


def health_check(target: str) -> list[str]:
    """The command that says whether a container of that image is healthy."""
    (check,) = re.findall(r"^HEALTHCHECK (?:[^\n]*\\\n)* *CMD (\[.*\])$", dockerfile_stages()[target], re.M)
    command: list[str] = json.loads(check)
    return command


class Keys:
    """The directory that docs/deploy/keys.md has one make."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "keys"
        self.directory.mkdir()
        self.programs = directory / "programs"
        self.programs.mkdir()
        (self.programs / "fxfarm").symlink_to(PROGRAM)
        self.run(block("deploy/keys.md", "fxfarm keygen"))

    def run(self, script: str, **variables: str) -> None:
        """Has the shell do it there."""
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            **variables,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def stand_in(self, program: str, script: str) -> None:
        """Puts a script in the place of a program that the recipes call."""
        file = self.programs / program
        file.write_text(script)
        file.chmod(0o755)

    def kubernetes_secrets(self) -> dict[str, dict[str, bytes]]:
        """What the page has kubectl create, without a cluster: files by the name of their Secret."""
        made = self.directory.parent / "secrets"
        made.mkdir()
        self.stand_in(
            "kubectl",
            "#!/bin/sh\n"
            'PATH=${PATH#*:} exec kubectl "$@" --dry-run=client --output json '
            f'>"$(mktemp -p "{made}")"\n',
        )
        self.run(block("deploy/kubernetes.md", "fxfarm-coordinator-keys"))
        secrets = [json.loads(file.read_text()) for file in made.iterdir()]
        return {
            secret["metadata"]["name"]: {
                name: base64.b64decode(text) for name, text in secret["data"].items()
            }
            for secret in secrets
        }
