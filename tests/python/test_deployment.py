"""What is under docker/ and in docs/deploy/: it says only what the program knows, and agrees with itself."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
KUBERNETES = DOCKER / "kubernetes"
OVERLAYS = sorted(p.name for p in (KUBERNETES / "overlays").iterdir())
KUBERNETES_VERSION = "1.32"
RECIPES = sorted(
    p
    for folder in (DOCKER, ROOT / "docs/deploy")
    for p in folder.rglob("*")
    if p.is_file() and p.suffix != ".json"
)
PORTS = {"coordinator": {7070, 9090}, "worker": {9091}}


def reference(page: str) -> str:
    return (ROOT / "docs/reference" / page).read_text()


def documents(file: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(file.read_text()) if d]


def manifests() -> list[dict[str, Any]]:
    files = [f for f in KUBERNETES.rglob("*.yaml") if f.name != "kustomization.yaml"]
    return [d for f in sorted(files) for d in documents(f)]


def workloads() -> list[dict[str, Any]]:
    return [m for m in manifests() if m["kind"] in ("StatefulSet", "Deployment")]


def named(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{o['kind']}/{o['metadata']['name']}" for o in objects]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def role(workload: dict[str, Any]) -> str:
    return "coordinator" if "coordinator" in workload["metadata"]["name"] else "worker"


def drain_s() -> int:
    """How long each step of a drain may take, in seconds."""
    found = re.search(r"auto drain_max = (\d+)s;", (ROOT / "runtime/limits.hpp").read_text())
    assert found
    return int(found[1])


def drains_s(of: str) -> int:
    """How long a role may take from SIGTERM to its end: to finish, to give up, to send, to write to Redis."""
    return drain_s() * (4 if of == "coordinator" else 3)


@pytest.mark.parametrize("file", RECIPES, ids=[str(p.relative_to(ROOT)) for p in RECIPES])
def test_every_variable_and_flag_is_an_option_of_the_program(file: Path) -> None:
    options, client = reference("options.md"), reference("client-options.md")
    variables = set(re.findall(r"FXFARM_[A-Z_]+", options + client))
    text = file.read_text()
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
    assert re.search(r"^ARG BASE=\S+:\S*\d{8}\S*$", dockerfile, flags=re.MULTILINE)
    # That Python packages are locked is in tests/security/test_requirements.py.
    assert re.findall(r"\w==\S+", dockerfile) == []


def test_images_run_as_a_user_with_a_health_check() -> None:
    stages = re.split(r"^FROM \S+ AS (\S+)$", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    bodies = dict(zip(stages[1::2], stages[2::2], strict=True))
    for target in ("coordinator", "worker-cpu", "worker-gpu", "client"):
        assert re.findall(r"^USER (\S+)$", bodies[target], flags=re.MULTILINE) == ["10001"], target
        assert "USER root" not in bodies[target]
    for target in ("coordinator", "worker-cpu", "worker-gpu"):
        assert "HEALTHCHECK" in bodies[target]
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


@pytest.mark.parametrize("manifest", manifests(), ids=named(manifests()))
def test_manifests_are_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        # Of an operator: what they are told is in the tests below.
        assert manifest["kind"] in ("ScaledObject", "PodMonitor")


@pytest.mark.parametrize("workload", workloads(), ids=named(workloads()))
def test_workloads_drain_and_are_probed_and_confined(workload: dict[str, Any]) -> None:
    pod = workload["spec"]["template"]["spec"]
    only = container(workload)
    assert pod["terminationGracePeriodSeconds"] > drains_s(role(workload))
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert set(ports.values()) == PORTS[role(workload)]
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert only[probe]["httpGet"]["path"] == path
        assert ports[only[probe]["httpGet"]["port"]] in (9090, 9091)
    environment = {e["name"]: e.get("value") for e in only["env"]}
    assert environment["FXFARM_METRICS"] == f"0.0.0.0:{ports['metrics']}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    claimed = {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
    volumes = {v["name"] for v in pod["volumes"]} | claimed
    assert {m["name"] for m in only["volumeMounts"]} == volumes
    selected = workload["spec"]["selector"]["matchLabels"].items()
    assert selected <= workload["spec"]["template"]["metadata"]["labels"].items()


def selectors(manifest: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The labels by which a manifest picks pods of this farm."""
    if manifest["kind"] == "Service":
        yield manifest["spec"]["selector"]
    if manifest["kind"] == "PodDisruptionBudget":
        yield manifest["spec"]["selector"]["matchLabels"]
    if manifest["kind"] == "NetworkPolicy":
        yield manifest["spec"]["podSelector"]["matchLabels"]


@pytest.mark.parametrize("manifest", manifests(), ids=named(manifests()))
def test_manifests_name_pods_ports_and_metrics_that_there_are(manifest: dict[str, Any]) -> None:
    pods = [w["spec"]["template"]["metadata"]["labels"] for w in workloads()]
    for wanted in selectors(manifest):
        assert any(wanted.items() <= labels.items() for labels in pods), wanted
    ports = {port["name"] for w in workloads() for port in container(w)["ports"]}
    spec = manifest["spec"]
    for rule in spec.get("ingress", []) if manifest["kind"] == "NetworkPolicy" else []:
        assert {port["port"] for port in rule["ports"]} <= ports
    if manifest["kind"] == "PodMonitor":
        assert {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]} <= ports
    if "scaleTargetRef" in spec:
        assert spec["scaleTargetRef"]["name"] in [w["metadata"]["name"] for w in workloads()]
        known = set(re.findall(r"^\| `(fxfarm_\w+)`", reference("metrics.md"), flags=re.MULTILINE))
        asked = set(re.findall(r"\bfxfarm_\w+", yaml.safe_dump(spec)))
        assert asked
        assert asked <= known


def test_workers_find_coordinators_by_the_name_of_their_service() -> None:
    (service,) = [m for m in manifests() if m["kind"] == "Service"]
    assert service["spec"]["clusterIP"] == "None", "each coordinator has an address of its own"
    (port,) = service["spec"]["ports"]
    found = f"dns+tcp://{service['metadata']['name']}:{port['port']}"
    for workload in workloads():
        if role(workload) == "worker":
            environment = {e["name"]: e.get("value") for e in container(workload)["env"]}
            assert environment["FXFARM_COORDINATORS"] == found
        else:
            assert workload["spec"]["serviceName"] == service["metadata"]["name"]


def test_kustomizations_name_files_that_there_are() -> None:
    used = set()
    for file in KUBERNETES.rglob("kustomization.yaml"):
        told = yaml.safe_load(file.read_text())
        for entry in [*told.get("resources", []), *told.get("components", [])]:
            assert (file.parent / entry).exists(), f"{file}: {entry}"
            used.add((file.parent / entry).resolve())
    assert {f.resolve() for f in KUBERNETES.rglob("*.yaml") if f.name != "kustomization.yaml"} <= used


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is not installed"
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_render_to_what_kubernetes_takes(overlay: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rendered = [d for d in yaml.safe_load_all(done.stdout) if d]
    assert {d["metadata"].get("namespace") for d in rendered} == {"fxfarm"}
    for manifest in rendered:
        if manifest["kind"] not in ("ScaledObject", "PodMonitor"):
            kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
    for workload in rendered:
        if workload["kind"] in ("StatefulSet", "Deployment"):
            labels = workload["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "fxfarm", "by which PodMonitor finds it"
            assert re.fullmatch(r"fxfarm-[a-z-]+:\d+\.\d+\.\d+", container(workload)["image"])
