"""The test suites that libraries ship in their source distributions, in the pinned versions.

`python -m tests.tty.suites` fetches them through pip, which refuses a file that is not the pinned one. A library is not built
from them: the tests run with the one that is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bundle.wheels import pins
from tests.system.processes import ROOT

_FOLDERS = {"pyserial": "test", "serialx": "tests"}
"""By the name of the library the folder that its tests stand in."""

_CACHE = ROOT / ".cache" / "suites"


def suite(name: str) -> Path:
    """Return where the tests of a library stand, or would stand: a folder that is named as in its distribution."""
    (version,) = [pin.version for pin in pins(ROOT / "tests" / "requirements.txt") if pin.name == name]
    return _CACHE / f"{name}-{version}" / _FOLDERS[name]


def fetch(names: list[str]) -> None:
    """Fetch the tests of these libraries.

    Raises:
        subprocess.CalledProcessError: pip cannot; it has printed why.
    """
    wanted = [pin for pin in pins(ROOT / "tests" / "requirements.txt") if pin.name in names]
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "sources.txt"
        listing.write_text(
            "".join(
                f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{one}' for one in sorted(pin.hashes))}\n"
                for pin in wanted
            )
        )
        # pip asks each for its version, for which what it is built with has to be there: see requirements.in.
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes"),
                *("--dest", folder, "--requirement", str(listing)),
            ],
            check=True,
        )
        for pin in wanted:
            (archive,) = Path(folder).glob(f"{pin.name}-*.tar.gz")
            with tarfile.open(archive) as tar:
                inside = f"{pin.name}-{pin.version}/{_FOLDERS[pin.name]}/"
                members = [member for member in tar.getmembers() if member.name.startswith(inside)]
                tar.extractall(_CACHE, members, filter="data")


if __name__ == "__main__":
    missing = [name for name in _FOLDERS if not suite(name).is_dir()]
    if missing:
        fetch(missing)
