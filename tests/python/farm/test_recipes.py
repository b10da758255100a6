"""The recipes for several hosts, with the keys that their pages have one make: what is started as they say
serves who has a key.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from boxes import USER, WITH_TESTS_PYTHON, Box, Site
from cluster import DEADLINE_S, Farm, until
from echo_farm import Asking, echo_farm_in
from hosts import Hosts, hosts_of, needs_hosts
from programs import Role
from recipes import (
    DOCKER,
    Keys,
    block,
    compose_service,
    health_check,
    pods_of,
    rendered,
    variables_of,
)

pytestmark = needs_hosts
HERE, THERE, ELSEWHERE = 1, 2, 3


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with hosts_of(ELSEWHERE) as made:
        yield made


@pytest.fixture
def echo_farm(hosts: Hosts, place: Path) -> Iterator[Farm]:
    """It ends while its network is still there."""
    with echo_farm_in(place) as farm:
        yield farm


@pytest.fixture
def site(hosts: Hosts, echo_farm: Farm) -> Site:
    names = {"fxfarm-coordinator": HERE, "fxfarm.example": HERE, "node-1": HERE}
    # Nobody answers at the name of Redis.
    compose = {"coordinator-0": HERE, "coordinator-1": THERE, "redis": ELSEWHERE}
    return Site(echo_farm, hosts, names | compose)


@pytest.fixture
def keys(site: Site) -> Keys:
    return Keys(site.farm.directory)


def has_keys(coordinator: Role) -> bool:
    line = coordinator.wait_line("coordinator ready")
    return json.loads(line)["keys"] == "on" if line.startswith("{") else line.endswith("keys=on")


def serves(site: Site, model: Box) -> None:
    """That a process there gets what it asks the farm for."""
    told = site.environment(model)
    enter = site.command(model, WITH_TESTS_PYTHON)
    client = Asking(site.farm, told["FXFARM_ENDPOINTS"].split(","), 0, 2, queue.Queue(), enter, env=told)
    until("the client has what it asked for", lambda: client.settled)
    assert client.leave() == 0


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is not installed"
)
def test_pods_of_the_overlay_with_keys_serve_a_pod_that_runs_models(site: Site, keys: Keys) -> None:
    pods, secrets = pods_of(rendered("gpu")), keys.kubernetes_secrets()
    box = site.pod(pods["fxfarm-coordinator"], secrets)
    coordinator = site.coordinator(box)
    assert has_keys(coordinator)
    checked = [*site.command(box), *health_check("coordinator")]
    subprocess.run(checked, env=site.environment(box), timeout=DEADLINE_S, check=True)
    worker = site.worker(site.pod(pods["fxfarm-worker-gpu"], secrets))
    model = yaml.safe_load(block("deploy/kubernetes.md", "secretName: fxfarm-client-keys", "yaml"))
    serves(site, site.pod(model["spec"], secrets))
    assert "insecure" not in coordinator.log + worker.log


def test_compose_with_its_file_of_keys_serves_who_has_one(site: Site, keys: Keys) -> None:
    keys.stand_in("sudo", '#!/bin/sh\nexec "$@"\n')
    keys.run(block("deploy/containers.md", "chown"))
    password = keys.directory / "redis_password"
    password.write_text("none is there to ask for it")

    def box(name: str, host: int) -> Box:
        service = compose_service(name, "compose.yml", "compose.keys.yml")
        files = [keys.directory / secret for secret in service["secrets"]]
        metrics = "0.0.0.0:9090" if name.startswith("coordinator") else "0.0.0.0:9091"
        image = {"FXFARM_METRICS": metrics, "FXFARM_LISTEN": "tcp://0.0.0.0:7070"}
        place = {"FXFARM_CACHE_DIR": "/var/lib/fxfarm/artifacts"}
        told = {**image, **place, **service["environment"]}
        return Box(told, {"/run/secrets": site.linked(name, files)}, ["/var/lib/fxfarm/artifacts"], host)

    password.chmod(0o644)
    started = [site.coordinator(box(f"coordinator-{host - 1}", host)) for host in (HERE, THERE)]
    assert all(has_keys(coordinator) for coordinator in started)
    started.append(site.worker(box("worker", ELSEWHERE)))
    script = block("deploy/containers.md", "compose.keys.yml up")
    told = variables_of(script.replace("docker/secrets", str(keys.directory)))
    told["FXFARM_ENDPOINTS"] = "tcp://coordinator-0:7070,tcp://coordinator-1:7070"
    site.give(keys.directory / "client.key_secret")
    serves(site, Box(told))
    assert not any("insecure" in role.log for role in started)


def test_services_with_their_files_of_variables_serve_who_has_a_key(site: Site, keys: Keys) -> None:
    for_role: dict[str, Path] = {}
    for role, part in (("coordinator", "server.key_secret"), ("worker", "worker.key_secret")):
        for_role[role] = site.farm.directory / role
        script = block("deploy/systemd.md", part).replace("/etc/fxfarm/keys", str(for_role[role]))
        keys.run(script.replace("-g fxfarm", f"-g {USER}"))

    def box(role: str, host: int) -> Box:
        told = variables_of((DOCKER / f"systemd/{role}.env").read_text())
        state = ["/var/lib/fxfarm/artifacts", "/var/lib/fxfarm/engines"]
        return Box(told, {"/etc/fxfarm/keys": for_role[role]}, state, host)

    coordinator = site.coordinator(box("coordinator", HERE))
    assert has_keys(coordinator)
    worker = site.worker(box("worker", THERE))
    site.give(keys.directory)
    told = variables_of(block("deploy/systemd.md", "client.key_secret"), HOME=str(keys.directory))
    serves(site, Box(told, host=ELSEWHERE))
    assert "insecure" not in coordinator.log + worker.log


STATUS_OF = """
import sys, urllib.error, urllib.request
url, file = sys.argv[1:]
token = {"Authorization": "Bearer " + open(file).read().strip()} if file else {}
try:
    print(urllib.request.urlopen(urllib.request.Request(url, headers=token), timeout=60).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
"""


def test_the_services_page_is_for_who_has_the_token(site: Site, keys: Keys) -> None:
    etc = site.farm.directory / "etc"
    etc.mkdir()
    variables = etc / "coordinator.env"
    shutil.copy(DOCKER / "systemd/coordinator.env", variables)
    keys.stand_in("systemctl", "#!/bin/sh\n")
    for part in ("server.key_secret", "page_token"):
        script = block("deploy/systemd.md", part).replace("-g fxfarm", f"-g {USER}")
        keys.run(script.replace("/etc/fxfarm", str(etc)))
    told = variables_of(variables.read_text().replace(str(etc), "/etc/fxfarm"))
    site.coordinator(Box(told, {"/etc/fxfarm/keys": etc / "keys"}, ["/var/lib/fxfarm/artifacts"], HERE))

    def asked(path: str, token: Path | str) -> int:
        enter = site.command(Box({}, host=ELSEWHERE), WITH_TESTS_PYTHON)
        told = [f"http://fxfarm.example:9090{path}", str(token)]
        done = subprocess.run(
            [*enter, sys.executable, "-c", STATUS_OF, *told],
            env=site.farm.env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        return int(done.stdout)

    token = keys.directory / "page_token"
    site.give(token)
    assert asked("/readyz", "") == 200
    assert asked("/api/status", "") == 401
    assert asked("/api/status", token) == 200


def test_batch_files_take_their_keys_from_the_home_directory(site: Site, keys: Keys) -> None:
    keys.stand_in("srun", '#!/bin/sh\nexec "$@"\n')
    keys.stand_in("hostname", "#!/bin/sh\necho node-1\n")
    home = site.farm.directory
    site.give(keys.directory.rename(home / "fxfarm-keys"))
    (home / "scratch").mkdir()
    site.give(home / "scratch")
    told = {"HOME": str(home), "TMPDIR": str(home / "scratch"), "SLURM_CPUS_PER_TASK": "2"}
    told["PATH"] = f"{keys.programs}:/usr/bin:/bin"
    bash, slurm = Path("/bin/bash"), DOCKER / "slurm"
    coordinator = site.coordinator(Box(told), bash, str(slurm / "coordinator.sbatch"))
    assert has_keys(coordinator)
    worker = site.worker(Box(told, host=THERE), bash, str(slurm / "workers.sbatch"))
    script = block("deploy/slurm.md", "client.key_secret")
    serves(site, Box(variables_of(script, HOME=str(home)), host=ELSEWHERE))
    assert "insecure" not in coordinator.log + worker.log
