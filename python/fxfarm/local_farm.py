"""The farm on this host that clients start when they need it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from fxfarm import _core, config


def environment_tag(python: str) -> str:
    """Names this Python environment: clients of one environment share a local farm, others do not."""
    text = "\0".join((_core.build(), sys.prefix, python))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def command(endpoint: str, options: config.Config) -> list[str]:
    """The command that starts this host's farm and returns; none when there may be no such farm."""
    if not options.local:
        return []
    program = Path(__file__).parent / "bin" / "fxfarm"
    socket = endpoint.removeprefix("ipc://")
    found = [str(program), "local", "--detach", "--socket", socket, "--python", options.python]
    return [*found, "--salt", options.salt] if options.salt else found
