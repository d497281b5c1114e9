"""Names for virtual ports: `/dev/<link> -> serial-relay/<link> -> ../pts/N`, and never over something not ours.

The middle step marks a link as ours: `/dev/serial-relay` belongs to this program, so a dangling link can be told
from somebody else's after a kill, when its number may already be somebody's shell. The outer link never changes
once it stands, so it is made by `symlink`, which refuses to replace anything; only the middle one is replaced, by
`rename`, which is atomic.

Other users may be able to write to the link directory (`LINK_DIR=/tmp`). So `serial-relay` is used only if it is a
directory that this process's user owns and nobody else can write to, it is never followed as a link, and everything in
it is reached through its descriptor. The lock in it is a file that nobody else can open.

What somebody removes is told to the owner of the link, who places it again; `place` makes removed directories again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from serial_relay.plumbing import inotify
from serial_relay.plumbing.inotify import Inotify

log = logging.getLogger(__name__)

_DIRECTORY = "serial-relay"
_LOCK = ".lock"
"""No link has this name, and no replacement of one (`.<link>.new`)."""

_ATTEMPTS = 20
"""Times that the directory is made: each failure needs a relay that ends in that very moment."""

_REMOVED = inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF
_REPLACED = inotify.IN_MOVED_TO


class LinkError(Exception):
    """The link cannot be made; the text says why and what to do."""


class LinkDirectory:
    """The links below one directory (`/dev`), held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Take the directory over and remove what an earlier process left behind.

        Raises:
            LinkError: it is not writable, something is in the way, or another serial relay holds it.
        """
        self._path = path
        self._wanted: dict[str, tuple[Path, Callable[[], None]]] = {}
        """The target of each link that was placed, and the function to call when it no longer stands."""
        self._watches: Inotify | None = None
        self._watched: list[int] = []
        self._ours, self._lock = self._take()
        self._remove_stale()

    def path(self, name: str) -> Path:
        """Return the path that applications open."""
        return self._path / name

    def watch(self, watches: Inotify) -> None:
        """Tell the owners of links that somebody removed; `watches` is for these two directories alone."""
        self._watches = watches
        self._watch_directories()

    def place(self, name: str, target: Path, removed: Callable[[], None] = lambda: None) -> None:
        """Make the link, or point it at another target; `removed` is called when somebody has removed or replaced it.

        Raises:
            LinkError: something that is not ours has that name, or the directory refuses.
        """
        try:
            if not self._stands():
                self._take_again()
            self._place(name, target)
        except OSError as error:
            raise LinkError(f"cannot make the link {self.path(name)}: {error.strerror}") from error
        self._wanted[name] = target, removed

    def is_of_another(self, name: str, removed: Callable[[], None]) -> bool:
        """Return whether another owner, who is known by its function `removed`, has placed this link meanwhile."""
        return name in self._wanted and self._wanted[name][1] != removed

    def remove(self, name: str, target: Path) -> None:
        """Remove the link if it still leads to `target`; another port may have taken the name over."""
        if self._wanted.get(name, (target,))[0] == target:
            self._wanted.pop(name, None)
        if self._read_middle(name) == self._relative(target):
            self._remove(name)

    def close(self) -> None:
        """Remove the directory if it is empty, then release it: a relay that starts meanwhile makes a new one."""
        self._unwatch()
        self._wanted.clear()
        if self._stands():
            with contextlib.suppress(OSError):
                os.unlink(_LOCK, dir_fd=self._ours)
            with contextlib.suppress(OSError):  # not empty: somebody keeps files there
                (self._path / _DIRECTORY).rmdir()
        self._release()

    # The directory of our own, and its lock.

    def _take(self) -> tuple[int, int]:
        """Make the directory or take over the one that is there; return its descriptor and that of its lock.

        Raises:
            LinkError: see `__init__`.
        """
        path = self._path / _DIRECTORY
        try:
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(FileExistsError):
                    path.mkdir(mode=0o755)
                with contextlib.suppress(FileNotFoundError):  # another relay removes it in this moment
                    return _open_and_lock(path)
        except NotADirectoryError as error:
            raise _in_the_way(path, "is not a directory") from error
        except BlockingIOError as error:
            raise LinkError(
                f"another serial relay makes the links in {self._path}: stop it, or give this one another LINK_DIR"
            ) from error
        except OSError as error:
            raise LinkError(
                f"cannot make links in {self._path}: {error.strerror}; the process needs write access to it"
                " (in a container: the bind /dev:/dev), or LINK_DIR names another directory"
            ) from error
        raise LinkError(f"cannot make links in {self._path}: {path} is removed again and again")

    def _release(self) -> None:
        os.close(self._lock)
        os.close(self._ours)

    def _stands(self) -> bool:
        """Return whether the directory that is held here is still the one at its place, with its lock."""
        try:
            held, present = os.fstat(self._ours), os.lstat(self._path / _DIRECTORY)
            return os.path.samestat(held, present) and os.fstat(self._lock).st_nlink > 0
        except OSError:
            return False

    def _take_again(self) -> None:
        """Make what somebody removed again, the link directory itself included.

        Raises:
            LinkError, OSError: that is not possible (now).
        """
        with contextlib.suppress(FileExistsError):
            self._path.mkdir(mode=0o755)
        taken = self._take()
        self._release()
        self._ours, self._lock = taken
        log.warning("made %s again, which somebody had removed", self._path / _DIRECTORY)
        self._watch_directories()
        self._tell_owners()

    # Links.

    def _place(self, name: str, target: Path) -> None:
        replacement = f".{name}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(replacement, dir_fd=self._ours)
        os.symlink(self._relative(target), replacement, dir_fd=self._ours)
        os.rename(replacement, name, src_dir_fd=self._ours, dst_dir_fd=self._ours)
        try:
            self.path(name).symlink_to(f"{_DIRECTORY}/{name}")
        except FileExistsError:
            if not self._is_ours(name):
                os.unlink(name, dir_fd=self._ours)
                raise LinkError(
                    f"{self.path(name)} exists and is not a link of this relay; choose another `link` or remove it"
                ) from None

    def _relative(self, target: Path) -> str:
        return os.path.relpath(target, self._path / _DIRECTORY)

    def _is_ours(self, name: str) -> bool:
        return _read_link(self.path(name)) == f"{_DIRECTORY}/{name}"

    def _read_middle(self, name: str) -> str | None:
        return _read_link(name, self._ours)

    def _remove_stale(self) -> None:
        for entry in [*os.listdir(self._ours), *os.listdir(self._path)]:  # noqa: PTH208 - one is a descriptor
            self._remove(entry)

    def _remove(self, name: str) -> None:
        """Remove both steps.

        A refusal is only a warning, because the end of a port, or a start, has to go on nevertheless.
        """
        try:
            if self._is_ours(name):
                self.path(name).unlink(missing_ok=True)
            if self._read_middle(name) is not None:
                os.unlink(name, dir_fd=self._ours)
        except OSError as error:
            log.warning("cannot remove the link %s: %s", self.path(name), error.strerror)

    # Changes by others.

    def _watch_directories(self) -> None:
        if self._watches is None:
            return
        self._unwatch()
        for path, mask in ((self._path, _REMOVED | _REPLACED), (self._path / _DIRECTORY, _REMOVED)):
            try:
                self._watched.append(self._watches.watch(path, mask, self._touched))
            except OSError as error:
                log.warning(
                    "cannot watch %s: %s; links that somebody removes there are not made again",
                    path,
                    error.strerror,
                )

    def _unwatch(self) -> None:
        if self._watches is not None:
            for descriptor in self._watched:
                self._watches.unwatch(descriptor)
        self._watched.clear()

    def _touched(self, mask: int, name: str) -> None:
        """Check what an event is about: one link, or everything."""
        if mask and name and name != _DIRECTORY:
            self._tell_owner(name)
        else:
            self._tell_owners()

    def _tell_owners(self) -> None:
        for name in tuple(self._wanted):
            self._tell_owner(name)

    def _tell_owner(self, name: str) -> None:
        target, removed = self._wanted.get(name, (None, None))
        if target is None or removed is None:
            return
        if not (self._stands() and self._is_ours(name) and self._read_middle(name) == self._relative(target)):
            removed()


def _open_and_lock(path: Path) -> tuple[int, int]:
    """Open a directory and lock it by a file in it; return both descriptors.

    Raises:
        FileNotFoundError: another relay has removed one of them meanwhile.
        BlockingIOError: another relay has the lock.
        OSError: it is not a directory, or this process may not do that.
        LinkError: others may change what is in it.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_owner(path, os.fstat(directory))
        lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_same(os.fstat(lock), os.stat(_LOCK, dir_fd=directory, follow_symlinks=False))
        except BaseException:
            os.close(lock)
            raise
    except BaseException:
        os.close(directory)
        raise
    return directory, lock


def _check_same(locked: os.stat_result, present: os.stat_result) -> None:
    """Raise `FileNotFoundError` if the file that was locked is not the one that is there now."""
    if not os.path.samestat(locked, present):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Raise `LinkError` if others than this process's user can change what is in the directory."""
    if status.st_uid != os.geteuid():
        raise _in_the_way(path, f"belongs to the user {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _in_the_way(path, "can be written to by other users")


def _in_the_way(path: Path, what: str) -> LinkError:
    return LinkError(f"{path} {what} and is in the way: remove it, or let LINK_DIR name another directory")


def _read_link(path: Path | str, directory: int | None = None) -> str | None:
    try:
        return os.readlink(path, dir_fd=directory)
    except OSError:
        return None
