from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render_manifest import (
    RenderError,
    join_create_options,
    layered,
    leave_to_device,
    main,
    read_env_file,
    render,
    split_create_options,
)

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "render_manifest.py"

Json = dict[str, Any]


def template(**module_settings: Any) -> Json:
    """A template with one module `echo`."""
    settings = {"image": "${REGISTRY}/echo:1", "createOptions": {}} | module_settings
    system = {"type": "docker", "settings": {"image": "runtime:${TAG}", "createOptions": ""}}
    credentials = {"address": "${REGISTRY}", "username": "${USER_NAME}", "password": "${PASSWORD}"}
    return {
        "$schema-template": "4.0.0",
        "modulesContent": {
            "$edgeAgent": {
                "properties.desired": {
                    "runtime": {"settings": {"registryCredentials": {"ours": credentials}}},
                    "systemModules": {"edgeAgent": system},
                    "modules": {"echo": {"settings": settings}},
                }
            },
            "$edgeHub": {"properties.desired": {"routes": {"up": "FROM /* INTO $upstream"}}},
            "echo": {"properties.desired": {"host": "${HOST}", "depth": 3, "names": ["${HOST}", True, None]}},
        },
    }


VARIABLES = {"REGISTRY": "r.example.com", "TAG": "1.6", "USER_NAME": "u", "PASSWORD": 'p"\\', "HOST": "h"}


def module_settings(manifest: Json) -> Json:
    agent = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]
    settings: Json = agent["modules"]["echo"]["settings"]
    return settings


def test_variables_are_filled_in_wherever_a_string_stands(tmp_path: Path) -> None:
    content = render(template(), tmp_path, VARIABLES)["modulesContent"]
    assert content["$edgeAgent"]["properties.desired"]["modules"]["echo"]["settings"]["image"] == (
        "r.example.com/echo:1"
    )
    assert content["echo"]["properties.desired"] == {"host": "h", "depth": 3, "names": ["h", True, None]}
    assert content["$edgeHub"]["properties.desired"]["routes"]["up"] == "FROM /* INTO $upstream"


def test_a_value_is_a_value_whatever_characters_it_holds(tmp_path: Path) -> None:
    manifest = render(template(createOptions={"Env": ["P=${PASSWORD}"]}), tmp_path, VARIABLES)
    assert join_create_options(module_settings(manifest)) == {"Env": ['P=p"\\']}


def test_a_template_is_not_changed(tmp_path: Path) -> None:
    given_template = template()
    render(given_template, tmp_path, VARIABLES)
    leave_to_device(given_template, ["host"])
    assert given_template == template()


def test_a_registry_without_user_name_needs_no_login(tmp_path: Path) -> None:
    def credentials(user_name: str) -> Json:
        content = render(template(), tmp_path, VARIABLES | {"USER_NAME": user_name})["modulesContent"]
        runtime = content["$edgeAgent"]["properties.desired"]["runtime"]
        found: Json = runtime["settings"]["registryCredentials"]
        return found

    assert credentials("") == {}
    assert credentials("u")["ours"]["username"] == "u"


def test_a_missing_variable_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"\$\{HOST\} has no value: set it with --set HOST="):
        render(template(), tmp_path, {key: value for key, value in VARIABLES.items() if key != "HOST"})


def test_the_image_of_a_module_directory(tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    image = {"repository": "${REGISTRY}/echo", "tag": {"version": "2.0", "platforms": {"amd64": "D"}}}
    (tmp_path / "module" / "module.json").write_text(json.dumps({"image": image}))
    placed = template(image="${MODULEDIR<./module>}")
    assert module_settings(render(placed, tmp_path, VARIABLES))["image"] == "r.example.com/echo:2.0-amd64"
    with pytest.raises(RenderError, match="no platform arm64v8, only amd64"):
        render(placed, tmp_path, VARIABLES, platform="arm64v8")


@pytest.mark.parametrize("text", ["", "[]", '{"image": 1}', '{"image": {"repository": "r"}}'])
def test_a_module_description_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.json").write_text(text)
    with pytest.raises(RenderError, match=r"module\.json: cannot be used"):
        render(template(image="${MODULEDIR<.>}"), tmp_path, VARIABLES)


def test_a_module_description_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"gone/module\.json"):
        render(template(image="${MODULEDIR<gone>}"), tmp_path, VARIABLES)


