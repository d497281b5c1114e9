from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serial_relay.virtual_port.links import LinkDirectory, LinkError

TARGET = Path("/dev/pts/97")
OTHER = Path("/dev/pts/98")


def test_link_leads_to_the_target_through_our_directory(tmp_path: Path, links: LinkDirectory) -> None:
    links.place("ttyVirtS0", TARGET)
    assert str((tmp_path / "ttyVirtS0").readlink()) == "serial-relay/ttyVirtS0"
    assert os.path.realpath(tmp_path / "ttyVirtS0") == str(TARGET)


def test_in_dev_the_middle_step_is_relative_so_that_it_holds_in_every_mount_namespace(tmp_path: Path) -> None:
    assert os.path.relpath(TARGET, "/dev/serial-relay") == "../pts/97"


@pytest.mark.parametrize("kind", ["file", "directory", "foreign link", "dangling link"])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, links: LinkDirectory, kind: str) -> None:
    path = tmp_path / "ttyS0"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "foreign link":
            path.symlink_to("/dev/null")
        case "dangling link":
            path.symlink_to("pts/1234567")
    before = path.lstat()
    with pytest.raises(LinkError, match="exists and is not a link of this relay"):
        links.place("ttyS0", TARGET)
    assert path.lstat() == before
    assert not (tmp_path / "serial-relay" / "ttyS0").is_symlink()


def test_a_name_changes_hands_without_a_gap(tmp_path: Path, links: LinkDirectory) -> None:
    links.place("a", TARGET)
    links.place("a", OTHER)
    links.remove("a", TARGET)  # the earlier owner leaves late
    assert os.path.realpath(tmp_path / "a") == str(OTHER)
    links.remove("a", OTHER)
    assert not (tmp_path / "a").is_symlink()


def test_links_of_a_killed_process_are_removed_at_start_and_others_stay(tmp_path: Path) -> None:
    first = LinkDirectory(tmp_path)
    first.place("stale", TARGET)
    first.place("half", TARGET)
    (tmp_path / "serial-relay" / "half").unlink()
    (tmp_path / "serial-relay" / "orphan").symlink_to("../pts/3")
    (tmp_path / "foreign").symlink_to("/dev/null")
    (tmp_path / "file").write_text("precious")
    first.close()  # a kill closes descriptors too, and removes nothing
    second = LinkDirectory(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "foreign", "serial-relay"]
    assert list((tmp_path / "serial-relay").iterdir()) == []
    second.close()
    assert not (tmp_path / "serial-relay").exists()


def test_a_link_that_the_directory_does_not_let_go_of_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as name:  # where anybody may look, unlike in `tmp_path`
        directory = Path(name)
        directory.chmod(0o755)
        links = LinkDirectory(directory)
        links.place("ttyVirtS0", TARGET)
        user = os.geteuid()
        for path in (directory / "serial-relay", directory):
            path.chmod(0o555)
        if user == 0:
            os.seteuid(65534)  # whom permissions bind
        try:
            links.remove("ttyVirtS0", TARGET)
            links.close()
            links = LinkDirectory(directory)  # where the link is a stale one
        finally:
            os.seteuid(user)
            for path in (directory, directory / "serial-relay"):
                path.chmod(0o755)
        assert caplog.text.count("ttyVirtS0: Permission denied") >= 2
        assert (directory / "ttyVirtS0").is_symlink()
        links.remove("ttyVirtS0", TARGET)
        links.close()
        assert list(directory.iterdir()) == []


def test_one_directory_has_one_relay(tmp_path: Path, links: LinkDirectory) -> None:
    with pytest.raises(LinkError, match="another serial relay"):
        LinkDirectory(tmp_path)


def test_the_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from serial_relay.virtual_port.links import LinkDirectory;"
        "d = LinkDirectory(pathlib.Path(sys.argv[1])); d.place('x', pathlib.Path('/dev/pts/97')); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "x").is_symlink()
    LinkDirectory(tmp_path).close()
    assert not (tmp_path / "x").is_symlink()


def test_a_directory_that_does_not_exist_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"cannot make links in .*/nowhere: No such file"):
        LinkDirectory(tmp_path / "nowhere")
