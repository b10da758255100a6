"""What is under docker/ and in docs/deploy/: it says only what the program knows, and agrees with itself."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from recipes import (
    DOCKER,
    KUBERNETES,
    PORTS,
    ROOT,
    dockerfile_stages,
    drains_s,
    health_check,
    reference,
)

RECIPES = sorted(
    p
    for folder in (DOCKER, ROOT / "docs/deploy")
    for p in folder.rglob("*")
    if p.is_file() and p.suffix != ".json"
)


@pytest.mark.parametrize("file", RECIPES, ids=[str(p.relative_to(ROOT)) for p in RECIPES])
def test_every_variable_and_flag_is_an_option_of_the_program(file: Path) -> None:
    options, client = reference("options.md"), reference("client-options.md")
    variables = set(re.findall(r"FXFARM_[A-Z_]+", options + client))
    text = file.read_text()
    # What a Dockerfile is told when it is built is no option of the program.
    variables |= set(re.findall(r"^ARG (FXFARM_\w+)", text, flags=re.MULTILINE))
    assert set(re.findall(r"\bFXFARM_[A-Z_]+[A-Z]", text)) - variables == set()
    flags = set(re.findall(r"`(--[a-z-]+)`", options))
    commands = re.findall(r"\bfxfarm (?:coordinator|worker|local|status)\b((?:[^\n`|]|\\\n)*)", text)
    assert set(re.findall(r"--[a-z-]+", " ".join(commands))) - flags == set()


def test_versions_are_pinned_and_the_projects_own_is_the_same_everywhere() -> None:
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert found
    version = found[1]
    compose = yaml.safe_load((DOCKER / "compose.yml").read_text())
    images = [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":[^:/]*\d", image) and "latest" not in image for image in images)
    assert {i.rpartition(":")[2] for i in images if i.startswith("fxfarm-")} == {version}
    tags = [
        image["newTag"]
        for file in KUBERNETES.rglob("kustomization.yaml")
        for image in yaml.safe_load(file.read_text()).get("images", [])
    ]
    assert set(tags) == {version}
    dockerfile = (DOCKER / "Dockerfile").read_text()
    labels = re.findall(r"^LABEL org.opencontainers.image.version=(\S+)", dockerfile, flags=re.MULTILINE)
    assert labels == [version] * 4
    assert re.search(r"^ARG BASE=\S+:\S*\d{8}\S*$", dockerfile, flags=re.MULTILINE)
    # That Python packages are locked is in tests/security/test_requirements.py.
    assert re.findall(r"\w==\S+", dockerfile) == []


def build_version(source: Path, place: Path, **environment: str) -> str:
    """What CMake makes of a source directory's version, or how it refuses to."""
    defined = {"PROJECT_VERSION": "0.1.0", "PROJECT_SOURCE_DIR": source, "PROJECT_BINARY_DIR": place}
    command = ["cmake", *(f"-D{k}={v}" for k, v in defined.items()), "-P", str(ROOT / "cmake/version.cmake")]
    env = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        return done.stderr
    header = (place / "generated/fxfarm_version.hpp").read_text()
    (found,) = re.findall(r'build_text = "(.*)"', header)
    return str(found)


def test_a_version_has_the_commit_of_its_checkout_or_what_an_image_is_told(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert build_version(tmp_path, tmp_path) == "0.1.0"
    assert build_version(tmp_path, tmp_path, FXFARM_COMMIT=commit) == "0.1.0+g0123456789ab"
    assert "no commit" in build_version(tmp_path, tmp_path, FXFARM_COMMIT="main")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True, timeout=60)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=60)
    own = f"0.1.0+g{head.stdout[:12]}"
    assert build_version(tmp_path, tmp_path, FXFARM_COMMIT=commit) == own, "its history knows better"


def test_images_are_built_with_the_commit_and_labelled_with_it() -> None:
    stages = dockerfile_stages()
    told = r"^ARG FXFARM_COMMIT\n"
    assert re.search(told + r"RUN scripts/wheel ", stages["build"], flags=re.MULTILINE)
    for target in ("coordinator", "worker-cpu", "worker-gpu", "client"):
        label = r"LABEL .*org.opencontainers.image.revision=\$FXFARM_COMMIT$"
        assert re.search(told + label, stages[target], flags=re.MULTILINE), target


