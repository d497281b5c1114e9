"""Containers for tests, run by podman and runc as a device's Docker would run them.

For: starting a container with given arguments, waiting for it, stopping it, reading its log. Not for: the options of
the module's container, which come from the manifest (`create_options`).
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import uuid4

from release.builder import STORE

_ENGINE = ("--runtime", "runc", "--cgroup-manager", "cgroupfs")
"""runc as on a device; cgroupfs needs no systemd."""

PATIENCE = 120.0
"""Seconds for one podman command."""


def resource_limits() -> dict[str, int]:
    """Limits that may be set without CAP_SYS_RESOURCE, as the defaults of container engines may not."""
    hard = {name: resource.getrlimit(kind)[1] for name, kind in _LIMITS.items()}
    return {
        name: 20000 if limit == resource.RLIM_INFINITY else min(limit, 20000) for name, limit in hard.items()
    }


_LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


def _limit_arguments() -> list[str]:
    return [f"--ulimit={name}={limit}:{limit}" for name, limit in resource_limits().items()]


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a podman command to its end.

    Raises:
        AssertionError: it failed, with what it wrote.
    """
    finished = subprocess.run(
        ["podman", *STORE, *_ENGINE, *arguments],
        env={
            **os.environ,
            "DISABLE_HC_SYSTEMD": "true",
        },  # no timers for health commands: the tests ask themselves
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if check and finished.returncode:
        raise AssertionError(f"podman {' '.join(arguments)}: {finished.returncode}\n{finished.stderr}")
    return finished


class Container:
    """A container that runs in the background until the end of a `with` block, on the machine's own network."""

    def __init__(self, image: str, options: Sequence[str] = (), command: Sequence[str] = ()) -> None:
        self.name = f"serial-relay-test-{uuid4().hex[:12]}"
        self._create = [
            "--name",
            self.name,
            "--network",
            "host",
            *_limit_arguments(),
            *options,
            image,
            *command,
        ]

    def __enter__(self) -> Self:
        try:
            podman("run", "--detach", *self._create)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(AssertionError):
                error.add_note(f"log of the container:\n{self.log()}")
        self._remove()

    def _remove(self) -> None:
        podman("rm", "--force", "--time", "10", "--volumes", self.name, check=False)

    def log(self) -> str:
        """What the container wrote so far, both streams."""
        finished = podman("logs", self.name)
        return finished.stdout + finished.stderr

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return podman("exec", self.name, *command, check=False)

    def inspect(self, template: str) -> str:
        """A value of `podman inspect`, as a Go template names it."""
        return podman("inspect", "--format", template, self.name).stdout.strip()

    @property
    def process(self) -> int:
        """The process id of the container's process 1, as this machine counts."""
        return int(self.inspect("{{.State.Pid}}"))

    @property
    def exit_code(self) -> int:
        """Exit code of the container, once it is stopped."""
        assert self.inspect("{{.State.Running}}") == "false"
        return int(self.inspect("{{.State.ExitCode}}"))


def run_once(image: str, options: Sequence[str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a container to its end and give what it wrote, whatever its exit code."""
    return podman(
        "run", "--rm", "--network", "host", *_limit_arguments(), *options, image, *command, check=False
    )


def remove_volumes() -> None:
    """Remove the named volumes that containers of these tests have made; they have a store of their own."""
    podman("volume", "prune", "--force")