@pytest.mark.parametrize(("length", "keys"), [(0, 1), (512, 1), (513, 2), (1024, 2), (4096, 8)])
def test_create_options_are_cut_at_512_characters(length: int, keys: int) -> None:
    pieces = split_create_options("x" * length)
    names = ["createOptions", *(f"createOptions0{number}" for number in range(1, keys))]
    assert list(pieces) == names
    assert "".join(pieces.values()) == "x" * length
    assert all(len(piece) == 512 for piece in list(pieces.values())[:-1])


def test_create_options_beyond_what_iot_hub_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="echo: createOptions of 4097 characters, expected at most 4096"):
        render(template(createOptions="x" * 4097), tmp_path, VARIABLES)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans()), max_size=20))
def test_cut_create_options_are_the_same_when_joined(options: Json) -> None:
    try:
        pieces = split_create_options(options)
    except RenderError:
        assert len(json.dumps(options, separators=(",", ":"))) > 4096
    else:
        assert join_create_options({"image": "i"} | pieces) == options


def test_a_layer_sets_paths_and_never_the_whole(tmp_path: Path) -> None:
    manifest = render(leave_to_device(template(), ["host"]), tmp_path, VARIABLES)
    content = layered(manifest)["content"]["modulesContent"]
    assert set(content["$edgeAgent"]) == {
        "properties.desired.modules.echo",
        "properties.desired.runtime.settings.registryCredentials.ours",
    }
    assert content["$edgeHub"] == {"properties.desired.routes.up": "FROM /* INTO $upstream"}
    assert content["echo"] == {
        "properties.desired.depth": 3,
        "properties.desired.names": ["h", True, None],
    }


def test_an_env_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nA=1\n B = two words \nC='quoted'\nD=\"=\"\nE=\nF='\n")
    assert read_env_file(path) == {"A": "1", "B": "two words", "C": "quoted", "D": "=", "E": "", "F": "'"}


def test_a_faulty_line_of_an_env_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nexport B\n")
    with pytest.raises(RenderError, match=r"\.env, line 2: expected NAME=VALUE"):
        read_env_file(path)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "t.json").write_text(json.dumps(template()))
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in VARIABLES.items()))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def host_of(text: str) -> str:
    host: str = json.loads(text)["modulesContent"]["echo"]["properties.desired"]["host"]
    return host


def test_set_comes_before_the_environment_before_the_env_file(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--template", str(directory / "t.json")]
    assert main(command) == 0
    assert host_of(capsys.readouterr().out) == "h"
    monkeypatch.setenv("HOST", "of the environment")
    assert main(command) == 0
    assert host_of(capsys.readouterr().out) == "of the environment"
    assert main([*command, "--set", "HOST=of --set"]) == 0
    assert host_of(capsys.readouterr().out) == "of --set"


def test_output_to_a_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory / "deployment.json"
    assert main(["--template", str(directory / "t.json"), "--output", str(output)]) == 0
    assert host_of(output.read_text()) == "h"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "gone.json"], "gone.json"),
        (["--template", "t.json", "--env-file", "gone.env"], "gone.env"),
        (["--template", "t.json", "--set", "HOST"], "--set HOST: expected NAME=VALUE"),
        (["--template", ".env"], ".env: not JSON"),
        (["--template", "list.json"], "list.json: not a template of version 4.0"),
        (["--template", "empty.json"], "empty.json: not a template of version 4.0"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(directory)
    (directory / "list.json").write_text("[]")
    (directory / "empty.json").write_text("{}")
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_it_runs_with_nothing_but_python(directory: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "--template", str(directory / "t.json"), "--layered"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stderr == ""
    assert "echo" in json.loads(finished.stdout)["content"]["modulesContent"]
