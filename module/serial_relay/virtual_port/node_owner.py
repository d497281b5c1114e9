"""Owner, group and mode of a virtual port's node, as they are configured."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_WHAT_TO_DO = (
    " (in a container: GroupAdd lets it give the port to a group, CapAdd CHOWN to any user or group)"
)


class NodeOwner:
    """Gives nodes to their owner, and logs each thing that goes wrong with a port's nodes once."""

    def __init__(self, uid: int, gid: int, mode: int) -> None:
        self._owner = uid, gid, mode
        self._warned: set[str] = set()
        """The warnings that were logged since the last change of the owner."""

    def change(self, uid: int, gid: int, mode: int) -> None:
        """Let this be the owner of the nodes that are given from now on."""
        self._owner = uid, gid, mode
        self._warned.clear()

    def give(self, node: Path) -> None:
        """Set owner, group and mode of a node; what the system refuses is a warning, not an error.

        A change to a group that the process is in needs no capability, a change to another user needs CAP_CHOWN,
        which hardened hosts take from every module.
        """
        uid, gid, mode = self._owner
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            (f"group {gid}", lambda: os.chown(node, -1, gid)),
            (f"mode {mode:o}", lambda: node.chmod(mode)),
            (f"owner {uid}", lambda: os.chown(node, uid, -1)),
        )
        for wanted, step in steps:
            try:
                step()
            except OSError as error:
                self.warn(node, f"cannot set {wanted}: {error.strerror}{_WHAT_TO_DO}")

    def warn(self, node: Path, what: str) -> None:
        """Log a warning, unless the same was said before."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s: %s", node, what)
