"""The files of examples/ as podman on this machine runs them: what is changed for that, and nothing else.

Changed are: the image (there is no registry), the name of the port (links stand in this machine's own /dev), the host and
its TCP port (the test's server), the network (this machine's, on which that server listens), and the metrics' TCP port.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.container.create_options import UnknownOptionError
from tests.system.processes import ROOT

Json = dict[str, Any]

PORT_OF_THE_EXAMPLES = "ttyVirtS0"


def read_all(path: str) -> list[Json]:
    """The documents of a YAML file, by its path from the root of the project."""
    return [
        document for document in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")) if document
    ]


def desired_for(example: Mapping[str, Any], port: str, tcp_port: int) -> str:
    """An example's desired properties with another port, host and TCP port."""
    entry = example["serialPorts"][PORT_OF_THE_EXAMPLES]
    return json.dumps({**example, "host": "127.0.0.1", "serialPorts": {port: entry | {"tcpPort": tcp_port}}})


def compose_arguments(service: Mapping[str, Any], folder: Path, prefix: str) -> tuple[list[str], list[str]]:
    """Translate a service of a compose file to options and command of `podman run`; `folder` stands for the file's.

    Raises:
        UnknownOptionError: the file has a key that this does not know.
    """
    options: list[str] = []
    command: list[str] = []
    for key, value in service.items():
        match key:
            case "image" | "depends_on" | "stop_grace_period" | "ports":
                pass  # given by the test; started in this order; see `stop`; the network is the machine's
            case "command":
                command += value
            case "entrypoint":
                options += ["--entrypoint", json.dumps(value)]
            case "restart":
                options += ["--restart", value]
            case "cap_drop" | "group_add" | "security_opt" | "tmpfs":
                flag = {
                    "cap_drop": "--cap-drop",
                    "group_add": "--group-add",
                    "security_opt": "--security-opt",
                }
                options += [f"{flag.get(key, '--tmpfs')}={item}" for item in value]
            case "read_only" | "init":
                options += [f"--{key.replace('_', '-')}"] if value else []
            case "pids_limit":
                options += [f"--pids-limit={value}"]
            case "user":
                options += ["--user", value]
            case "environment":
                options += [f"--env={name}={text}" for name, text in value.items()]
            case "volumes":
                options += [f"--volume={_volume(item, folder, prefix)}" for item in value]
            case _:
                raise UnknownOptionError(f"{key}: {value!r}")
    return options, command


def _volume(item: str, folder: Path, prefix: str) -> str:
    source, _, rest = item.partition(":")
    if source.startswith("."):
        return f"{(folder / source).resolve()}:{rest}"
    return item if source.startswith("/") else f"{prefix}-{source}:{rest}"


def pod_of(
    manifest: Mapping[str, Any], *, name: str, image: str, port: str, environment: Mapping[str, str]
) -> Json:
    """A Pod or the pods of a DaemonSet as one Pod (podman 4.3 plays no DaemonSet), for this machine."""
    template = manifest["spec"]["template"] if manifest["kind"] == "DaemonSet" else manifest
    specification = json.loads(json.dumps(template["spec"]).replace(PORT_OF_THE_EXAMPLES, port))
    specification["hostNetwork"] = True
    [container] = specification["containers"]
    container.pop("ports", None)  # podman 4.3 takes them for ports to publish
    container |= {"image": image, "imagePullPolicy": "Never"}
    if container.get("env"):
        container["env"] = [
            entry | {"value": environment.get(entry["name"], entry["value"])} for entry in container["env"]
        ]
    for volume in specification["volumes"]:
        if "configMap" in volume:
            volume["configMap"] = {"name": f"{name}-files"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": template["metadata"]["labels"]},
        "spec": specification,
    }


def config_map(name: str, data: Mapping[str, str]) -> Json:
    """The ConfigMap that `pod_of` names for a pod of this name."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-files"},
        "data": dict(data),
    }
