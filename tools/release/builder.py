"""Builds the module's image of a platform with buildah.

The images are kept in a store of their own below `.cache/container`, apart from this machine's. A platform that is not
this machine's is built by emulation: the kernel must run its programs through QEMU (binfmt_misc).
"""

from __future__ import annotations

import configparser
import os
import platform as machine
import shutil
import subprocess
import tempfile
from pathlib import Path

from release.errors import ReleaseError
from release.platforms import Platform

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "container"
STORE = (
    *("--root", str(CACHE / "storage"), "--runroot", "/run/serial-relay-test"),
    *("--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true"),
)
"""Options of buildah and podman for the store."""

SUITE = "bookworm"
MIRROR = [os.environ["DEBIAN_MIRROR"]] if "DEBIAN_MIRROR" in os.environ else []
"""Mmdebstrap knows Debian's own."""

_EMULATORS = {"arm64": "qemu-aarch64"}
_NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}


def build(platform: Platform, *, base: str | None, revision: str, epoch: int, tag: str) -> str:
    """Build the image of a platform and return its name, `tag`; this takes seconds when nothing has changed.

    `base` is the image to build on; None takes the one that the Dockerfile names from its registry. All times inside the
    image are `epoch`, in seconds since 1970.

    Raises:
        ReleaseError: a build step failed, with the end of what it wrote, or the platform cannot be emulated here.
    """
    require_emulation(platform.architecture)
    native = base and debian_base(_NATIVE[machine.machine()])
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        run(
            *("buildah", *STORE, "build", "--isolation", "chroot", "--network", "host", "--layers"),
            *("--format", "docker"),  # an OCI image has no place for the health command
            *("--timestamp", str(epoch)),
            *_trust(Path(directory)),
            *(("--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"BUILD_IMAGE={native}") if base else ()),
            *("--build-arg", f"REVISION={revision}"),
            *("--file", str(platform.dockerfile), "--tag", tag, str(ROOT)),
        )
    return tag


def debian_base(architecture: str) -> str:
    """Return the name of a base image like Debian's slim one, made from Debian's signed packages without any registry.

    Raises:
        ReleaseError: mmdebstrap failed, with the end of what it wrote, or the platform cannot be emulated here.
    """
    name = f"localhost/serial-relay-base:{SUITE}-{architecture}"
    if run("buildah", *STORE, "inspect", "--type", "image", name, check=False).returncode == 0:
        return name
    require_emulation(architecture)
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"debian-{SUITE}-{architecture}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            unfinished = Path(directory) / "base.tar"
            run(
                *("mmdebstrap", "--variant=minbase", f"--architectures={architecture}"),
                '--aptopt=APT::Install-Recommends "false"',
                # /bin and the like are links from the beginning; otherwise the package usrmerge makes them, which needs all
                # of Perl.
                "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
                '--customize-hook=rm "$1/etc/apt/apt.conf.d/99mmdebstrap"',
                # What Debian's own slim images leave out; the licences stay.
                *(
                    f"--dpkgopt=path-exclude=/usr/share/{name}/*"
                    for name in ("man", "locale", "info", "lintian")
                ),
                *(
                    # As in Debian's images: an interrupted installation is thrown away anyway.
                    "--dpkgopt=force-unsafe-io",
                    "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                ),
                *(SUITE, str(unfinished), *MIRROR),
            )
            unfinished.rename(archive)
    run("podman", *STORE, "import", "--arch", architecture, str(archive), name)
    return name


def require_emulation(architecture: str) -> None:
    """Raise ReleaseError unless this machine's kernel runs programs of the platform."""
    if _NATIVE.get(machine.machine()) == architecture:
        return
    handler = Path("/proc/sys/fs/binfmt_misc") / _EMULATORS[architecture]
    if not handler.exists():
        raise ReleaseError(
            f"programs of {architecture} do not run on this machine: install Debian's qemu-user-static and "
            f"binfmt-support, then run `update-binfmts --enable {_EMULATORS[architecture]}` as root "
            "(in a container: on the machine below it)"
        )


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


def revision() -> str:
    """Return the commit that this tree is at, or `unknown` outside of a repository."""
    return _git("rev-parse", "HEAD") or "unknown"


def epoch() -> int:
    """Return the time that everything in a release bears: SOURCE_DATE_EPOCH, or else when VERSION was last changed.

    A time that is the same for all commits of a version lets a kept layer of the image be one that would be made anew.

    Raises:
        ReleaseError: there is neither.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct", "--", "VERSION")
    if not given.isdecimal():
        raise ReleaseError(
            "this is no git repository: set SOURCE_DATE_EPOCH to the release's time in seconds since 1970"
        )
    return int(given)


def _git(*arguments: str) -> str:
    if not shutil.which("git"):
        return ""
    # The owner of the tree may be somebody else than root, who runs this; that is no danger for reading the log.
    command = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments)
    return run(*command, check=False).stdout.strip()


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        ReleaseError: it failed, with the end of what it wrote, or it is not installed.
    """
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ReleaseError(f"{command[0]} is not installed: run `make release`, which installs it") from None
    if check and finished.returncode:
        end = "\n".join((finished.stdout + finished.stderr).splitlines()[-30:])
        raise ReleaseError(f"{command[0]} failed:\n{end}")
    return finished
