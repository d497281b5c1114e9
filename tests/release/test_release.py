"""A whole release, made as `make release` makes it: what is in it, that it says what is in it, and that it runs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import archive, builder
from release.__main__ import NAME, SUMS
from release.platforms import platforms
from tests.container.moby import Docker
from tests.container.podman import Container, podman, run_once
from tests.release.conftest import REGISTRY
from tests.system.processes import ROOT, free_port, wait_for

pytestmark = pytest.mark.release

VERSION = (ROOT / "VERSION").read_text("ascii").strip()
PLATFORMS = sorted(platforms(ROOT))


def of(made: Path, platform: str, ending: str) -> Path:
    return made / f"{NAME}-{VERSION}-{platform}{ending}"


def components(path: Path) -> dict[str, str]:
    """Return the package URLs of a bill of materials, without qualifiers, and each one's type."""
    listed = json.loads(path.read_text("utf-8"))["components"]
    return {component["purl"].partition("?")[0]: component["type"] for component in listed}


def test_it_holds_these_files_and_their_checksums(made: Path) -> None:
    expected = {f"serial-host-{VERSION}-win-amd64{ending}" for ending in (".zip", ".cdx.json")}
    for platform in PLATFORMS:
        expected |= {
            f"{NAME}-{VERSION}-{platform}{ending}" for ending in (".oci.tar", ".cdx.json", "-licences.zip")
        }
        expected |= {f"{kind}-{VERSION}-{platform}.json" for kind in ("deployment", "layered-deployment")}
    assert {path.name for path in made.iterdir() if path.is_file()} == expected | {SUMS}
    lines = (made / SUMS).read_text("ascii").splitlines()
    assert [line.split(" *")[1] for line in lines] == sorted(expected)
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS], cwd=made, capture_output=True, check=False
    )
    assert checked.returncode == 0


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_manifests_name_the_image_of_their_platform(made: Path, platform: str) -> None:
    for kind in ("deployment", "layered-deployment"):
        text = (made / f"{kind}-{VERSION}-{platform}.json").read_text("utf-8")
        assert f'"image": "{REGISTRY}/{NAME}:{VERSION}-{platform}"' in text
        assert "${" not in text


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_image_archive_is_a_valid_layout(made: Path, platform: str) -> None:
    """Every digest and size is right (image-spec, "Image Layout"), and nothing lies about that no one names."""
    with tarfile.open(of(made, platform, ".oci.tar")) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    [listed] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[f"blobs/{listed['digest'].replace(':', '/')}"])
    named = [listed, manifest["config"], *manifest["layers"]]
    for described in named:
        assert len(files[f"blobs/{described['digest'].replace(':', '/')}"]) == described["size"]
    assert len(files) == len({described["digest"] for described in named}) + 3
    config = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert (
        config["architecture"] == listed["platform"]["architecture"] == platforms(ROOT)[platform].architecture
    )
    assert config["config"]["Healthcheck"]["Test"][-1] == "serial_relay.process.health"


@pytest.fixture(scope="module", params=PLATFORMS)
def loaded(request: pytest.FixtureRequest, made: Path) -> Iterator[tuple[str, str]]:
    """A platform, and the name of its image as loaded from the archive."""
    platform: str = request.param
    name = f"{REGISTRY}/{NAME}:{VERSION}-{platform}"
    podman("load", "--input", str(of(made, platform, ".oci.tar")))
    yield platform, name
    podman("rmi", "--force", name)


ASK = """
import importlib.metadata, json, subprocess
packages = subprocess.run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n"], capture_output=True, text=True)
print(json.dumps({"pypi": [[e.name, e.version] for e in importlib.metadata.distributions()],
                  "deb": [line.split() for line in packages.stdout.splitlines()]}))
"""


def test_a_loaded_image_holds_exactly_what_its_bill_of_materials_lists(
    made: Path, loaded: tuple[str, str]
) -> None:
    platform, name = loaded
    asked = run_once(name, ["--entrypoint", "python3"], "-c", ASK)
    assert asked.returncode == 0, asked.stderr
    inside = json.loads(asked.stdout)
    found = {f"pkg:pypi/{re.sub(r'[-_.]+', '-', part).lower()}@{version}" for part, version in inside["pypi"]}
    found |= {f"pkg:deb/debian/{part}@{version}" for part, version in inside["deb"]}
    assert len(inside["deb"]) > 50
    assert {
        url.replace("%2B", "+").replace("%3A", ":").replace("%7E", "~")
        for url in components(of(made, platform, ".cdx.json"))
    } == found


def test_a_loaded_image_runs_and_says_that_it_is_healthy(loaded: tuple[str, str], tmp_path: Path) -> None:
    _, name = loaded
    told = run_once(name, [], "--version")
    assert told.stdout == f"serial_relay {VERSION}\n", told.stderr
    (tmp_path / "desired.json").write_text('{"serialPorts": {}}')
    options = ["--volume", f"{tmp_path}:/twin", f"--env=METRICS_PORT={free_port()}"]
    with Container(name, options, ["--desired", "/twin/desired.json"]) as container:

        def healthy() -> bool:
            assert container.inspect("{{.State.Running}}") == "true", container.log()
            return container.execute("python3", "-m", "serial_relay.process.health").returncode == 0

        wait_for(healthy, "the container to be healthy", 120)


def test_docker_loads_an_archive_with_its_name_and_its_health_command(made: Path) -> None:
    with Docker() as engine:
        engine.load(of(made, "amd64", ".oci.tar"))
        image = engine.request("GET", f"/images/{REGISTRY}/{NAME}:{VERSION}-amd64/json")
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "python3", "-m", "serial_relay.process.health"]
    assert image["Config"]["Entrypoint"] == ["python3", "-m", "serial_relay"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_part_of_an_image_has_its_licence(made: Path, platform: str) -> None:
    with zipfile.ZipFile(of(made, platform, "-licences.zip")) as file:
        names = set(file.namelist())
    folders = {name.split("/")[3] for name in names if name.startswith("usr/share/doc/")}
    parts = {
        url.partition("@")[0].rpartition("/")[2]
        for url in components(of(made, platform, ".cdx.json"))
        if url.startswith("pkg:deb/")
    }
    # Some packages share the folder of another: their own is a link to it (Debian Policy 12.5).
    assert len(parts - folders) < len(parts) / 3
    assert "opt/serial-relay/LICENSE" in names


def test_the_bundle_holds_what_its_bill_of_materials_lists(made: Path) -> None:
    with zipfile.ZipFile(made / f"serial-host-{VERSION}-win-amd64.zip") as file:
        folders = {
            match for name in file.namelist() for match in re.findall(r"([^/]+)-([^/-]+)\.dist-info/", name)
        }
    found = {f"pkg:pypi/{re.sub(r'[-_.]+', '-', part).lower()}@{version}" for part, version in folders}
    assert len(found) > 8
    listed = components(made / f"serial-host-{VERSION}-win-amd64.cdx.json")
    assert {url for url in listed if url.startswith("pkg:pypi/")} == found
    assert any(url.startswith("pkg:generic/cpython@") for url in listed)


def test_an_image_packed_again_is_the_same_byte_for_byte(made: Path, tmp_path: Path) -> None:
    platform = "amd64"
    again = tmp_path / "again.oci.tar"
    archive.write(
        "localhost/serial-relay-release:amd64",
        again,
        reference=f"{REGISTRY}/{NAME}:{VERSION}-{platform}",
        architecture="amd64",
        epoch=builder.epoch(),
    )
    assert again.read_bytes() == of(made, platform, ".oci.tar").read_bytes()
