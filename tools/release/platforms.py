"""The platforms that the module's image is built for, as module/module.json lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

_DEBIAN = {"amd64": "amd64", "arm64v8": "arm64"}
"""The platforms of IoT Edge and what Debian calls them; OCI uses Debian's names for these two."""


class Platform(NamedTuple):
    """A platform of the module's image."""

    name: str
    """As in IoT Edge's module.json and in the image's tag, such as `arm64v8`."""
    architecture: str
    """As OCI and Debian call it, such as `arm64`."""
    dockerfile: Path


def platforms(root: Path) -> dict[str, Platform]:
    """Return the platforms of the project in the folder `root` by their names."""
    module = root / "module/module.json"
    listed = json.loads(module.read_text("utf-8"))["image"]["tag"]["platforms"]
    return {
        name: Platform(name, _DEBIAN[name], (module.parent / dockerfile).resolve())
        for name, dockerfile in listed.items()
    }
