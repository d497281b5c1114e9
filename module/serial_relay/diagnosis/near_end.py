"""The near end of a port: its link, its node, the rights to it, and the programs that have it open.

Nothing is opened for that.
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from serial_monitor.steps import Steps
from serial_relay.config import PortConfig
from serial_relay.plumbing.text import escaped

_PTY_MAJORS = range(136, 144)
"""UNIX98_PTY_SLAVE_MAJOR and the seven after it (include/uapi/linux/major.h)."""

_MOST_NAMED = 5
"""Programs that one sentence names."""


def look(steps: Steps, config: PortConfig, link: Path, *, running: bool, applications: bool) -> None:
    """Add the steps of the near end.

    `running` says whether a module of this machine has made the port, and `applications` whether to look for the
    programs that have it open.
    """
    with steps.timed():
        try:
            target = link.resolve(strict=True)
            node = target.stat()
        except (OSError, RuntimeError) as error:
            _no_port(steps, link, error, running=running)
            return
        if not stat.S_ISCHR(node.st_mode):
            steps.failed(
                "link",
                f"{link} leads to {target}, which is not a serial port",
                f"remove {link}, or choose another `link`",
            )
            return
        steps.ok("link", f"{link} leads to {target}")
    kind = "pty" if os.major(node.st_rdev) in _PTY_MAJORS else "tty"
    steps.ok(
        "virtual port",
        f"{target} is a {kind}"
        + ("; it has no modem lines, and parity does not cross it" if kind == "pty" else ""),
    )
    _look_at_rights(steps, config, target, node)
    if applications:
        with steps.timed():
            _look_for_applications(steps, node)


def _no_port(steps: Steps, link: Path, error: Exception, *, running: bool) -> None:
    if not running and not link.is_symlink():
        steps.skipped(
            "link",
            f"no module of this machine makes {link} at present",
            "start the module; for the port of a container run this command in it",
        )
    elif isinstance(error, FileNotFoundError) and link.is_symlink():
        steps.failed(
            "link",
            f"{link} leads nowhere",
            "give the container the bind /dev:/dev, so that it sees /dev/pts of the machine; otherwise restart the module",
        )
    else:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        steps.failed(
            "link", f"{link} is not there: {reason}", "restart the port, which makes the link (restartPort)"
        )


def _look_at_rights(steps: Steps, config: PortConfig, target: Path, node: os.stat_result) -> None:
    mode = stat.S_IMODE(node.st_mode)
    found = f"{target} belongs to user {node.st_uid} and {_group(node.st_gid)}, mode {mode:03o}"
    if node.st_gid != config.gid or mode != config.mode:
        steps.failed(
            "owner and group",
            f"{found}, not to {_group(config.gid)}, mode {config.mode:03o}",
            "let the module's process be in that group (`GroupAdd` in its createOptions), or change `gid`",
        )
    elif node.st_uid != config.uid:
        steps.warning(
            "owner and group",
            f"{found}, not to user {config.uid}",
            "give the module CAP_CHOWN, or let applications use the group",
        )
    elif not mode & (stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH):
        steps.ok("owner and group", f"{found}; only that user and root may open it")
    else:
        steps.ok("owner and group", f"{found}; an application has to be in that group, or be that user")


def _group(gid: int) -> str:
    try:
        return f"group {gid} ({grp.getgrgid(gid).gr_name})"
    except KeyError:
        return f"group {gid}"


def _look_for_applications(steps: Steps, node: os.stat_result) -> None:
    found, hidden = [], False
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            try:
                descriptors = list((process / "fd").iterdir())
            except PermissionError:
                hidden = True
                continue
            except OSError:  # the process has ended
                continue
            if any(_is(descriptor, node) for descriptor in descriptors):
                found.append(f"{_program(process)} (process {process.name})")
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        steps.ok("application", f"{', '.join(found[:_MOST_NAMED])}{more} has the port open")
        return
    limits = " that this user may see" if hidden else ""
    steps.ok(
        "application", f"no program{limits} has the port open; programs of other containers are not seen"
    )


def _is(descriptor: Path, node: os.stat_result) -> bool:
    try:
        # The text of the link is looked at first, because a `stat` on a network's file system can block.
        if not os.readlink(descriptor).startswith("/dev/"):  # noqa: PTH115 - far quicker, and there are thousands
            return False
        opened = descriptor.stat()
    except OSError:  # closed meanwhile
        return False
    return opened.st_rdev == node.st_rdev and opened.st_dev == node.st_dev


def _program(process: Path) -> str:
    try:
        return escaped((process / "comm").read_text(encoding="utf-8", errors="replace").strip())
    except OSError:
        return "a program"
