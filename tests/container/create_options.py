"""createOptions of a deployment manifest (Docker Engine API, ContainerCreate) -> arguments of `podman run`.

So that the container tests run what the manifest says and not a copy of it by hand. Every key is translated with
Docker's meaning or refused by name; nothing is passed over. Also what IoT Edge itself makes of createOptions on a
hardened host. Not for: options that no manifest or example of this project uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

Json = dict[str, Any]


class UnknownOptionError(Exception):
    """A key or value that has no translation here; the text is its path and value."""


def podman_arguments(options: Mapping[str, Any]) -> list[str]:
    """Translate createOptions.

    Raises:
        UnknownOptionError: there is a key or value that this does not know.
    """
    return _translate(options, _CONTAINER, "")


def module_arguments(module: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Translate a module's createOptions and its `env` section, which edgeAgent adds to Env."""
    environment = [f"{name}={entry['value']}" for name, entry in module.get("env", {}).items()]
    return [*podman_arguments(options), *_repeated("--env")(environment, "env")]


def hardened(options: Mapping[str, Any]) -> Json:
    """Return what IoT Edge makes of createOptions with `allow_elevated_docker_permissions = false`.

    Privileged and CapAdd go, CHOWN and SETUID are dropped first of all (edgelet-docker, `unset_privileged` and
    `drop_unsafe_privileges`).
    """
    result = deepcopy(dict(options))
    host = result.setdefault("HostConfig", {})
    if host.get("CapAdd") or host.get("Privileged"):
        host["Privileged"] = False
        host.pop("CapAdd", None)
    host["CapDrop"] = ["CHOWN", "SETUID", *host.get("CapDrop", [])]
    return result


_Translation = Callable[[Any, str], list[str]]


def _translate(options: Mapping[str, Any], known: Mapping[str, _Translation], path: str) -> list[str]:
    arguments = []
    for key, value in options.items():
        if key not in known:
            raise UnknownOptionError(f"{path}{key}: {value!r}")
        arguments += known[key](value, path + key)
    return arguments


def _repeated(option: str) -> _Translation:
    return lambda values, _path: [argument for value in values for argument in (option, str(value))]


def _single(option: str) -> _Translation:
    return lambda value, _path: [option, str(value)]


def _privileged(value: Any, path: str) -> list[str]:
    if value is not False:
        raise UnknownOptionError(f"{path}: {value!r}")
    return []


def _read_only(value: Any, path: str) -> list[str]:
    if value is not True:
        raise UnknownOptionError(f"{path}: {value!r}")
    # Podman would add writable tmpfs mounts at /run, /tmp and /var/tmp, Docker does not.
    return ["--read-only", "--read-only-tmpfs=false"]


def _tmpfs(mounts: Any, _path: str) -> list[str]:
    return [argument for target, flags in mounts.items() for argument in ("--tmpfs", f"{target}:{flags}")]


def _log_config(config: Any, path: str) -> list[str]:
    arguments = ["--log-driver", config["Type"]]
    for name, value in config.get("Config", {}).items():
        if name == "max-file":
            continue  # Podman keeps one file of max-size and has no such option
        if name != "max-size":
            raise UnknownOptionError(f"{path}.Config.{name}: {value!r}")
        arguments += ["--log-opt", f"{name}={value}"]
    return arguments


_HOST_CONFIG: Mapping[str, _Translation] = {
    "Binds": _repeated("--volume"),
    "CapAdd": _repeated("--cap-add"),
    "CapDrop": _repeated("--cap-drop"),
    "GroupAdd": _repeated("--group-add"),
    "LogConfig": _log_config,
    "PidsLimit": _single("--pids-limit"),
    "Privileged": _privileged,
    "ReadonlyRootfs": _read_only,
    "SecurityOpt": _repeated("--security-opt"),
    "Tmpfs": _tmpfs,
}

_CONTAINER: Mapping[str, _Translation] = {
    "Env": _repeated("--env"),
    "HostConfig": lambda value, path: _translate(value, _HOST_CONFIG, f"{path}."),
    "User": _single("--user"),
}
