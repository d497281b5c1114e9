#!/usr/bin/env python3
"""Render a deployment manifest from deployment.template.json, for people who do not use an editor's IoT Edge tools.

A template (schema template 4.0) holds `${NAME}` for a variable, `${MODULEDIR<folder>}` for the image that the folder's
module.json describes, and createOptions as objects. `az iot edge set-modules` takes a manifest without any of that:
this fills in the variables (from --set, the environment, or the .env file, in that order) and writes createOptions as
strings of at most 512 characters, as IoT Hub wants them.

    python3 tools/render_manifest.py > deployment.json
    python3 tools/render_manifest.py --layered > layered-deployment.json

It needs nothing but Python, and it neither builds an image nor talks to Azure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

Json = dict[str, Any]

CHUNK = 512
"""Characters that one createOptions key may hold; longer ones go on in createOptions01 to createOptions07."""
MOST_CHUNKS = 8

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_MODULE_DIRECTORY = re.compile(r"\$\{MODULEDIR<([^<>]+)>\}")


class RenderError(Exception):
    """The template, a module.json or a variable cannot be used; the text says which and what to do."""


def render(template: Json, directory: Path, variables: Mapping[str, str], *, platform: str = "amd64") -> Json:
    """Return the deployment manifest of a template whose relative paths start at `directory`.

    An entry of registryCredentials whose user name is empty is left out: such a registry needs no login.

    Raises:
        RenderError: a variable is missing, a module.json cannot be used, or createOptions are too long.
    """
    manifest: Json = _fill(template, directory, variables, platform)
    manifest.pop("$schema-template", None)
    agent = _desired(manifest, "$edgeAgent")
    credentials = agent["runtime"]["settings"].get("registryCredentials", {})
    for name in [name for name, entry in credentials.items() if not entry["username"]]:
        del credentials[name]
    for name, module in {**agent["systemModules"], **agent["modules"]}.items():
        settings = module["settings"]
        options = settings.pop("createOptions", {})
        try:
            settings.update(split_create_options(options))
        except RenderError as error:
            raise RenderError(f"{name}: {error}") from None
    return manifest


def leave_to_device(template: Json, keys: Collection[str]) -> Json:
    """Return a copy of a template whose modules' desired properties lack `keys`: the device's own twin holds those."""
    copy = deepcopy(template)
    for name, twin in copy["modulesContent"].items():
        if not name.startswith("$"):
            for key in keys:
                twin["properties.desired"].pop(key, None)
    return copy


def layered(manifest: Json) -> Json:
    """Return the layered deployment that adds a rendered manifest's modules to devices that have a base deployment.

    Each top-level desired property becomes a path of its own (`properties.desired.serialPorts`): the layer sets these
    paths and no other. (Azure's documentation, "Understand IoT Edge automatic deployments for single devices or at
    scale", module twin configuration of layered deployments.)
    """
    content = manifest["modulesContent"]
    agent = _desired(manifest, "$edgeAgent")
    layer: Json = {
        "$edgeAgent": {
            f"properties.desired.modules.{name}": module for name, module in agent["modules"].items()
        }
    }
    for entry, credentials in agent["runtime"]["settings"].get("registryCredentials", {}).items():
        layer["$edgeAgent"][f"properties.desired.runtime.settings.registryCredentials.{entry}"] = credentials
    if routes := _desired(manifest, "$edgeHub")["routes"]:
        layer["$edgeHub"] = {f"properties.desired.routes.{name}": route for name, route in routes.items()}
    for name in content:
        if not name.startswith("$"):
            desired = _desired(manifest, name)
            layer[name] = {f"properties.desired.{key}": value for key, value in desired.items()}
    return {"content": {"modulesContent": layer}}


def split_create_options(options: Json | str) -> dict[str, str]:
    """Return createOptions as the keys of a rendered manifest: `createOptions`, `createOptions01` and so on.

    Raises:
        RenderError: they are longer than the 4096 characters that IoT Hub takes.
    """
    text = options if isinstance(options, str) else json.dumps(options, separators=(",", ":"))
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)] or [""]
    if len(chunks) > MOST_CHUNKS:
        raise RenderError(f"createOptions of {len(text)} characters, expected at most {CHUNK * MOST_CHUNKS}")
    return {
        f"createOptions{number:02}" if number else "createOptions": part for number, part in enumerate(chunks)
    }


def join_create_options(settings: Mapping[str, Any]) -> Json:
    """Return a rendered module's createOptions as the object that its settings hold in pieces."""
    keys = sorted(key for key in settings if key.startswith("createOptions"))
    options: Json = json.loads("".join(settings[key] for key in keys) or "{}")
    return options


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=VALUE lines of a file; blank lines and those that begin with # are skipped.

    Raises:
        RenderError: a line is something else.
        OSError: the file cannot be read.
    """
    variables = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _assignment(line.strip(), f"{path}, line {number}")
            quoted = len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]
            variables[name] = value[1:-1] if quoted else value
    return variables


def _assignment(text: str, place: str) -> tuple[str, str]:
    match = _ASSIGNMENT.fullmatch(text)
    if not match:
        raise RenderError(f"{place}: expected NAME=VALUE")
    return match[1], match[2]


def _desired(manifest: Json, module: str) -> Json:
    desired: Json = manifest["modulesContent"][module]["properties.desired"]
    return desired


def _fill(value: Any, directory: Path, variables: Mapping[str, str], platform: str) -> Any:
    """Return a copy of a JSON value with every placeholder in its strings filled in."""
    if isinstance(value, dict):
        return {key: _fill(item, directory, variables, platform) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, directory, variables, platform) for item in value]
    if not isinstance(value, str):
        return value
    if match := _MODULE_DIRECTORY.fullmatch(value):
        return _image(directory / match[1] / "module.json", variables, platform)
    return _fill_variables(value, variables)


def _fill_variables(text: str, variables: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        try:
            return variables[match[1]]
        except KeyError:
            raise RenderError(
                f"{match[0]} has no value: set it with --set {match[1]}=..., in the environment or in .env "
                "(cp .env.example .env)"
            ) from None

    return _VARIABLE.sub(value_of, text)


def _image(path: Path, variables: Mapping[str, str], platform: str) -> str:
    """Return the image that a module.json describes, named as IoT Edge's tools name it: repository:version-platform."""
    try:
        image = json.loads(path.read_text(encoding="utf-8"))["image"]
        repository, tag = image["repository"], image["tag"]
        version, platforms = tag["version"], tag["platforms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RenderError(f"{path}: cannot be used: {error!r}") from None
    if platform not in platforms:
        raise RenderError(f"{path}: no platform {platform}, only {', '.join(platforms)}")
    return f"{_fill_variables(repository, variables)}:{_fill_variables(version, variables)}-{platform}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--template",
        type=Path,
        default=root / "deployment.template.json",
        help="default: deployment.template.json of this repository",
    )
    parser.add_argument("--platform", default="amd64", help="of the module's image (default: %(default)s)")
    parser.add_argument(
        "--env-file", type=Path, help="NAME=VALUE lines (default: .env beside the template, if there is one)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a variable; may be repeated",
    )
    parser.add_argument(
        "--layered",
        action="store_true",
        help="write a layered deployment for fleets, which leaves `host` to the device",
    )
    parser.add_argument("--output", type=Path, help="file to write (default: standard output)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Render as the command line asks; 0, or 1 with one line that says what is wrong."""
    options = _arguments(arguments)
    try:
        env_file = options.env_file or options.template.with_name(".env")
        variables = read_env_file(env_file) if options.env_file or env_file.exists() else {}
        variables |= os.environ
        variables |= dict(_assignment(setting, f"--set {setting}") for setting in options.set)
        template = json.loads(options.template.read_text(encoding="utf-8"))
        if options.layered:
            template = leave_to_device(template, ["host"])
        manifest = render(template, options.template.parent, variables, platform=options.platform)
        text = json.dumps(layered(manifest) if options.layered else manifest, indent=2) + "\n"
        if options.output:
            options.output.write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
    except (RenderError, OSError) as error:
        return _fail(str(error))
    except ValueError as error:
        return _fail(f"{options.template}: not JSON: {error}")
    except (KeyError, TypeError, AttributeError) as error:
        return _fail(f"{options.template}: not a template of version 4.0, whose structure has {error}")
    return 0


def _fail(message: str) -> int:
    print(f"render_manifest: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
