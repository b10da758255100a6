"""A wheel with its libraries, in an environment that has nothing else of what the project is built with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from programs import Role, until

ROOT = Path(__file__).parents[2]
BUILD_S = 900
ASK_S = 60
COMPILE_S = 600
OF_EVERY_LINUX = {
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "linux-vdso.so.1",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of what scripts/setup has built."""
    return Path("/tmp/dep-wheel/out/fxfarm-0.1.0-cp311-cp311-manylinux_2_35_x86_64.whl")


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and what it asks pip for."""
    place = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(place, with_pip=True, symlinks=True)
    command = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(command, timeout=BUILD_S, check=True)
    return place


def environment(bare: Path, place: Path) -> dict[str, str]:
    """Nothing of this process's own."""
    return {"PATH": f"{bare}/bin:/usr/bin:/bin", "HOME": str(place), "XDG_RUNTIME_DIR": str(place)}


def libraries(file: Path) -> Iterator[tuple[str, Path | None]]:
    """What it is linked with, by name, and where that is found."""
    shown = subprocess.run(["ldd", str(file)], capture_output=True, text=True, timeout=ASK_S, check=True)
    for line in shown.stdout.splitlines():
        name, _, found = line.strip().partition(" => ")
        path = found.split(" (")[0]
        yield Path(name.split(" (")[0]).name, Path(path) if path.startswith("/") else None


def test_what_a_wheel_needs_is_in_it_or_on_every_linux(wheel: Path, bare: Path) -> None:
    assert "-manylinux_2_" in wheel.name
    assert wheel.name.endswith("_x86_64.whl")
    (package,) = bare.glob("lib/python*/site-packages/fxfarm")
    for file in (package / "bin/fxfarm", *package.glob("_core*.so")):
        needed = dict(libraries(file))
        own = {name for name in needed if name not in OF_EVERY_LINUX}
        assert own
        assert {
            name for name in own if bare.resolve() not in (needed[name] or Path()).resolve().parents
        } == set()


def test_a_bill_has_each_library_that_travels_and_what_was_compiled_in(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (place,) = [n for n in opened.namelist() if n.endswith(".dist-info/sboms/fxfarm.cdx.json")]
        text = opened.read(place).decode()
        libraries = [n for n in opened.namelist() if n.startswith("fxfarm.libs/") and not n.endswith("/")]
        digests = {name: hashlib.sha256(opened.read(name)).hexdigest() for name in libraries}
        recorded = opened.read(place.partition("/")[0] + "/RECORD").decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    listed = {
        part["name"]: part["hashes"][0]["content"]
        for package in bill["components"]
        for part in package.get("components", [])
    }
    assert listed == digests != {}
    packages = {package["name"]: package for package in bill["components"]}
    assert all(
        p["version"] and p["purl"].startswith(("pkg:deb/debian/", "pkg:pypi/")) for p in packages.values()
    )
    assert {"libjemalloc-dev", "libmsgpack-cxx-dev", "pybind11"} <= set(packages)
    assert bill["metadata"]["component"]["name"] == "fxfarm"
    assert place in recorded, "a wheel says of each file what it is"


def test_a_bill_of_an_image_has_the_packages_of_its_own_root(tmp_path: Path) -> None:
    """As the images' recipe asks for it, of a root that is not this system's."""
    root, made = tmp_path / "image", tmp_path / "sbom.json"
    book, packages = root / "var/lib/dpkg", root / "opt/venv/lib/python3.11/site-packages"
    for folder in (
        book / "info",
        book / "updates",
        root / "usr/share/doc/there",
        packages / "some-2.dist-info",
    ):
        folder.mkdir(parents=True)
    entry = "Package: {}\nStatus: {}\nArchitecture: amd64\nVersion: {}\nMaintainer: x\nDescription: x\n\n"
    book.joinpath("status").write_text(
        entry.format("there", "install ok installed", "1.2-3")
        + entry.format("gone", "deinstall ok config-files", "9")
    )
    (root / "usr/share/doc/there/copyright").write_text("Format: 1.0\n\nFiles: *\nLicense: BSD-3-clause\n")
    (packages / "some-2.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: some\nVersion: 2\n")
    command = [sys.executable, str(ROOT / "scripts/sbom"), "image", "fxfarm-test", str(root), str(made)]
    subprocess.run(command, check=True, timeout=ASK_S)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.read_text()) is None
    bill = json.loads(made.read_text())
    found = {c["purl"]: c.get("licenses", []) for c in bill["components"]}
    assert found == {
        "pkg:deb/debian/there@1.2-3?arch=amd64": [{"license": {"name": "BSD-3-clause"}}],
        "pkg:pypi/some@2": [],
    }


