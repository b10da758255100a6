"""What is installed from registries of packages is what was locked, file by file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(
    p for folder in ("python", "bench", "docker") for p in (ROOT / folder).glob("*requirements*.in")
)
LOCKED = sorted(
    p for folder in ("python", "bench", "docker") for p in (ROOT / folder).glob("*requirements*.txt")
)
# A version, on which Pythons it is meant for, and the digests of its files.
PINNED = re.compile(r"([a-z0-9-]+)==([^\s;]+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def pins(file: Path) -> dict[str, set[str]]:
    """The versions of each package; several where Pythons differ."""
    found: dict[str, set[str]] = {}
    for name, version, _, _ in PINNED.findall(file.read_text()):
        found.setdefault(name, set()).add(version)
    return found


def ids(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", LOCKED, ids=ids)
def test_each_package_has_its_version_and_digests_and_nothing_else_is_said(file: Path) -> None:
    text = file.read_text()
    head, _, rest = text.partition("\n")
    assert head == "# Written by scripts/pin."
    assert PINNED.sub("", rest) == "", "no index, no range, no option"
    assert pins(file)


@pytest.mark.parametrize("file", NAMED, ids=ids)
def test_what_is_wanted_is_locked_as_it_is_wanted(file: Path) -> None:
    locked = pins(file.with_suffix(".txt"))
    if file.parent.name != "bench":
        locked |= pins(ROOT / "python/requirements-torch-cuda.txt")
    for line in file.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, version = re.sub(r"\[.*\]", "", line).partition("==")
        assert version in locked[name] if version else locked[name], f"{line}: run scripts/pin"


def test_one_package_has_one_version_everywhere() -> None:
    """Where they are installed together, pip would refuse another."""
    together = [p for p in LOCKED if p.name not in ("dispatch_requirements.txt", "requirements-pin.txt")]
    known: dict[str, set[str]] = {}
    for file in together:
        for name, versions in pins(file).items():
            assert known.setdefault(name, versions) == versions, f"{file}: {name}"
    (torch,) = known["torch"]
    assert torch in (ROOT / "python/requirements.in").read_text()


def test_torch_for_cpu_has_a_digest_for_each_python_that_is_promised() -> None:
    """Each Python's build is a file of its own; without its digest nothing is installed."""
    promised = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert promised
    lock = (ROOT / "python/requirements-torch-cpu.txt").read_text()
    digests = set(re.findall(r"sha256:[0-9a-f]{64}", lock))
    assert len(digests) >= int(promised[2]) - int(promised[1])


def test_nothing_is_installed_without_digests() -> None:
    """What is built here has no digest to be known before; its `settings` leave out what it depends on."""
    files = ["scripts/setup", "scripts/wheel", "scripts/bench", "bench/dispatch.py", "docker/Dockerfile"]
    for file in files:
        text = (ROOT / file).read_text()
        installs = re.findall(r"pip install\b.*", text)
        assert [i for i in installs if "--no-deps" not in i and '"${settings[@]}"' not in i] == [], file
        assert "install-locked" in text


def test_a_file_with_another_digest_is_not_installed(tmp_path: Path) -> None:
    """The attacker has a registry give a file of his own under the right name and version."""
    (version,) = pins(ROOT / "python/requirements.txt")["msgpack"]
    wheel = tmp_path / f"msgpack-{version}-py3-none-any.whl"
    forge = FORGE.replace("1.2.4", version)
    subprocess.run([sys.executable, "-c", forge, str(wheel)], check=True)
    (line,) = [
        m.group(0)
        for m in PINNED.finditer((ROOT / "python/requirements.txt").read_text())
        if m.group(1) == "msgpack"
    ]
    wanted = tmp_path / "wanted.txt"
    wanted.write_text(line)
    command = [str(ROOT / "scripts/install-locked"), sys.executable, str(wanted)]
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_TARGET": str(tmp_path / "target")}
    env |= {"PATH": "/usr/bin:/bin", "PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE" in done.stderr
    assert not (tmp_path / "target").exists()


FORGE = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as made:
    made.writestr("msgpack/__init__.py", "print('forged')")
    about = "Metadata-Version: 2.1\\nName: msgpack\\nVersion: 1.2.4\\n"
    made.writestr("msgpack-1.2.4.dist-info/METADATA", about)
    how = "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    made.writestr("msgpack-1.2.4.dist-info/WHEEL", how)
    made.writestr("msgpack-1.2.4.dist-info/RECORD", "")
"""
