"""The images of a release, published to a real registry on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from release.__main__ import NAME
from release.platforms import platforms
from tests.edgehub.certificates import issue
from tests.system.processes import ROOT, free_port, wait_for

pytestmark = pytest.mark.release

VERSION = (ROOT / "VERSION").read_text("ascii").strip()
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty registry (Debian's docker-registry) with TLS, on loopback, whose authority is trusted."""
    certificate = issue("127.0.0.1", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    address = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: {tmp_path / 'registry'} }} }}\n"
        f"http: {{ addr: '{address}', tls: {{ certificate: {certificate.certificate}, key: {certificate.key} }} }}\n"
    )
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", configuration], stdout=log, stderr=log)
        try:

            def answers() -> bool:
                assert process.poll() is None, (tmp_path / "registry.log").read_text()
                try:
                    with urllib.request.urlopen(f"https://{address}/v2/", timeout=5):
                        return True
                except urllib.error.URLError:
                    return False

            wait_for(answers, "the registry to answer")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def fetched(registry: str, reference: str, kind: str) -> tuple[Any, str]:
    """Return a manifest and the digest that the registry knows it by."""
    request = urllib.request.Request(f"https://{registry}/v2/team/{NAME}/manifests/{reference}")
    request.add_header("Accept", kind)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.headers["Content-Type"] == kind
        return json.load(answer), answer.headers["Docker-Content-Digest"]


def test_a_device_of_each_platform_finds_its_image_by_one_name(
    made: Path, registry: str, tmp_path: Path
) -> None:
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f"[storage]\ndriver = 'vfs'\ngraphroot = '{tmp_path / 'storage'}'\nrunroot = '{tmp_path / 'run'}'\n"
    )
    published = subprocess.run(
        [ROOT / "tools/publish"],
        env={
            **os.environ,
            "REGISTRY": f"{registry}/team",
            "DIST": str(made),
            "CONTAINERS_STORAGE_CONF": str(storage),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert published.returncode == 0, published.stdout + published.stderr
    index, digest_of_list = fetched(registry, VERSION, INDEX)
    by_architecture = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    expected = {}
    for name, platform in platforms(ROOT).items():
        manifest, digest = fetched(registry, f"{VERSION}-{name}", MANIFEST)
        assert manifest["layers"]
        expected[platform.architecture] = digest
    assert by_architecture == expected
    lines = (made / "publishing/image-digests.txt").read_text("ascii").splitlines()
    told = [f"sha256:{line.split('  ')[0]}" for line in lines]
    assert sorted(told) == sorted([*expected.values(), digest_of_list])
    assert {line.split("  ")[1] for line in lines} == {f"{registry}/team/{NAME}"}


def test_a_changed_file_is_not_published(made: Path, tmp_path: Path) -> None:
    for path in made.iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    changed = tmp_path / f"serial-host-{VERSION}-win-amd64.cdx.json"
    changed.unlink()
    changed.write_text("{}")
    refused = subprocess.run(
        [ROOT / "tools/publish"],
        env={**os.environ, "REGISTRY": "127.0.0.1:1/team", "DIST": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "serial-host" in refused.stdout + refused.stderr
