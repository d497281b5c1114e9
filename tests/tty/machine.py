"""A machine whose kernel has CUSE: user-mode Linux, which runs as an ordinary program and boots in three seconds.

`python -m tests.tty.machine COMMAND ...` runs the command in it as root, and ends with its exit status. The machine's root is
this machine's own file system; what stands below /run, and the devices below /dev, are its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.system.processes import ROOT

_INIT = """#!/bin/sh
export PATH={path} HOME=/run/home TMPDIR=/run/tmp XDG_CACHE_HOME={cache} LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 {variables}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null  # the kernel has done it already if it was built so
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/home /run/tmp /run/lock /run/tests
ip link set lo up
modules=/usr/lib/uml/modules/$(uname -r)/kernel/fs/fuse
insmod $modules/fuse.ko && insmod $modules/cuse.ko
cd {root}
{command} </dev/null
echo $? >{status}
sync
echo o >/proc/sysrq-trigger
sleep 60
"""

_LIMIT = 1800
"""Seconds after which the machine is ended."""


def run(command: list[str]) -> int:
    """Run a command in the machine and return its exit status."""
    kernel = shutil.which("linux.uml")
    if kernel is None:
        print("user-mode Linux is not here: tools/setup tty installs it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tty-machine-") as directory:
        init, status = Path(directory) / "init", Path(directory) / "status"
        script = _INIT.format(
            path=shlex.quote(os.environ["PATH"] + ":/usr/sbin:/sbin"),
            variables=" ".join(
                f"{name}={shlex.quote(os.environ[name])}"
                for name in ("CI", "PYTHONPATH")
                if name in os.environ
            ),
            cache=shlex.quote(os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")),
            root=shlex.quote(str(ROOT)),
            command=shlex.join(command),
            status=shlex.quote(str(status)),
        )
        init.write_text(script, encoding="utf-8")
        init.chmod(0o755)
        arguments = ["mem=768M", "rootfstype=hostfs", "rootflags=/", "rw", f"init={init}"]
        # The machine has one processor, and a change from one of its processes to another is dear between two of ours.
        usable = sorted(os.sched_getaffinity(0))
        one = str(usable[os.getpid() % len(usable)])
        machine = subprocess.Popen(
            ["taskset", "--cpu-list", one, kernel, *arguments, "con=null", "con0=fd:0,fd:1", "quiet"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": directory},
            start_new_session=True,
        )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the machine is not to outlive this program
        try:
            machine.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            print(f"the machine was ended after {_LIMIT} s", file=sys.stderr)
        finally:
            _end(machine)
        try:
            return int(status.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            print("the machine ended before the command did", file=sys.stderr)
            return 1


def _end(machine: subprocess.Popen[bytes]) -> None:
    """End the machine with all its processes, which are processes of this machine too, in a session of their own."""
    try:
        os.killpg(machine.pid, 9)
    except ProcessLookupError:
        return
    machine.wait()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
