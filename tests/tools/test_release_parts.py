"""The parts of a release that need no builder: bills of materials, and reading an image archive."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from cyclonedx.model.component import ComponentType

from release import archive, bill
from release.bill import Part

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.36-9+deb12u13
Description: GNU C Library
 more: than one line

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1:2.0~rc1
"""

METADATA = (
    b"Metadata-Version: 2.4\nName: Typing_Extensions\nVersion: 4.16.0\nLicense-Expression: PSF-2.0\n\nText\n"
)


def test_what_is_installed_is_found_and_what_was_removed_is_not() -> None:
    files = {
        "var/lib/dpkg/status": STATUS,
        "opt/serial-relay/typing_extensions-4.16.0.dist-info/METADATA": METADATA,
        "opt/serial-relay/typing_extensions.py": b"",
    }
    assert bill.parts(files) == [
        Part("deb", "libc6", "2.36-9+deb12u13", architecture="arm64"),
        Part("pypi", "typing-extensions", "4.16.0", "PSF-2.0"),
    ]


def test_a_bill_of_materials_is_the_same_each_time_and_names_each_part_with_its_licence() -> None:
    found = [
        Part("deb", "libc6", "2.36-9+deb12u13", architecture="arm64"),
        Part("pypi", "six", "1.17.0", "MIT"),
    ]
    one, other = (
        bill.bill("relay", "1.1.0", ComponentType.CONTAINER, order, epoch=1_700_000_000)
        for order in (found, found[::-1])
    )
    assert one == other
    written = json.loads(one)
    assert written["specVersion"] == "1.6"
    assert written["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert written["metadata"]["component"]["type"] == "container"
    components = {component["name"]: component for component in written["components"]}
    assert components["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=arm64"
    assert components["six"]["licenses"] == [{"license": {"id": "MIT"}}]


@pytest.mark.parametrize("licence", ["", "a\nwhole\ntext", "BSD 3-Clause; see its file", "MIT OR Apache-2.0"])
def test_whatever_authors_wrote_as_their_licence_the_bill_is_valid(licence: str) -> None:
    written = bill.bill("relay", "1.1.0", ComponentType.CONTAINER, [Part("pypi", "a", "1", licence)], epoch=0)
    assert json.loads(written)["components"][0]["name"] == "a"


def layer(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def test_an_image_is_read_as_its_layers_leave_it(tmp_path: Path) -> None:
    layers = [
        layer({"./etc/one": b"1", "etc/two": b"2", "opt/a/x": b"x", "opt/a/y": b"y", "lib/z": b"z"}),
        layer({"etc/.wh.one": b"", "opt/a/y": b"new", "opt/a/.wh..wh..opq": b"", "lib/ignored": b"-"}),
        layer({".wh.lib": b""}),
    ]
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        names = [f"blobs/sha256/{number}" for number in range(len(layers))]
        described = json.dumps([{"Config": "blobs/sha256/c", "Layers": names}]).encode()
        for name, content in [("manifest.json", described), *zip(names, layers, strict=True)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert archive.files_of(path, lambda name: name != "lib/ignored") == {"etc/two": b"2", "opt/a/y": b"new"}
