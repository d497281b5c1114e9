"""The module's image for tests, built from the Dockerfile on a base that needs no image registry.

`python -m tests.container.image` builds and prints the image's name and size.
"""

from __future__ import annotations

import time

from release import builder
from release.platforms import platforms
from tests.container.podman import podman
from tests.system.processes import ROOT

IMAGE = "localhost/serial-relay-test:latest"

AMD64 = platforms(ROOT)["amd64"]


def build() -> str:
    """Build the image (a few seconds when nothing changed) and give its name.

    Raises:
        ReleaseError: a build step failed, with the end of what it wrote.
    """
    base = builder.debian_base(AMD64.architecture)
    return builder.build(AMD64, base=base, revision=builder.revision(), epoch=builder.epoch(), tag=IMAGE)


def size(image: str) -> int:
    """Bytes of all layers, unpacked."""
    return int(podman("image", "inspect", "--format", "{{.Size}}", image).stdout)


if __name__ == "__main__":
    started = time.monotonic()
    print(f"{build()}: {size(IMAGE) / 1e6:.0f} MB, built in {time.monotonic() - started:.0f} s")
