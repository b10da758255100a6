"""How large what is installed is, and what it is installed from: for bench/footprint.py.

An image's size is that of all its layers, not compressed; images share layers, so that together they take
less than the sum.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import harness

MIB = 2**20
IMAGES = "localhost/fxfarm-"
"""How the names of scripts/images begin."""


def sizes(dist: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of what is installed and what it is installed from, and what is left out and why."""
    import fxfarm

    package = Path(fxfarm.__file__).parent
    files = {"program fxfarm": Path(harness.fxfarm_program())}
    files.update({f"library {found.name.partition('.')[0]}": found for found in package.glob("_core*.so")})
    wheels = sorted(dist.glob("*.whl"), key=lambda file: file.stat().st_mtime)
    left_out = []
    if wheels:
        files["wheel"] = wheels[-1]
    else:
        left_out.append(f"the wheel: none is in {dist}")
    rows = [{"part": part, "state": "size", "mib": file.stat().st_size / MIB} for part, file in files.items()]
    there = images(listed_images())
    rows += [{"part": f"image {name}", "state": "size", "mib": mib} for name, mib in there.items()]
    if not there:
        left_out.append("images: buildah has none of fxfarm's, see scripts/images")
    return rows, left_out


def listed_images() -> str:
    """What buildah says of the images in the store of scripts/images; without it, that there are none."""
    if shutil.which("buildah") is None:
        return "[]"
    # As scripts/images has it.
    driver = os.environ.get("STORAGE_DRIVER", "vfs")
    command = ["buildah", "--storage-driver", driver, "images", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else "[]"


def images(listed: str) -> dict[str, float]:
    """MiB of each of fxfarm's images, the base of the others included, by name; `listed` is from buildah."""
    found = {}
    for image in json.loads(listed or "[]") or []:
        for name in image.get("names") or []:
            if name.startswith(IMAGES):
                found[name.removeprefix("localhost/").removesuffix(":latest")] = bytes_of(image["size"]) / MIB
    return dict(sorted(found.items()))


def bytes_of(size: str) -> float:
    """Of what buildah says, such as "1.2 GB"."""
    number, unit = size.split()
    return float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit.upper()]
