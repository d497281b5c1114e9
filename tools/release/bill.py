"""Bills of materials in CycloneDX, made from what really is inside an image archive or a bundle.

Components are found by what the package managers left behind: `METADATA` of Python's distributions (PEP 376) and dpkg's
list of installed packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from release.errors import ReleaseError


class Part(NamedTuple):
    """A component that was found."""

    kind: str
    """The type of its package URL: `pypi`, `deb` or `generic`."""
    name: str
    version: str
    licence: str = ""
    """An SPDX expression or other words, empty if its package does not say."""
    architecture: str = ""
    """Of a Debian package."""

    @property
    def url(self) -> PackageURL:
        """Its package URL (purl-spec)."""
        if self.kind != "deb":
            return PackageURL(self.kind, None, self.name, self.version)
        return PackageURL("deb", "debian", self.name, self.version, {"arch": self.architecture})


def parts(files: Mapping[str, bytes]) -> list[Part]:
    """Return the components of which `files` (path to content) tell, sorted."""
    found = set()
    for path, content in files.items():
        if path.endswith(".dist-info/METADATA"):
            header = HeaderParser().parsestr(content.decode("utf-8"))
            licence = str(header["License-Expression"] or header["License"] or "")
            found.add(Part("pypi", normal(str(header["Name"])), str(header["Version"]), licence.strip()))
        elif path == "var/lib/dpkg/status":
            for paragraph in content.decode("utf-8").split("\n\n"):
                header = HeaderParser().parsestr(paragraph)
                if str(header["Status"]).endswith(" installed"):
                    found.add(
                        Part("deb", header["Package"], header["Version"], architecture=header["Architecture"])
                    )
    return sorted(found)


def normal(name: str) -> str:
    """Return the name of a Python distribution as package URLs have it (PEP 503)."""
    return "-".join(name.lower().replace("_", "-").replace(".", "-").split("-"))


def bill(name: str, version: str, kind: ComponentType, found: Iterable[Part], *, epoch: int) -> bytes:
    """Return the bill of materials of `name`, valid by the schema of CycloneDX 1.6 and the same at each call.

    Raises:
        ReleaseError: the bill is not valid, with what the schema says.
    """
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"{name}@{version}@{epoch}"))
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    bom.metadata.component = Component(name=name, version=version, type=kind, bom_ref=f"{name}@{version}")
    for part in found:
        component = Component(
            name=part.name,
            version=part.version,
            type=ComponentType.LIBRARY,
            purl=part.url,
            bom_ref=str(part.url),
        )
        if part.licence and "\n" not in part.licence:
            component.licenses.add(LicenseFactory().make_from_string(part.licence))
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, bom.components)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ReleaseError(f"the bill of materials of {name} is not valid: {error}")
    return (json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n").encode()
