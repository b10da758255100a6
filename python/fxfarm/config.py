"""What a client can be told, from four places: `configure()`, then `FXFARM_*`, then a TOML file, then the
default."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fxfarm import stages
from fxfarm._torch import platform

LOG_LEVELS = ("debug", "info", "warning", "error", "off")
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_BUILT_IN = (stages.EAGER, *stages.NAMED)
LOOPBACK = "127.0.0.1"
_PORT_MAX = 65535
_DIGITS_MAX = 19
"""Of a number in a text; Python itself refuses to read one of some thousands."""
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class ConfigError(ValueError):
    """An option is unknown or has a value that is not allowed; says its name, what is allowed and where it
    stood."""


class _NotAllowedError(Exception):
    """A value is not allowed; the text says what is."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _NotAllowedError("a text")
    return value


def _filled_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _NotAllowedError("a text that is not empty")
    return value


def _texts(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
        raise _NotAllowedError("a list of texts, or one text with commas")
    return tuple(p.strip() for p in parts if p.strip())


def _endpoints(value: object) -> tuple[str, ...]:
    found = _texts(value)
    if not all(e.startswith(("tcp://", "dns+tcp://", "ipc://")) for e in found):
        raise _NotAllowedError(
            "addresses such as tcp://farm-0:7070, dns+tcp://farm:7070 or ipc:///run/farm.sock"
        )
    return found


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise _NotAllowedError("true or false")


def _level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in ("", *LOG_LEVELS):
        raise _NotAllowedError("one of " + ", ".join(LOG_LEVELS))
    return value.lower()


def _cpu_level(value: object) -> str:
    levels = tuple(platform.VECTOR_BITS)
    if not isinstance(value, str) or value.lower() not in ("", *levels):
        raise _NotAllowedError("one of " + ", ".join(levels))
    return value.lower()


def _stage_options(value: object) -> Mapping[str, Mapping[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and name not in _BUILT_IN and isinstance(options, Mapping)
        for name, options in value.items()
    ):
        raise _NotAllowedError(
            f"a mapping (a JSON object in a text) from a name that is none of {', '.join(_BUILT_IN)} to "
            "a mapping of Inductor settings"
        )
    return {name: dict(_dotted(options)) for name, options in value.items()}


def _dotted(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names; TOML makes tables of dotted keys."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    try:
        return Path(_filled_text(value)).expanduser()
    except RuntimeError:
        raise _NotAllowedError("a path, and after ~ a user of this host with a home directory") from None


def _maybe_path(value: object) -> Path | None:
    return None if value in ("", None) else _path(value)


def _byte_count(value: object) -> int:
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    digits = text.rstrip("KMGTiB")
    unit = _UNITS.get(text[len(digits) :])
    if unit is None or not digits.isdecimal() or len(digits) > _DIGITS_MAX:
        raise _NotAllowedError("a number of bytes such as 1073741824 or 1GiB")
    return int(digits) * unit


def _address(value: object) -> str:
    """HOST:PORT, or nothing; a port alone is on loopback."""
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else "?"
    if text in ("", "off"):
        return ""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or len(port) > _DIGITS_MAX or int(port) > _PORT_MAX:
        raise _NotAllowedError("a port, HOST:PORT with an IPv4 address, or off")
    return f"{host or LOOPBACK}:{int(port)}"


def metrics_address(options: Config, environ: Mapping[str, str]) -> str:
    """Where this process is to serve its metrics; empty: nowhere. The ranks that torchrun starts on one host
    have ports of their own, one after the other."""
    host, _, port = options.client_metrics.rpartition(":")
    rank = environ.get("LOCAL_RANK", "")
    if not port or int(port) == 0 or not rank.isdecimal():
        return options.client_metrics
    return f"{host}:{int(port) + int(rank)}"


def _default_artifact_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fxfarm" / "artifacts"


def _option(
    parse: Callable[[object], object], about: str, *, default: Any = None, factory: Any = None
) -> Any:
    metadata = {"parse": parse, "help": about}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a client; each is also `FXFARM_<NAME>` and a key of the file's `[client]` table."""

    endpoints: tuple[str, ...] = _option(_endpoints, "coordinators; none: the local farm", default=())
    secret_key: Path | None = _option(
        _maybe_path,
        "file with the secret key that coordinators know this client by, as `fxfarm keygen` makes it; none: "
        "links are not encrypted",
        default=None,
    )
    server_public_key: tuple[str, ...] = _option(
        _texts, "public keys that a coordinator may have, or files with one", default=()
    )
    signers: Path | None = _option(
        _maybe_path,
        "file with the signers whose artifacts coordinators may send, a line `signer * KEY` for each, read "
        "again when it changes; none: all are loaded",
        default=None,
    )
    insecure: bool = _option(
        _flag,
        "whether coordinators may be on other hosts although there is no key, or there are no signers",
        default=False,
    )
    local: bool = _option(_flag, "whether a farm may be started on this host", default=True)
    stages: tuple[str, ...] = _option(
        _texts, "stages wanted, worst to best; none: the built-in plan", default=()
    )
    stage_options: Mapping[str, Mapping[str, Any]] = _option(
        _stage_options, "stages of one's own: name to Inductor settings", factory=dict
    )
    roll_back: bool = _option(
        _flag,
        "whether a stage that is slower than the one before on the caller's calls is left again",
        default=True,
    )
    isa: str = _option(_cpu_level, "highest CPU level of compiled kernels; none: this CPU's", default="")
    job: str = _option(
        _text,
        "what people call the job whose rank this process is; none: as torchrun or Slurm say",
        default="",
    )
    log: str = _option(
        _level,
        "lowest level that is logged, to standard error unless the program has a handler; none: as the "
        "program's logging says",
        default="",
    )
    progress: bool = _option(
        _flag, "whether a terminal shows in one line how far the graphs are", default=False
    )
    trace: Path | None = _option(
        _maybe_path,
        "file that gets a chromium trace when the process or fxfarm ends; none: no trace",
        default=None,
    )
    record: Path | None = _option(
        _maybe_path,
        "directory that gets each graph, for `fxfarm warm --manifest`; none: no such",
        default=None,
    )
    record_bytes: int = _option(
        _byte_count, "most that is kept there, least recently recorded first to go", default=1 << 30
    )
    space: str = _option(_filled_text, "namespace of this client's graphs", default="default")
    salt: str = _option(_text, "must equal the farm's", default="")
    artifact_dir: Path = _option(
        _path, "where the shared objects of artifacts are unpacked", factory=_default_artifact_dir
    )
    artifact_bytes: int = _option(
        _byte_count, "most that is kept there, least recently used first to go", default=1 << 30
    )
    client_metrics: str = _option(
        _address,
        "address of this process's metrics page, a port alone is on loopback; torchrun's LOCAL_RANK is added "
        "to the port; none: no page",
        default="",
    )
    python: str = _option(
        _filled_text, "interpreter of the local farm's engines", factory=lambda: sys.executable
    )


_OPTIONS = {f.name: f for f in dataclasses.fields(Config)}


def _parse(name: str, value: object, place: str) -> object:
    try:
        return _OPTIONS[name].metadata["parse"](value)
    except _NotAllowedError as allowed:
        raise ConfigError(f"{name} = {value!r} ({place}) is not allowed; allowed: {allowed}") from None


def _usual_file(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "fxfarm" / "config.toml"


def _from_file(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    # Numbers of some thousand digits are a ValueError as what is no TOML is; arrays nested as deep are not.
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{path} cannot be read as TOML: {e}") from e
    table = document.get("client", {})
    if not isinstance(table, dict):
        raise ConfigError(f"client in {path} is not a table")
    return _checked(table, f"table [client] of {path}")


def _checked(given: Mapping[str, object], place: str) -> dict[str, object]:
    for name in given:
        if name not in _OPTIONS:
            raise ConfigError(f"unknown option {name!r} ({place}); allowed: {', '.join(_OPTIONS)}")
    return {name: _parse(name, value, place) for name, value in given.items()}


def load(given: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The options in force: `given` before the variables of `environ` before the file.

    The file is the one that FXFARM_CONFIG names, else fxfarm/config.toml below XDG_CONFIG_HOME or ~/.config
    when it exists.

    Raises ConfigError. Other FXFARM_* variables are the other roles' and are left alone.
    """
    environ = os.environ if environ is None else environ
    chosen: dict[str, Any] = {}
    named = environ.get("FXFARM_CONFIG")
    file = Path(named) if named else _usual_file(environ)
    if named or file.exists():
        chosen.update(_from_file(file))
    for name in _OPTIONS:
        variable = "FXFARM_" + name.upper()
        if variable in environ:
            chosen[name] = _parse(name, environ[variable], f"variable {variable}")
    chosen.update(_checked(given or {}, "configure()"))
    return Config(**chosen)