def test_a_farm_runs_from_a_wheel_alone(bare: Path, tmp_path: Path) -> None:
    env = environment(bare, tmp_path)
    listen = f"ipc://{tmp_path}/farm.sock"
    coordinator = Role(
        ["coordinator", "--listen", listen, "--metrics", "off"], env, program=bare / "bin/fxfarm"
    )
    try:
        coordinator.wait_line("coordinator ready")
        status = said(env, bare / "bin/fxfarm", "status", "--json", "--endpoint", listen)
        build = said(env, bare / "bin/python", "-c", "from fxfarm import _core; print(_core.build())")
    finally:
        ended = coordinator.stop()
    assert json.loads(status)["version"] == build.strip()
    assert ended == 0, coordinator.log


MODEL = """
import json
import sys

import torch

import fxfarm

module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU())
model = torch.compile(module, backend="fxfarm")
x = torch.ones(2, 8)
with torch.no_grad():
    first = model(x)
    reached = fxfarm.wait("default", timeout=float(sys.argv[1]))
    then = model(x)
(graph,) = fxfarm.graphs()
torch.testing.assert_close(then, first)
(stage,) = graph.stages
print(json.dumps([fxfarm.__file__, graph.farm, reached, graph.runs, stage.error]))
"""


@pytest.fixture
def torch_for(bare: Path) -> Iterator[Path]:
    """That environment with the torch of the tests beside it, after what it has of its own."""
    (packages,) = bare.glob("lib/python*/site-packages")
    beside = packages / "tests_torch.pth"
    beside.write_text(sysconfig.get_path("purelib") + "\n")
    yield bare
    beside.unlink()


def test_a_model_is_served_by_a_farm_that_the_wheel_starts_on_this_host(torch_for: Path) -> None:
    """Nothing is configured and nothing else is installed but torch."""
    with tempfile.TemporaryDirectory(prefix="ff-") as made:
        place = Path(made)
        env = environment(torch_for, place)
        env["FXFARM_IDLE_TIMEOUT"] = "1s"
        command = [str(torch_for / "bin/python"), "-c", MODEL, str(COMPILE_S)]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=COMPILE_S + ASK_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        file, farm, reached, runs, error = json.loads(done.stdout.splitlines()[-1])
        assert Path(file).is_relative_to(torch_for)
        assert farm.startswith(f"ipc://{place}/")
        assert (reached, error, runs["default"]) == (True, "", 1), done.stderr
        socket = Path(farm.removeprefix("ipc://"))
        until("the farm leaves when nobody is there", lambda: not socket.exists(), COMPILE_S)


def said(env: dict[str, str], *command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=ASK_S, check=True)
    return done.stdout


def test_without_torch_the_backend_says_what_is_missing(bare: Path, tmp_path: Path) -> None:
    command = [str(bare / "bin/python"), "-c", "import fxfarm.backend"]
    done = subprocess.run(
        command, env=environment(bare, tmp_path), capture_output=True, text=True, timeout=ASK_S, check=False
    )
    assert done.returncode != 0
    assert "torch is not installed: pip install" in done.stderr.splitlines()[-1]