def test_images_run_as_a_user_with_a_health_check() -> None:
    bodies = dockerfile_stages()
    for target in ("coordinator", "worker-cpu", "worker-gpu", "client"):
        assert re.findall(r"^USER (\S+)$", bodies[target], flags=re.MULTILINE) == ["10001"], target
        assert "USER root" not in bodies[target]
    for target in ("coordinator", "worker-cpu", "worker-gpu"):
        assert health_check(target)[0] == "bash", "Debian's images have one, of whatever else is in them"
        exposed = re.findall(r"^EXPOSE (.*)$", bodies[target], flags=re.MULTILINE)
        assert {int(p) for line in exposed for p in line.split()} == PORTS[target.partition("-")[0]]
    compose = yaml.safe_load((DOCKER / "compose.yml").read_text())
    built = [s["build"] for s in compose["services"].values() if "build" in s]
    assert {b["target"] for b in built} <= set(bodies)
    assert {(DOCKER / b["context"] / b["dockerfile"]).resolve() for b in built} == {DOCKER / "Dockerfile"}


def test_torch_lies_below_what_changes_with_fxfarm() -> None:
    """Else each version of fxfarm would have images' users pull gigabytes again."""
    stages = re.split(r"^FROM (\S+) AS (\S+)$", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    below = {
        name: (base, body) for base, name, body in zip(stages[1::3], stages[2::3], stages[3::3], strict=True)
    }
    for stage in ("python-cpu", "python-gpu"):
        while stage in below:
            base, body = below[stage]
            assert "--from=" not in body, stage
            stage = base


def test_compose_agrees_with_itself() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yml").read_text())
    services = compose["services"]
    coordinators = [f"tcp://{name}:7070" for name in services if name.startswith("coordinator-")]
    assert services["worker"]["environment"]["FXFARM_COORDINATORS"] == ",".join(coordinators)
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services)
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists(), mount
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "links are not encrypted"
            if "build" in service:
                assert int(port.rpartition(":")[2]) in PORTS[name.partition("-")[0]]
        if "build" in service:
            grace = service["stop_grace_period"]
            assert int(grace.removesuffix("s")) > drains_s(name.partition("-")[0])
    scraped = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    by_name = {job["job_name"]: job for job in scraped}
    (fixed,) = by_name["fxfarm-coordinator"]["static_configs"]
    assert fixed["targets"] == [c.removeprefix("tcp://").replace(":7070", ":9090") for c in coordinators]
    (looked_up,) = by_name["fxfarm-worker"]["dns_sd_configs"]
    assert (looked_up["names"], {looked_up["port"]}) == (["worker"], PORTS["worker"])


def test_the_file_that_adds_keys_to_compose_changes_what_there_is() -> None:
    compose, added = (
        yaml.safe_load((DOCKER / name).read_text()) for name in ("compose.yml", "compose.keys.yml")
    )
    built = {name for name, service in compose["services"].items() if "build" in service}
    assert added["services"].keys() == built, "every role has keys"
    for service in added["services"].values():
        told = dict(service["environment"])
        assert told.pop("FXFARM_INSECURE") == "false"
        assert {Path(value).name for value in told.values()} == set(service["secrets"])
        assert {str(Path(value).parent) for value in told.values()} == {"/run/secrets"}
        assert set(service["secrets"]) <= added["secrets"].keys()
    assert all(secret["file"] == f"./secrets/{name}" for name, secret in added["secrets"].items())


@pytest.mark.parametrize("of", ["coordinator", "worker"])
def test_units_start_a_role_and_let_it_drain(of: str) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DOCKER / f"systemd/fxfarm-{of}.service")
    service = unit["Service"]
    assert service["ExecStart"].split()[1:] == [of]
    assert int(service["TimeoutStopSec"]) > drains_s(of)
    assert Path(service["EnvironmentFile"]).name == f"{of}.env"
    lines = (DOCKER / f"systemd/{of}.env").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert int(told["FXFARM_METRICS"].rpartition(":")[2]) in PORTS[of]


@pytest.mark.parametrize("file", sorted((DOCKER / "slurm").iterdir()), ids=lambda file: file.name)
def test_batch_files_are_what_the_shell_reads(file: Path) -> None:
    done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^exec .*\bfxfarm (coordinator|worker)$", file.read_text(), flags=re.MULTILINE)
