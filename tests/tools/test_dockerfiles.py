"""The image has one source for all platforms, and its base cannot change unnoticed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from release.platforms import platforms

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "Dockerfile.amd64"
PLATFORMS = platforms(ROOT)


def test_the_module_is_described_for_both_platforms() -> None:
    assert {name: platform.architecture for name, platform in PLATFORMS.items()} == {
        "amd64": "amd64",
        "arm64v8": "arm64",
    }
    for name, platform in PLATFORMS.items():
        assert platform.dockerfile == ROOT / f"Dockerfile.{name}"


def test_the_dockerfile_of_arm64_is_what_make_dockerfiles_writes(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / SOURCE.name).write_bytes(SOURCE.read_bytes())
    subprocess.run(["make", "--silent", "-C", tmp_path, "dockerfiles"], check=True)
    written = (tmp_path / "Dockerfile.arm64v8").read_text("utf-8")
    assert written == (ROOT / "Dockerfile.arm64v8").read_text("utf-8"), "run `make dockerfiles`"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_stage_is_of_the_platform_and_the_base_has_a_digest(platform: str) -> None:
    text = PLATFORMS[platform].dockerfile.read_text("utf-8")
    assert re.search(r"^ARG BASE_IMAGE=\S+:\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    stages = re.findall(r"^FROM (.+)$", text, re.MULTILINE)
    architecture = PLATFORMS[platform].architecture
    assert stages == [
        "${BUILD_IMAGE} AS build",
        f"--platform=linux/{architecture} ${{BASE_IMAGE}} AS python",
        "python",
    ]


def test_the_development_containers_base_has_a_digest_too() -> None:
    text = (ROOT / ".devcontainer/Dockerfile").read_text("utf-8")
    assert re.search(r"^ARG BASE_IMAGE=\S+:\S+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
