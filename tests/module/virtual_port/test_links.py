from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serial_relay.plumbing.inotify import Inotify
from serial_relay.virtual_port.links import LinkDirectory, LinkError
from tests.module.conditions import until

TARGET = Path("/dev/pts/97")
OTHER = Path("/dev/pts/98")
NOBODY = 65534


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
    assert [path.name for path in (tmp_path / "serial-relay").iterdir()] == [".lock"]
    second.close()
    assert not (tmp_path / "serial-relay").exists()


def test_a_link_that_the_directory_does_not_let_go_of_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as name:  # where anybody may look, unlike in `tmp_path`
        directory = Path(name)
        directory.chmod(0o755)
        links = LinkDirectory(directory)
        links.place("ttyVirtS0", TARGET)
        user = os.geteuid()
        if user == 0:
            for path in (directory / "serial-relay", directory / "serial-relay" / ".lock"):
                os.chown(path, NOBODY, NOBODY)
        for path in (directory / "serial-relay", directory):
            path.chmod(0o555)
        if user == 0:
            os.seteuid(NOBODY)  # whom permissions bind
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


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a directory where every user may make files, as /tmp is, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o1777)
        yield directory


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "foreign directory", "writable directory"])
def test_what_stands_in_the_way_is_named_and_nothing_outside_is_touched(shared: Path, kind: str) -> None:
    outside = shared / "outside"
    outside.mkdir()
    (outside / "precious").symlink_to("/dev/null")
    prepared = shared / "serial-relay"
    match kind:
        case "link":
            prepared.symlink_to(outside)
        case "dangling link":
            prepared.symlink_to(shared / "nowhere")
        case "file":
            prepared.write_text("precious")
        case "foreign directory":
            if os.geteuid() != 0:
                pytest.skip("only root can prepare what belongs to another user")
            prepared.mkdir()
            (prepared / "precious").symlink_to("/dev/null")
            os.chown(prepared, NOBODY, NOBODY)
        case "writable directory":
            prepared.mkdir()
            prepared.chmod(0o777)
            (prepared / "precious").symlink_to("/dev/null")
    before = sorted(shared.rglob("*"))
    with pytest.raises(LinkError, match=r"serial-relay .*is in the way: remove it"):
        LinkDirectory(shared)
    assert sorted(shared.rglob("*")) == before


def test_nobody_else_can_keep_a_relay_from_starting(shared: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a second user, whom only root can become")
    ours = shared / "serial-relay"
    ours.mkdir(mode=0o755)
    (ours / ".lock").touch(mode=0o600)  # as after a kill
    code = (
        "import fcntl, os, sys; os.setuid(65534)\n"
        "directory = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(directory, fcntl.LOCK_EX)\n"
        "try: os.open('.lock', os.O_RDONLY, dir_fd=directory)\n"
        "except PermissionError: print('has locked what it can', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(ours)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "has locked what it can\n"
            links = LinkDirectory(shared)
            links.place("a", TARGET)
            links.remove("a", TARGET)
            links.close()
        finally:
            other.stdin.close()
    assert list(shared.iterdir()) == []


def test_of_relays_that_start_and_end_all_the_time_only_one_holds_the_directory(tmp_path: Path) -> None:
    holders, most, taken = 0, 0, 0
    counting = threading.Lock()

    def start_and_end() -> None:
        nonlocal holders, most, taken
        for _ in range(300):
            try:
                links = LinkDirectory(tmp_path)
            except LinkError:
                continue
            with counting:
                holders, taken = holders + 1, taken + 1
                most = max(most, holders)
            with counting:
                holders -= 1
            links.close()

    relays = [threading.Thread(target=start_and_end) for _ in range(4)]
    for relay in relays:
        relay.start()
    for relay in relays:
        relay.join()
    assert most == 1
    assert taken >= 4


async def test_the_owner_of_a_link_is_told_what_others_do_to_it(
    tmp_path: Path, links: LinkDirectory, watches: Inotify
) -> None:
    told: list[str] = []
    links.watch(watches)

    def place(name: str) -> None:
        links.place(name, TARGET, lambda: told.append(name))

    place("a")
    place("b")
    links.place("b", OTHER, lambda: told.append("b"))  # as with each close of an application
    (tmp_path / "unrelated").touch()
    (tmp_path / "unrelated").unlink()
    (tmp_path / "a").unlink()
    await until(lambda: told)
    assert told == ["a"]
    place("a")
    (tmp_path / "serial-relay" / "a").unlink()
    await until(lambda: len(told) == 2)
    place("a")
    (tmp_path / "foreign").symlink_to("/dev/null")
    (tmp_path / "foreign").rename(tmp_path / "a")
    await until(lambda: len(told) == 3)
    assert told == ["a", "a", "a"]
    with pytest.raises(LinkError, match="exists and is not a link of this relay"):
        place("a")


@pytest.mark.parametrize("removed", ["serial-relay", "."])
async def test_a_removed_directory_is_made_again(tmp_path: Path, watches: Inotify, removed: str) -> None:
    directory = tmp_path / "links"
    directory.mkdir()
    links = LinkDirectory(directory)
    links.watch(watches)
    told = asyncio.Event()
    for _ in range(2):  # the second time the new directory is watched
        links.place("a", TARGET, told.set)
        assert os.path.realpath(directory / "a") == str(TARGET)
        told.clear()
        shutil.rmtree(directory / removed)
        async with asyncio.timeout(20):
            await told.wait()
    links.place("a", TARGET)
    with pytest.raises(LinkError, match="another serial relay"):
        LinkDirectory(directory)
    links.remove("a", TARGET)
    links.close()
    assert list(directory.iterdir()) == []
