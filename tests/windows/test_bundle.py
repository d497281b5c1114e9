"""What the bundle's builder promises, as far as it needs neither the Python index nor wine."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import os
import re
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest

from bundle import archive, contents, licences, pe, runtime, wheels
from bundle.__main__ import REQUIREMENTS, main
from bundle.errors import BuildError
from serial_host.configuration import config_file

TEXTS = list(contents.for_the_administrator().values())


def test_equal_files_make_equal_zips(tmp_path: Path) -> None:
    one, other = tmp_path / "one" / "b.zip", tmp_path / "other" / "b.zip"
    digest = archive.write(one, {"b": b"2", "a/c": b"1"})
    archive.write(other, {"a/c": b"1", "b": b"2"})
    os.utime(one, (0, 0))

    assert one.read_bytes() == other.read_bytes()
    assert digest == hashlib.sha256(one.read_bytes()).hexdigest()
    assert Path(f"{one}.sha256").read_bytes() == f"{digest} *b.zip\n".encode()
    with zipfile.ZipFile(one) as written:
        assert written.namelist() == ["a/c", "b"]
        assert {entry.external_attr >> 16 for entry in written.infolist()} == {0o100644}


def test_each_wheel_of_the_bundle_is_pinned_by_hash() -> None:
    for requirements in (REQUIREMENTS, runtime.ASSEMBLED_FROM):
        pins = wheels.pins(requirements, "win32")
        assert pins
        assert all(pin.hashes for pin in pins)


def test_a_version_without_its_hash_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    digests = [character * 64 for character in "ab"]
    plain.write_text(
        f'one==1.0 \\\n    --hash=sha256:{digests[0]} \\\n    --hash=sha256:{digests[1]}\n    # via other\nTwo_parts==2.0\nlinux==3 ; sys_platform != "win32"\n'
    )
    assert [tuple(pin) for pin in wheels.pins(plain, "win32")] == [
        ("one", "1.0", {*digests}),
        ("two-parts", "2.0", set()),
    ]
    with pytest.raises(BuildError, match="two-parts has no --hash"):
        wheels.fetch(plain, tmp_path, python_version="3.11")


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


EMBEDDABLE = {
    "python.exe": b"program",
    "python3.dll": b"forwarder",
    "python314.dll": b"MZ" + "FileVersion\0\x003.14.8\0\x36\x07ProductVersion".encode("utf-16-le") + b"\0",
    "python314.zip": b"standard library",
    "python314._pth": b"python314.zip\r\n.\r\n",
    "LICENSE.txt": b"PSF",
}
"""A stand-in for python.org's embeddable package, which no test downloads: the files of it that matter here."""


def test_a_runtime_is_taken_only_with_its_publishers_hash(tmp_path: Path) -> None:
    package = zip_of(tmp_path / "python-3.14.8-embed-amd64.zip", EMBEDDABLE)
    actual = hashlib.sha256(package.read_bytes()).hexdigest()
    for wrong in (None, "0" * 64):
        with pytest.raises(BuildError, match=actual):
            runtime.given(package, wrong)

    taken = runtime.given(package, actual.upper())
    assert taken.files["python.exe"] == b"program"
    assert taken.licence == b"PSF"
    assert (taken.version, taken.minor_version) == ("3.14.8", "3.14")
    assert taken.files["python314._pth"].decode().split() == ["python314.zip", ".", r"..\app", r"..\packages"]


def test_what_a_release_takes_from_python_org() -> None:
    """One file of python.org for 64-bit Windows, by its hash."""
    [line] = [line for line in runtime.EMBEDDABLE.read_text("ascii").splitlines() if not line.startswith("#")]
    url, digest = line.split()
    found = re.fullmatch(
        r"https://www\.python\.org/ftp/python/(3\.\d+\.\d+)/python-(\d.*)-embed-amd64\.zip", url
    )
    assert found is not None
    assert found[1] == found[2]
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_the_package_is_downloaded_once_and_another_file_is_refused(tmp_path: Path) -> None:
    """The stand-in lies behind a web server on this machine."""
    package = zip_of(tmp_path / "python-3.14.8-embed-amd64.zip", EMBEDDABLE)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/{package.name}"
            listing, other, missing = (tmp_path / name for name in ("listing", "other", "missing"))
            listing.write_text(f"# a comment\n{address} {digest}\n")
            other.write_text(f"{address} {'0' * 64}\n")
            missing.write_text(f"{address}.no {digest}\n")
            assert runtime.from_python_org(tmp_path / "cache", listing).version == "3.14.8"
            with pytest.raises(BuildError, match="publisher's SHA-256"):
                runtime.from_python_org(tmp_path / "another", other)
            with pytest.raises(BuildError, match=r"cannot be had .*404"):
                runtime.from_python_org(tmp_path / "cache", missing)
        finally:
            server.shutdown()
    assert runtime.from_python_org(tmp_path / "cache", listing).licence == b"PSF"


