"""Writes an image as a tar that is the same, byte for byte, whenever the image is the same.

The tar is an OCI image layout (image-spec, "Image Layout") with the `manifest.json` of `docker save` beside it, so that
`docker load` of every version, `podman load` and `skopeo copy oci-archive:…` all take it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from release.builder import STORE, run

_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

Json = dict[str, Any]


def write(image: str, path: Path, *, reference: str, architecture: str, epoch: int) -> str:
    """Write the image named `image` in the builder's store to `path`; it calls itself `reference` when it is loaded.

    The configuration stays as Docker wrote it, because it holds the health command, which Docker also reads from an OCI
    image although the specification does not name it.

    Returns:
        The digest of the image's manifest, by which a registry will know it.

    Raises:
        ReleaseError: buildah could not export the image.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        exported = Path(directory) / "image"
        run("buildah", *STORE, "push", "--format", "v2s2", "--quiet", image, f"dir:{exported}")
        theirs = json.loads((exported / "manifest.json").read_text("utf-8"))
        blobs = [theirs["config"]["digest"], *(layer["digest"] for layer in theirs["layers"])]
        files = {_place(digest): (exported / digest.partition(":")[2]).read_bytes() for digest in blobs}
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {**theirs["config"], "mediaType": _CONFIG},
            "layers": [{**layer, "mediaType": _LAYER} for layer in theirs["layers"]],
        }
    )
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    described = {
        "mediaType": _MANIFEST,
        "digest": digest,
        "size": len(manifest),
        "platform": {"os": "linux", "architecture": architecture},
        # The second is what skopeo and podman look for; the first is what containerd and `docker load` look for.
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        },
    }
    files[_place(digest)] = manifest
    files["index.json"] = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]})
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    places = [_place(blob) for blob in blobs]
    files["manifest.json"] = _json([{"Config": places[0], "RepoTags": [reference], "Layers": places[1:]}])
    _write_tar(path, files, epoch)
    return digest


def files_of(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the files of the image in an archive whose names `wanted` (a predicate) accepts, as they are in the end.

    A layer's whiteouts (image-spec, "Image Layer Filesystem Changeset") remove what the layers below it hold.
    """
    found: dict[str, bytes] = {}
    with tarfile.open(path) as outer:
        [entry] = json.load(_extract(outer, "manifest.json"))
        for place in entry["Layers"]:
            with tarfile.open(fileobj=_extract(outer, place)) as layer:
                members = {member.name.removeprefix("./").strip("/"): member for member in layer}
                for name in members:
                    _apply_whiteout(found, name)
                for name, member in members.items():
                    if member.isfile() and not _is_whiteout(name) and wanted(name):
                        content = layer.extractfile(member)
                        found[name] = content.read() if content else b""
    return found


def _is_whiteout(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".wh.")


def _apply_whiteout(found: dict[str, bytes], name: str) -> None:
    """Remove what the layers below hold, if `name` is a whiteout."""
    folder, _, file = name.rpartition("/")
    if file == ".wh..wh..opq":
        _remove_below(found, folder)
    elif _is_whiteout(name):
        hidden = f"{folder}/{file.removeprefix('.wh.')}".strip("/")
        found.pop(hidden, None)
        _remove_below(found, hidden)


def _remove_below(found: dict[str, bytes], folder: str) -> None:
    for name in [name for name in found if name.startswith(f"{folder}/")]:
        del found[name]


def _extract(outer: tarfile.TarFile, name: str) -> io.BytesIO:
    file = outer.extractfile(name)
    return io.BytesIO(file.read() if file else b"")


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(value: Json | list[Json]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _write_tar(path: Path, files: dict[str, bytes], epoch: int) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mtime = epoch
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
