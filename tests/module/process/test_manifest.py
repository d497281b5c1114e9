"""What is shipped to IoT Hub: the template, what is rendered from it, and the examples."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from render_manifest import join_create_options, layered, leave_to_device, read_env_file, render
from serial_relay.process.settings import Settings, read_settings
from serial_relay.twin import desired
from serial_relay.twin.methods import METHOD_NAMES

ROOT = Path(__file__).resolve().parents[3]
VERSION = (ROOT / "VERSION").read_text(encoding="ascii").strip()
SCHEMAS = ROOT.parent / "shared" / "schemas"
DIALOUT = 10
"""The group of serial ports on Azure Linux, which the EFLOW virtual machine runs."""

Json = dict[str, Any]

needs_schemas = pytest.mark.skipif(
    not SCHEMAS.is_dir(), reason=f"the published IoT Edge schemas are not at {SCHEMAS}"
)


def read(path: str) -> Json:
    document: Json = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return document


@pytest.fixture
def template() -> Json:
    return read("deployment.template.json")


@pytest.fixture
def manifest(template: Json) -> Json:
    return render(template, ROOT, read_env_file(ROOT / ".env.example"))


def module_of(manifest: Json) -> Json:
    agent = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]
    module: Json = agent["modules"]["serial_relay"]
    return module


def faults(schema: str, document: Json) -> list[str]:
    """What a schema, draft 4 and joined to the others by `id`, finds wrong in a document."""
    schemas = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["id"], DRAFT4.create_resource(schema)) for schema in schemas.values()
    )
    validator = Draft4Validator(schemas[f"azure-iot-{schema}.json"], registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@needs_schemas
def test_the_template_follows_the_published_schema(template: Json) -> None:
    assert template["$schema-template"] == "4.0.0"
    assert faults("edge-deployment-template-4.0", template) == []


@needs_schemas
def test_the_schema_of_the_template_refuses_what_it_should(template: Json) -> None:
    hub = template["modulesContent"]["$edgeHub"]["properties.desired"]
    hub["schemaVersion"] = "1.1"
    del template["modulesContent"]["$edgeAgent"]["properties.desired"]["systemModules"]["edgeHub"]["status"]
    assert [fault.split(":")[0] for fault in faults("edge-deployment-template-4.0", template)] == [
        "$.modulesContent['$edgeAgent']['properties.desired'].systemModules.edgeHub",
        "$.modulesContent['$edgeHub']['properties.desired'].schemaVersion",
    ]


@needs_schemas
def test_the_rendered_manifest_follows_the_published_schemas(manifest: Json) -> None:
    content = manifest["modulesContent"]
    assert faults("edge-deployment-2.0", manifest) == []
    # These two are what `az iot edge` itself checks before it sends a manifest.
    assert faults("edgeagent-deployment-1.1", {"$edgeAgent": content["$edgeAgent"]}) == []
    assert faults("edgehub-deployment-1.2", {"$edgeHub": content["$edgeHub"]}) == []


@needs_schemas
def test_the_schema_of_the_manifest_refuses_what_it_should(manifest: Json, template: Json) -> None:
    assert faults("edge-deployment-2.0", template), "createOptions as objects"
    misspelt = deepcopy(manifest)
    module_of(misspelt)["restartPolice"] = "always"
    assert any("restartPolice" in fault for fault in faults("edge-deployment-2.0", misspelt))


def test_nothing_is_left_to_fill_in(manifest: Json) -> None:
    assert "${" not in json.dumps(manifest)
    assert "$schema-template" not in manifest


def test_every_variable_has_an_example_value(template: Json) -> None:
    text = json.dumps(template) + (ROOT / "module/module.json").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)\}", text))
    assert used == set(read_env_file(ROOT / ".env.example"))
    assert {"RUNTIME_TAG", "CONTAINER_REGISTRY"} <= used


def test_one_version_everywhere(template: Json, manifest: Json) -> None:
    dockerfile = (ROOT / "Dockerfile.amd64").read_text(encoding="utf-8")
    assert read("module/module.json")["image"]["tag"]["version"] == VERSION
    assert module_of(template)["version"] == VERSION
    assert f"\nARG VERSION={VERSION}\n" in dockerfile
    assert module_of(manifest)["settings"]["image"].endswith(f"/eflow-serial-relay:{VERSION}-amd64")
    layer = read("examples/layered-deployment.json")["content"]["modulesContent"]["$edgeAgent"]
    [shipped] = layer.values()
    assert shipped["version"] == VERSION
    for path in ("README.md", "docs/start-here.md", "docs/deploying.md", "examples/layered-deployment.json"):
        text = (ROOT / path).read_text(encoding="utf-8")
        named = re.findall(r"(?:serial-host-|eflow-serial-relay:|\"version\": \")(\d+\.\d+\.\d+)", text)
        assert set(named) == {VERSION}, path


def test_the_module_description_names_files_that_exist() -> None:
    image = read("module/module.json")["image"]
    context = ROOT / "module" / image["contextPath"]
    assert context.resolve() == ROOT
    for dockerfile in image["tag"]["platforms"].values():
        assert (ROOT / "module" / dockerfile).is_file()


def test_create_options_ask_for_no_more_than_is_needed(manifest: Json) -> None:
    options = join_create_options(module_of(manifest)["settings"])
    assert set(options) == {"HostConfig"}, "no user, entry point, port or terminal of its own"
    host = options["HostConfig"]
    assert set(host) == {
        "Binds",
        "CapDrop",
        "GroupAdd",
        "LogConfig",
        "PidsLimit",
        "ReadonlyRootfs",
        "SecurityOpt",
        "Tmpfs",
    }, "no Privileged, CapAdd, Devices, DeviceCgroupRules, NetworkMode, PidMode, PortBindings"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert host["Binds"] == ["/dev:/dev", "serial-relay-state:/var/lib/serial-relay"]
    assert host["LogConfig"]["Type"] == "json-file"
    assert {"max-size", "max-file"} == set(host["LogConfig"]["Config"])


def test_the_module_is_in_the_group_that_it_gives_the_ports_to(manifest: Json) -> None:
    module = module_of(manifest)
    assert module["env"]["SERIAL_GID"]["value"] == str(DIALOUT)
    host = join_create_options(module["settings"])["HostConfig"]
    assert host["GroupAdd"] == [str(DIALOUT)], "chgrp needs membership, as there is no capability"


def test_every_variable_of_manifest_and_image_is_a_setting(
    manifest: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    given = {name: str(entry["value"]) for name, entry in module_of(manifest)["env"].items()}
    dockerfile = (ROOT / "Dockerfile.amd64").read_text(encoding="utf-8")
    of_image = dict(re.findall(r"\b([A-Z_]+)=(\S+)", dockerfile.rpartition("\nENV ")[2].partition("\n#")[0]))
    given |= {name: value for name, value in of_image.items() if not name.startswith("PYTHON")}
    assert {"SERIAL_GID", "STATE_DIR", "HEALTH_SOCKET"} <= set(given) <= known
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    read_settings()


def test_what_the_image_writes_to_is_writable(manifest: Json) -> None:
    dockerfile = (ROOT / "Dockerfile.amd64").read_text(encoding="utf-8")
    host = join_create_options(module_of(manifest)["settings"])["HostConfig"]
    places = [bind.split(":")[1] for bind in host["Binds"]] + list(host["Tmpfs"])
    written = dict(re.findall(r"\b(STATE_DIR|HEALTH_SOCKET)=(\S+)", dockerfile))
    assert set(written) == {"STATE_DIR", "HEALTH_SOCKET"}
    for path in written.values():
        assert any(Path(path).is_relative_to(place) for place in places), path


def examples() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples/desired").glob("*.json"))


def assert_spotless(document: Json) -> desired.Desired:
    parsed = desired.parse(document, last_good={}, default_gid=DIALOUT)
    assert parsed is not None
    assert (dict(parsed.port_faults), parsed.faults, parsed.warnings) == ({}, (), ())
    assert set(parsed.ports) == set(document["serialPorts"])
    return parsed


def test_the_shipped_desired_properties_are_understood_to_the_last_key(manifest: Json) -> None:
    shipped = manifest["modulesContent"]["serial_relay"]["properties.desired"]
    port = assert_spotless(shipped).ports["ttyVirtS0"]
    assert (port.tcp_port, port.link, port.gid) == (5002, "ttyVirtS0", DIALOUT)


@pytest.mark.parametrize("path", examples())
def test_each_example_of_desired_properties_is_understood_to_the_last_key(path: str) -> None:
    assert_spotless(read(path))


def test_there_are_examples_of_desired_properties() -> None:
    assert len(examples()) >= 3


def test_the_layered_example_is_what_the_template_gives(template: Json) -> None:
    variables = read_env_file(ROOT / ".env.example")
    rendered = layered(render(leave_to_device(template, ["host"]), ROOT, variables))
    assert read("examples/layered-deployment.json") == rendered, (
        "run: python3 tools/render_manifest.py --layered --env-file .env.example"
        " --output examples/layered-deployment.json"
    )


def test_the_layers_write_no_property_of_each_other_nor_the_whole() -> None:
    ports = read("examples/layered-deployment.json")["content"]["modulesContent"]["serial_relay"]
    host = read("examples/layered-host.json")["content"]["modulesContent"]["serial_relay"]
    assert set(ports) == {"properties.desired.serialPorts"}
    assert set(host) == {"properties.desired.host"}
    merged = {path.removeprefix("properties.desired."): value for path, value in {**ports, **host}.items()}
    assert_spotless(merged)


def test_the_consumers_options_open_the_ports_without_any_power(manifest: Json) -> None:
    consumer = read("examples/consumer.create-options.json")
    host = consumer["HostConfig"]
    assert consumer["User"] != "0"
    assert host["CapDrop"] == ["ALL"]
    assert host["GroupAdd"] == join_create_options(module_of(manifest)["settings"])["HostConfig"]["GroupAdd"]
    assert not {"Privileged", "CapAdd", "Devices"} & set(host)


def test_the_options_for_character_devices_add_their_rules_and_nothing_else(manifest: Json) -> None:
    for with_rules, without, rules in (
        (
            read("examples/tty.create-options.json"),
            join_create_options(module_of(manifest)["settings"]),
            ["c 10:203 rwm"],
        ),
        (
            read("examples/tty-consumer.create-options.json"),
            read("examples/consumer.create-options.json"),
            ["c 120:* rw"],
        ),
    ):
        assert with_rules["HostConfig"].pop("DeviceCgroupRules") == rules
        assert with_rules == without


def commands_of_the_pages() -> str:
    """Return the two pages that have the commands of Azure, each command in one line."""
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("deploying.md", "fleets.md")]
    return "\n".join(pages).replace("\\\n", " ")


def test_the_pages_call_methods_that_exist() -> None:
    text = commands_of_the_pages()
    calls = re.findall(r"-m serial_relay --method-name (\w+) --method-payload '([^']*)'", text)
    assert len(calls) >= 2
    for method, payload in calls:
        assert method in METHOD_NAMES
        assert isinstance(json.loads(payload), dict)


def test_the_desired_patches_of_the_pages_are_understood() -> None:
    text = commands_of_the_pages()
    patches = [json.loads(patch) for patch in re.findall(r"--desired '([^']*)'", text)]
    assert len(patches) >= 2
    merged: Json = {"host": "h", "serialPorts": {"ttyVirtS0": {}}}
    for patch in patches:
        for name, port in patch.get("serialPorts", {}).items():
            if port is None:
                merged["serialPorts"].pop(name, None)
            else:
                merged["serialPorts"].setdefault(name, {}).update(port)
        merged |= {key: value for key, value in patch.items() if key != "serialPorts"}
    assert_spotless(merged)
