"""Names for virtual ports: `/dev/<link> -> serial-relay/<link> -> ../pts/N`, and never over something not ours.

The middle step marks a link as ours: `/dev/serial-relay` belongs to this program, so a dangling link can be told
from somebody else's after a kill, when its number may already be somebody's shell. The outer link never changes
once it stands, so it is made by `symlink`, which refuses to replace anything; only the middle one is replaced, by
`rename`, which is atomic.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

_DIRECTORY = "serial-relay"


class LinkError(Exception):
    """The link cannot be made; the text says why and what to do."""


class LinkDirectory:
    """The links below one directory (`/dev`), held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Take the directory over and remove what an earlier process left behind.

        Raises:
            LinkError: it is not writable, or another serial relay holds it.
        """
        self._path = path
        self._ours = path / _DIRECTORY
        try:
            self._ours.mkdir(mode=0o755, exist_ok=True)
            self._lock = os.open(self._ours, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LinkError(
                f"cannot make links in {path}: {error.strerror}; the process needs write access to it"
                " (in a container: the bind /dev:/dev), or LINK_DIR names another directory"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise LinkError(
                f"another serial relay makes the links in {path}: stop it, or give this one another LINK_DIR"
            ) from error
        self._remove_stale()

    def path(self, name: str) -> Path:
        """What applications open."""
        return self._path / name

    def place(self, name: str, target: Path) -> None:
        """Make the link, or point it at another target.

        Raises:
            LinkError: something that is not ours has that name, or the directory refuses.
        """
        middle = self._ours / name
        replacement = self._ours / f".{name}"
        try:
            replacement.unlink(missing_ok=True)
            replacement.symlink_to(os.path.relpath(target, self._ours))
            replacement.rename(middle)
            try:
                self.path(name).symlink_to(f"{_DIRECTORY}/{name}")
            except FileExistsError:
                if not self._is_ours(name):
                    middle.unlink()
                    raise LinkError(
                        f"{self.path(name)} exists and is not a link of this relay; choose another `link`"
                        " or remove it"
                    ) from None
        except OSError as error:
            raise LinkError(f"cannot make the link {self.path(name)}: {error.strerror}") from error

    def remove(self, name: str, target: Path) -> None:
        """Remove the link if it still leads to `target`; another port may have taken the name over."""
        middle = self._ours / name
        if _read_link(middle) == os.path.relpath(target, self._ours):
            self._remove(name)

    def close(self) -> None:
        """Release the directory; it is removed if it is empty."""
        os.close(self._lock)
        with contextlib.suppress(OSError):  # not empty: somebody keeps files there
            self._ours.rmdir()

    def _is_ours(self, name: str) -> bool:
        return _read_link(self.path(name)) == f"{_DIRECTORY}/{name}"

    def _remove_stale(self) -> None:
        for entry in [*self._ours.iterdir(), *self._path.iterdir()]:
            self._remove(entry.name)

    def _remove(self, name: str) -> None:
        """Remove both steps; a refusal is a warning: a port that is to end, or a start, has to go on all the same."""
        try:
            if self._is_ours(name):
                self.path(name).unlink(missing_ok=True)
            middle = self._ours / name
            if middle.is_symlink():
                middle.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot remove the link %s: %s", self.path(name), error.strerror)


def _read_link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:
        return None
