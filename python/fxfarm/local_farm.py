"""The farm on this host that clients start when they need it, and the client that may."""

from __future__ import annotations

import hashlib
import os
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


def connect(options: config.Config) -> _core.Client:
    """A client as the options have it. Raises what `_core.Client` does."""
    tag = environment_tag(options.python)
    endpoint = _core.default_local_socket(tag) if options.local or not options.endpoints else ""
    return _core.Client(
        endpoints=list(options.endpoints),
        local_endpoint=endpoint,
        local_command=command(endpoint, options),
        space=options.space,
        salt=options.salt,
        metrics=config.metrics_address(options, os.environ),
        key=str(options.secret_key or ""),
        server_public_key=list(options.server_public_key),
        signers=str(options.signers or ""),
        insecure=options.insecure,
    )
