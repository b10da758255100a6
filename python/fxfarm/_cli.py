"""Console script `fxfarm`: becomes the C++ program that the package carries."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "bin" / "fxfarm"


def main() -> None:
    """Replaces this process; its engines run under this interpreter unless FXFARM_PYTHON says another."""
    os.environ.setdefault("FXFARM_PYTHON", sys.executable)
    try:
        os.execv(PROGRAM, [str(PROGRAM), *sys.argv[1:]])
    except OSError as e:
        sys.exit(f"fxfarm: cannot run {PROGRAM}: {e.strerror}")
