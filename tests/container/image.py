"""Builds the module's image from Dockerfile.amd64 where no image registry can be reached.

The base image, which otherwise comes from a registry as `debian:bookworm-slim`, is made with debootstrap from a Debian
mirror and kept in .cache/container. `python -m tests.container.image` builds and prints the image's name and size.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.container.podman import CACHE, STORE, podman
from tests.system.processes import ROOT

SUITE = "bookworm"
MIRROR = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []
"""Debootstrap knows Debian's own."""

BASE_IMAGE = f"localhost/serial-relay-test-base:{SUITE}"
IMAGE = "localhost/serial-relay-test:latest"

_LEFT_OUT = ("doc", "man", "locale", "info", "lintian")  # as in Debian's own slim images


def build() -> str:
    """Build the image (a few seconds when nothing changed) and give its name.

    Raises:
        RuntimeError: debootstrap or buildah failed, with the end of what it wrote.
    """
    if podman("image", "exists", BASE_IMAGE, check=False).returncode:
        _import_base()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        _run(
            *("buildah", *STORE, "build", "--isolation", "chroot", "--network", "host", "--layers"),
            *("--format", "docker"),  # an OCI image has no place for the health command
            *_trust(Path(directory)),
            *("--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--build-arg", f"REVISION={_revision()}"),
            *("--file", str(ROOT / "Dockerfile.amd64"), "--tag", IMAGE, str(ROOT)),
        )
    return IMAGE


def size(image: str) -> int:
    """Bytes of all layers, unpacked."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image).stdout)


def _import_base() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"debian-{SUITE}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            tree = Path(directory) / "base"
            _run("debootstrap", "--variant=minbase", SUITE, str(tree), *MIRROR)
            _slim(tree)
            unfinished = Path(directory) / "base.tar"
            _run("tar", "--create", "--file", str(unfinished), "--directory", str(tree), ".")
            unfinished.rename(archive)
    podman("import", str(archive), BASE_IMAGE)


def _slim(tree: Path) -> None:
    """Take out what Debian's slim images leave out, now and at later installations."""
    excludes = "".join(f"path-exclude /usr/share/{name}/*\n" for name in _LEFT_OUT)
    (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(excludes, encoding="utf-8")
    for directory in [tree / "usr/share" / name for name in _LEFT_OUT] + [tree / "var/lib/apt/lists"]:
        for entry in directory.glob("*"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for package in (tree / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def _trust(directory: Path) -> list[str]:
    """Make this machine's package index and certificates usable by pip inside the build; the image does not keep them."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read("/etc/pip.conf")
    if not settings.has_section("global"):
        settings.add_section("global")
    if index := os.environ.get("PIP_INDEX_URL"):
        settings["global"]["index-url"] = index
    mounts = []
    certificates = os.environ.get("PIP_CERT") or settings["global"].get("cert")
    if certificates:
        # Not in its usual place, where installing ca-certificates would find it in the way.
        settings["global"]["cert"] = "/run/host-certificates.pem"
        mounts += ["--volume", f"{certificates}:/run/host-certificates.pem:ro"]
    configuration = directory / "pip.conf"
    with configuration.open("w", encoding="utf-8") as file:
        settings.write(file)
    return [*mounts, "--volume", f"{configuration}:/etc/pip.conf:ro"]


def _revision() -> str:
    if not shutil.which("git"):
        return "unknown"
    finished = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return finished.stdout.strip() or "unknown"


def _run(*command: str) -> None:
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"{command[0]} failed:\n" + "\n".join(finished.stdout.splitlines()[-30:]))


if __name__ == "__main__":
    started = time.monotonic()
    print(f"{build()}: {size(IMAGE) / 1e6:.0f} MB, built in {time.monotonic() - started:.0f} s")