def test_a_dll_that_states_no_version_is_refused(tmp_path: Path) -> None:
    package = zip_of(tmp_path / "p.zip", {**EMBEDDABLE, "python314.dll": b"MZ"})
    with pytest.raises(BuildError, match="does not state its version"):
        runtime.given(package, hashlib.sha256(package.read_bytes()).hexdigest())


def test_a_runtime_in_a_folder(tmp_path: Path) -> None:
    for name, content in {**EMBEDDABLE, "Lib/os.py": b"", "Lib/__pycache__/os.pyc": b"x"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    expected = runtime.folder_digest({**EMBEDDABLE, "Lib/os.py": b""})
    files = runtime.given(tmp_path, expected).files
    assert "Lib/__pycache__/os.pyc" not in files
    assert files["python314._pth"].decode().split()[:2] == ["python314.zip", "Lib"]


@pytest.mark.parametrize("missing", ["python.exe", "python314.dll", "LICENSE.txt"])
def test_what_a_runtime_must_have(tmp_path: Path, missing: str) -> None:
    package = zip_of(tmp_path / "p.zip", {name: b"" for name in EMBEDDABLE if name != missing})
    with pytest.raises(BuildError, match=re.escape(missing.replace("314", "3XY"))):
        runtime.given(package, hashlib.sha256(package.read_bytes()).hexdigest())


def test_neither_folder_nor_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "python.tar"
    path.write_bytes(b"tar")
    assert main(["--runtime", str(path), "--out", str(tmp_path)]) == 1
    assert "neither a folder nor a zip" in capsys.readouterr().err


def test_a_standard_library_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "os.py").touch()
    with pytest.raises(BuildError, match="not the standard library of CPython"):
        runtime.standard_library(tmp_path)


def test_what_of_the_standard_library_goes_along() -> None:
    files = runtime.standard_library(Path(os.__file__).parent)
    assert {"os.py", "asyncio/windows_events.py", "tomllib/__init__.py", "ctypes/wintypes.py"} <= files.keys()
    assert not [
        name for name in files if re.match(r"(test|idlelib|site-packages|tkinter|__pycache__)/", name)
    ]
    assert all(name.endswith(".py") for name in files)


def test_a_part_without_a_licence_fails_the_build() -> None:
    metadata = {"odd-1.0.dist-info/METADATA": b"Name: odd\nVersion: 1.0\n"}
    with pytest.raises(BuildError, match=r"odd has no licence file: put .*odd\.txt"):
        licences.collect(metadata, binaries=[])

    parts, texts = licences.collect(
        {**metadata, "odd-1.0.dist-info/licenses/LICENSE": b"MIT"}, binaries=["_bz2.pyd"]
    )
    assert parts == [("odd", "1.0", "see its file")]
    assert texts["odd.txt"] == b"MIT"
    assert b"Seward" in texts["bzip2.txt"]
    assert texts.keys() == {"odd.txt", "bzip2.txt"}


@pytest.mark.parametrize("content", [b"", b"MZ", b"MZ" + bytes(62) + b"not PE" * 20])
def test_what_is_no_windows_program(content: bytes) -> None:
    with pytest.raises(BuildError, match=r"x\.dll is"):
        pe.Image("x.dll", content)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_texts_suit_every_windows_code_page(path: Path) -> None:
    assert path.read_bytes().isascii()
    made = contents.for_windows(path, "9.8.7").decode("ascii")
    assert made.endswith("\r\n")
    assert made.count("\n") == made.count("\r\n")
    assert "@VERSION@" not in made


def test_the_readme_is_one_page() -> None:
    lines = (contents.FOR_THE_ADMINISTRATOR / "README.txt").read_text().splitlines()
    assert len(lines) <= 60
    named = re.findall(r"[\w.-]+\.(?:ps1|cmd|toml)", "\n".join(lines))
    ours = {path.name for path in TEXTS} | {"my-ports.toml", "serial-host.toml"}
    assert set(named) <= ours


def test_the_sample_configuration_shows_each_setting_with_its_default() -> None:
    text = (contents.FOR_THE_ADMINISTRATOR / "serial-host.sample.toml").read_text()
    [port] = config_file.parse(tomllib.loads(text), "sample").ports
    assert (port.device, port.tcp_port) == ("COM3", 5002)

    commented = dict(re.findall(r"^# (\w+) = (.+)$", text.split("# [[ports]]")[0], re.MULTILINE))
    fields = {field.name for field in dataclasses.fields(port)}
    assert commented.keys() == fields - {"device", "match", "tcp_port"}
    everything = text + "".join(f"{key} = {value}\n" for key, value in commented.items())
    [shown] = config_file.parse(tomllib.loads(everything), "sample").ports
    examples = {"listen", "allow"}
    assert shown == dataclasses.replace(port, **{key: getattr(shown, key) for key in examples})

    [by_usb] = config_file.parse(
        tomllib.loads(
            re.sub(
                r"^# (?=(\[\[|match|tcp_port|baud|parity))",
                "",
                text.split("shows these:\n")[1],
                flags=re.MULTILINE,
            )
        ),
        "sample",
    ).ports
    assert str(by_usb.match) == "0403:6001 A12345"
