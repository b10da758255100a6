"""The manifests under docker/kubernetes: Kubernetes takes them, and they agree with the program."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from operator_schemas import OF_OPERATORS
from recipes import (
    DOCKER,
    KUBERNETES,
    PORTS,
    block,
    drains_s,
    environment_of,
    pods_of,
    reference,
    rendered,
    secrets_of,
    workloads_of,
)

OVERLAYS = sorted(p.name for p in (KUBERNETES / "overlays").iterdir())
KUBERNETES_VERSION = "1.32"
renders = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is not installed"
)


def kustomizations() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(KUBERNETES.rglob("kustomization.yaml")):
        yield file.parent, yaml.safe_load(file.read_text())


@functools.cache
def patches() -> set[Path]:
    """Files that are no manifests by themselves."""
    return {
        (folder / patch["path"]).resolve()
        for folder, told in kustomizations()
        for patch in told.get("patches", [])
        if "path" in patch
    }


def documents(file: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(file.read_text()) if d]


@functools.cache
def manifests() -> list[dict[str, Any]]:
    files = {f.resolve() for f in KUBERNETES.rglob("*.yaml") if f.name != "kustomization.yaml"} - patches()
    return [d for f in sorted(files) for d in documents(f)]


def workloads() -> list[dict[str, Any]]:
    return workloads_of(manifests())


def named(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{o['kind']}/{o['metadata']['name']}" for o in objects]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def role(workload: dict[str, Any]) -> str:
    return "coordinator" if "coordinator" in workload["metadata"]["name"] else "worker"


def taken(manifest: dict[str, Any]) -> None:
    """Raises when Kubernetes, or the operator whose kind it is, would not take it."""
    if manifest["kind"] in OF_OPERATORS:
        jsonschema.validate(manifest, OF_OPERATORS[manifest["kind"]])
    else:
        kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("manifest", manifests(), ids=named(manifests()))
def test_manifests_are_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    taken(manifest)


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
    used = patches()
    for folder, told in kustomizations():
        for entry in [*told.get("resources", []), *told.get("components", [])]:
            assert (folder / entry).exists(), f"{folder}: {entry}"
            used.add((folder / entry).resolve())
    assert {f.resolve() for f in KUBERNETES.rglob("*.yaml") if f.name != "kustomization.yaml"} <= used


@renders
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_render_to_what_kubernetes_takes(overlay: str) -> None:
    made = rendered(overlay)
    assert {d["metadata"].get("namespace") for d in made} == {"fxfarm"}
    for manifest in made:
        taken(manifest)
    for workload in workloads_of(made):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "fxfarm", "by which PodMonitor finds it"
        assert re.fullmatch(r"fxfarm-[a-z-]+:\d+\.\d+\.\d+", container(workload)["image"])


def files_of_secrets() -> dict[str, set[str]]:
    """The files of each Secret that the page has one make."""
    script = block("deploy/kubernetes.md", "fxfarm-coordinator-keys").replace("\\\n", " ")
    made = re.findall(r"^kubectl .*create secret generic (\S+) (.*)$", script, re.M)
    return {name: set(re.findall(r"--from-file=(\S+)", rest)) for name, rest in made}


KEYS = {
    "coordinator": {"FXFARM_SERVER_KEY", "FXFARM_AUTHORIZED_KEYS"},
    "worker": {"FXFARM_SECRET_KEY", "FXFARM_SERVER_PUBLIC_KEY", "FXFARM_SIGNING_KEY", "FXFARM_SIGNERS"},
}


@renders
@pytest.mark.parametrize("overlay", ["production", "gpu"])
def test_pods_have_keys_and_every_file_that_they_name_is_in_a_secret(overlay: str) -> None:
    assert "INSECURE" not in yaml.safe_dump_all(rendered(overlay))
    pods = pods_of(rendered(overlay))
    assert pods.keys() >= {"fxfarm-coordinator", "fxfarm-worker"}
    for name, pod in pods.items():
        mounted = {
            f"{place}/{file}"
            for secret, place, mode in secrets_of(pod)
            for file in files_of_secrets()[secret]
            if mode == 0o440
        }
        told = environment_of(pod)
        wanted = KEYS["coordinator" if name == "fxfarm-coordinator" else "worker"]
        assert {told[variable] for variable in wanted} == mounted, "none is missing, and none too many"
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


@renders
def test_only_the_overlay_for_one_developer_says_that_it_is_insecure() -> None:
    for pod in pods_of(rendered("dev")).values():
        assert environment_of(pod)["FXFARM_INSECURE"] == "true"
        assert not any(name.endswith("_KEY") for name in environment_of(pod))
    assert all("FXFARM_INSECURE" not in environment_of(pod) for pod in pods_of(manifests()).values())


@renders
def test_the_operator_has_the_alerts_that_prometheus_has() -> None:
    (rule,) = [m for m in rendered("production") if m["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text())


@renders
@pytest.mark.parametrize("overlay", ["production", "gpu"])
def test_every_deployment_of_workers_is_scaled(overlay: str) -> None:
    made = rendered(overlay)
    scaled = [m["spec"]["scaleTargetRef"]["name"] for m in made if m["kind"] == "ScaledObject"]
    assert sorted(scaled) == sorted(m["metadata"]["name"] for m in made if m["kind"] == "Deployment")


def query(file: str) -> str:
    """The first of a ScaledObject's."""
    (scaled,) = documents(KUBERNETES / file)
    return str(scaled["spec"]["triggers"][0]["metadata"]["query"])


def wanted(file: str, waiting: int, idle: dict[str, int], place: Path) -> str:
    """What Prometheus answers to a ScaledObject's query, by its own unit tests: their words for it."""
    series = {f'fxfarm_jobs_waiting{{namespace="fxfarm", instance="c-{i}"}}': waiting for i in range(2)}
    for pod, count in idle.items():
        labels = f'namespace="fxfarm", instance="{pod}"'
        series[f'fxfarm_worker_engines{{{labels}, state="idle"}}'] = count
        series[f'fxfarm_worker_engines{{{labels}, state="busy"}}'] = 1
    asked = {"expr": query(file), "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": -1}]}
    values = [{"series": name, "values": f"{value}x5"} for name, value in series.items()]
    test = {"interval": "1m", "input_series": values, "promql_expr_test": [asked]}
    cases = place / "scaling_test.yml"
    cases.write_text(yaml.safe_dump({"tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(cases)], capture_output=True, text=True, timeout=60, check=False
    )
    (found,) = re.findall(r"got:(.*?)\n", done.stdout + done.stderr)
    return re.sub(r"\s+", " ", str(found)).strip()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, which runs queries, is not installed")
def test_workers_with_a_gpu_grow_with_what_waits_when_none_of_theirs_is_idle(tmp_path: Path) -> None:
    gpu = "overlays/gpu/scaledobject.yaml"
    busy = {"fxfarm-worker-5d8f-abcde": 1, "fxfarm-worker-gpu-7c9b-fghij": 0}
    assert wanted(gpu, 3, busy, tmp_path).endswith(" 6E+00")
    idle = {"fxfarm-worker-5d8f-abcde": 0, "fxfarm-worker-gpu-7c9b-fghij": 1}
    assert wanted(gpu, 3, idle, tmp_path).endswith(" 0E+00")
    assert wanted("components/keda/scaledobject.yaml", 3, idle, tmp_path).endswith(" 6E+00")
