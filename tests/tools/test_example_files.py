"""The examples are what they say: valid by published schemas, understood to the last key, and without any privilege."""

from __future__ import annotations

import configparser
import json
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from serial_relay.process.settings import Settings
from serial_relay.twin.desired import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
Json = dict[str, Any]


def documents(name: str) -> list[Json]:
    return [
        document for document in yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")) if document
    ]


MANIFESTS = [
    (path.name, document["kind"], document)
    for path in sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
    for document in documents(f"kubernetes/{path.name}")
]


@pytest.mark.parametrize(
    ("file", "kind", "manifest"), MANIFESTS, ids=lambda part: part if isinstance(part, str) else ""
)
@pytest.mark.parametrize("version", ["1.27", "1.31"])
def test_the_manifests_fit_the_published_schemas(file: str, kind: str, manifest: Json, version: str) -> None:
    assert file
    assert kind
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_published_schemas_refuse_a_mistake() -> None:
    [daemon_set] = [manifest for _, kind, manifest in MANIFESTS if kind == "DaemonSet"]
    manifest = json.loads(json.dumps(daemon_set))
    manifest["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.31", strict=True)


def pod_specifications() -> list[Json]:
    pods = [manifest for _, kind, manifest in MANIFESTS if kind in {"Pod", "DaemonSet"}]
    return [pod["spec"]["template"]["spec"] if pod["kind"] == "DaemonSet" else pod["spec"] for pod in pods]


@pytest.mark.parametrize("pod", pod_specifications(), ids=lambda pod: str(pod["containers"][0]["name"]))
def test_no_pod_has_a_privilege_or_writes_below_the_nodes_dev(pod: Json) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["supplementalGroups"] == [20]
    [container] = pod["containers"]
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert not context.get("privileged")
    # Its place is /dev/termination-log if nothing is said, and /dev is the node's.
    assert not container["terminationMessagePath"].startswith("/dev")
    assert {"name": "dev", "mountPath": "/dev"} in container["volumeMounts"]
    assert {"name": "dev", "hostPath": {"path": "/dev", "type": "Directory"}} in pod["volumes"]


def test_the_configuration_of_the_config_map_is_understood_to_the_last_key() -> None:
    desired = parse(
        json.loads(MANIFESTS_BY_KIND["ConfigMap", "serial-relay"]["data"]["desired.json"]),
        last_good={},
        default_gid=20,
    )
    assert desired is not None
    assert (dict(desired.port_faults), desired.faults, desired.warnings) == ({}, (), ())
    assert set(desired.ports) == {"ttyVirtS0"}


MANIFESTS_BY_KIND = {(kind, manifest["metadata"]["name"]): manifest for _, kind, manifest in MANIFESTS}


def test_the_application_is_the_same_in_both_examples() -> None:
    program = (EXAMPLES / "compose/application.py").read_text(encoding="utf-8")
    assert MANIFESTS_BY_KIND["ConfigMap", "serial-application"]["data"]["application.py"] == program


def settings_of(names: set[str]) -> set[str]:
    return names - {str(field.alias) for field in Settings.model_fields.values()}


def test_every_variable_is_a_setting_of_the_relay() -> None:
    compose = documents("compose/compose.yaml")[0]["services"]["relay"]["environment"]
    pod = pod_specifications()[1 if pod_specifications()[0]["containers"][0]["name"] != "relay" else 0]
    assert not settings_of(set(compose))
    of_pod = {entry["name"] for entry in pod["containers"][0]["env"]} - {
        "XDG_RUNTIME_DIR"
    }  # see control.location
    assert not settings_of(of_pod)
    assert not settings_of({entry.partition("=")[0] for entry in unit()["Service"]["Environment"].split()})


def test_no_service_of_the_compose_file_has_a_privilege() -> None:
    for service in documents("compose/compose.yaml")[0]["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & service.keys()
        assert "/dev:/dev" in service["volumes"]


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(EXAMPLES / "linux/serial-relay.service")
    return parser


def test_the_unit_starts_the_relay_as_the_page_says() -> None:
    page = (ROOT / "docs/without-iot-edge.md").read_text(encoding="utf-8")
    assert (EXAMPLES / "linux/serial-relay.service").read_text(encoding="utf-8") in page
    program, *arguments = shlex.split(unit()["Service"]["ExecStart"])
    assert f"sudo {program} {' '.join(arguments)}" in page
    assert unit()["Service"]["NoNewPrivileges"] == "yes"
