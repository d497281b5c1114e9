"""The built bundle: what is in the zip, and that Windows' Python runs from it alone."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from bundle import contents
from bundle.errors import BuildError
from tests.windows.conftest import build, run_builder
from tests.windows.wine import Wine

pytestmark = pytest.mark.windows


@pytest.fixture(scope="module")
def files(bundle: Path) -> dict[str, bytes]:
    """What is in the zip, below its one top folder."""
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        [top] = {name.split("/")[0] for name in names}
        assert bundle.name.startswith(top)
        return {name.removeprefix(top + "/"): archive.read(name) for name in names}


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_builds_are_equal_byte_for_byte(bundle: Path, tmp_path: Path) -> None:
    build(tmp_path)
    with zipfile.ZipFile(bundle) as one, zipfile.ZipFile(tmp_path / bundle.name) as other:
        assert one.namelist() == other.namelist()
        assert [name for name in one.namelist() if one.read(name) != other.read(name)] == []
    assert digest_of(tmp_path / bundle.name) == digest_of(bundle)
    digest, name = Path(f"{bundle}.sha256").read_text().split(" *")
    assert name.strip() == bundle.name
    assert digest == digest_of(bundle)


def test_the_tree_is_understood_at_a_look(files: dict[str, bytes]) -> None:
    assert sorted({name.split("/")[0] for name in files}) == [
        "Install-SerialHost.ps1",
        "README.txt",
        "Uninstall-SerialHost.ps1",
        "app",
        "licences",
        "packages",
        "runtime",
        "scheduled-task-helper.ps1",
        "serial-host.cmd",
        "serial-host.sample.toml",
        "serial-host.schema.json",
        "setup",
    ]


def test_each_part_has_its_licence(files: dict[str, bytes]) -> None:
    listed = files["licences/CONTENTS.txt"].decode().split("\r\n\r\n")[0].split("\r\n")
    for part in (line.split()[0] for line in listed):
        text = files[f"licences/{part.lower() if part == 'CPython' else part}.txt"]
        assert len(text) > 500, part
    for library in ("openssl", "libffi", "bzip2", "xz", "expat", "libmpdec", "zlib", "microsoft"):
        assert files[f"licences/{library}.txt"]
    wheels = {name.split("/")[1] for name in files if name.startswith("packages/") and ".dist-info/" in name}
    assert len(listed) == len(wheels) + 2


def test_a_missing_dll_would_fail_the_build(files: dict[str, bytes]) -> None:
    contents.require_dlls(files)
    for dll in ("python3.dll", "python311.dll", "libffi-8.dll", "VCRUNTIME140.dll"):
        with pytest.raises(BuildError, match=rf"(?i)needs {dll}, which is neither"):
            contents.require_dlls(
                {name: content for name, content in files.items() if name != f"runtime/{dll}"}
            )


def test_a_given_runtime_replaces_the_assembled_one(files: dict[str, bytes], tmp_path: Path) -> None:
    package = tmp_path / "python-3.11.9-embed-amd64.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for name, content in files.items():
            if name.startswith("runtime/") and not name.startswith("runtime/Lib/"):
                archive.writestr(name.removeprefix("runtime/"), content)
        archive.writestr("python311.zip", b"")
        archive.writestr("LICENSE.txt", files["licences/cpython.txt"])
    refused = run_builder("--out", tmp_path, "--runtime", package, "--runtime-sha256", "0" * 64)
    assert refused.returncode == 1
    assert "--runtime-sha256 must be the publisher's" in refused.stderr
    assert not list(tmp_path.glob("serial-host-*"))

    digest = digest_of(package)
    build(tmp_path, "--runtime", package, "--runtime-sha256", digest)
    [made] = tmp_path.glob("serial-host-*.zip")
    with zipfile.ZipFile(made) as archive:
        names = {name.split("/", 1)[1] for name in archive.namelist()}
    assert {"runtime/python311.zip", "runtime/python3.dll", "app/serial_host/__main__.py"} <= names
    assert not [name for name in names if name.startswith("runtime/Lib/")]


def test_only_the_bundle_is_on_pythons_path(
    wine: Wine, program_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a file beside the user was imported')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('the environment was used')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", wine.windows_path(tmp_path))
    monkeypatch.setenv("PYTHONHOME", wine.windows_path(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", wine.windows_path(tmp_path / "json.py"))
    show = "import json, sys; print(json.dumps([sys.version, sys.path, sys.flags.isolated]))"
    shown = wine.run(program_folder / "runtime" / "python.exe", "-I", "-c", show)
    version, path, isolated = json.loads(shown.stdout)
    folder = "C:\\Program Files\\SerialHost"
    assert version.startswith("3.11.9 ")
    assert "MSC" in version
    assert [entry.removeprefix(wine.windows_path(program_folder)).removeprefix(folder) for entry in path] == [
        r"\runtime\Lib",
        r"\runtime",
        r"\app",
        r"\packages",
    ]
    assert isolated == 1


def test_every_module_of_ours_can_be_imported(wine: Wine, program_folder: Path) -> None:
    app = program_folder / "app"
    names = {
        ".".join(path.relative_to(app).with_suffix("").parts).removesuffix(".__init__")
        for path in app.rglob("*.py")
        if not path.stem.endswith("_posix") and path.stem not in ("__main__", "com_port_descriptor")
    }
    assert {"serial_host.com_port.driver_windows", "rfc2217.connection"} <= names
    imports = f"import {', '.join(sorted(names))}, ssl, pymodbus.client; print('imported')"
    assert wine.run(program_folder / "runtime" / "python.exe", "-I", "-c", imports).stdout.splitlines() == [
        "imported"
    ]


def test_the_command_starts_it_from_any_folder(
    wine: Wine, program_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    command = r"C:\Program Files\SerialHost\serial-host.cmd"
    version = (program_folder / "README.txt").read_text().split()[1]
    assert wine.run("cmd", "/c", command, "--version").stdout.split() == ["serial_host", version]

    # cmd /c takes one quoted word at most, so the second path has no blanks.
    sample = tmp_path / "sample.toml"
    sample.write_bytes((program_folder / "serial-host.sample.toml").read_bytes())
    checked = wine.run("cmd", "/c", command, "check", wine.windows_path(sample), "--json")
    [port] = json.loads(checked.stdout)["ports"]
    assert (port["device"], port["tcpPort"], port["protocol"]) == ("COM3", 5002, "raw")


def test_a_wrong_configuration_ends_with_its_reason(wine: Wine, program_folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[ports]]\ndevice = 'COM3'\ntcp_port = 70000\n")
    python = program_folder / "runtime" / "python.exe"
    ended = wine.run(python, "-I", "-m", "serial_host", "check", wine.windows_path(wrong))
    assert ended.returncode == 2
    assert "tcp_port: expected a TCP port" in ended.stdout


def test_a_missing_call_of_the_system_is_named_in_one_line(wine: Wine, program_folder: Path) -> None:
    # wine's cfgmgr32 lacks what pyserial's list of ports needs.
    ended = wine.run(program_folder / "runtime" / "python.exe", "-I", "-m", "serial_host", "list")
    assert ended.returncode == 1
    [line] = ended.stdout.splitlines()
    assert "the COM ports cannot be listed: AttributeError: function 'CM_" in line
