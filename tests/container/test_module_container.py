"""The module's container as the manifest makes it, run by podman and runc on this machine's real /dev."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import serial

from tests.container.conftest import Json, StartModule
from tests.container.create_options import hardened, podman_arguments
from tests.container.podman import podman, run_once
from tests.system.processes import ROOT, wait_for

pytestmark = pytest.mark.container

NONE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Runs a command as root without any capability, outside a container."""

REQUEST = bytes(range(256))

CONSUMER = """
import os, sys, tty
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
tty.setraw(port)
request = bytes(range(256))
os.write(port, request)
answer = b""
while len(answer) < len(request):
    answer += os.read(port, 256)
print(answer == request, os.getuid(), os.getgroups())
"""


def echoed(link: Path) -> bool:
    """Write to a virtual port as an application does, and see whether it all comes back."""
    with serial.Serial(str(link), timeout=30) as port:
        port.write(REQUEST)
        return bool(port.read(len(REQUEST)) == REQUEST)


def capabilities(process: int) -> set[str]:
    """The capability sets of a process that are not empty."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))
    assert len(sets) == 5
    return {name for name, value in sets.items() if int(value, 16)}


def test_the_port_is_used_from_the_host(start_module: StartModule, create_options: Json) -> None:
    started = time.monotonic()
    _, link = start_module(create_options)
    print(f"from `podman run` to a connected port: {time.monotonic() - started:.2f} s")
    assert echoed(link)
    assert str(link.readlink()) == f"serial-relay/{link.name}"
    node = link.stat()
    assert stat.S_ISCHR(node.st_mode)
    assert (stat.S_IMODE(node.st_mode), node.st_uid, node.st_gid) == (0o660, 0, 10)


def test_the_port_is_used_from_a_second_container(
    start_module: StartModule, create_options: Json, image: str
) -> None:
    _, link = start_module(create_options)
    consumer = json.loads((ROOT / "examples/consumer.create-options.json").read_text(encoding="utf-8"))
    options = [*podman_arguments(consumer), "--entrypoint", "python3"]
    for _ in range(2):
        finished = run_once(image, options, "-c", CONSUMER, str(link))
        assert finished.stdout == "True 1000 [10, 1000]\n", finished.stderr


def test_a_second_container_without_the_group_is_refused(
    start_module: StartModule, create_options: Json, image: str
) -> None:
    _, link = start_module(create_options)
    consumer = json.loads((ROOT / "examples/consumer.create-options.json").read_text(encoding="utf-8"))
    del consumer["HostConfig"]["GroupAdd"]
    finished = run_once(
        image, [*podman_arguments(consumer), "--entrypoint", "python3"], "-c", CONSUMER, str(link)
    )
    assert f"PermissionError: [Errno {errno.EACCES}]" in finished.stderr


def test_it_has_no_power_but_what_it_needs(start_module: StartModule, create_options: Json) -> None:
    relay, _ = start_module(create_options)
    assert capabilities(relay.process) == set()
    status = Path(f"/proc/{relay.process}/status").read_text(encoding="ascii")
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nGroups:\t0 10 \n" in status or "\nGroups:\t10 \n" in status


def test_a_device_outside_the_allowed_set_is_denied(start_module: StartModule, create_options: Json) -> None:
    relay, _ = start_module(create_options)
    open_ = "import os, sys; os.close(os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK))"
    candidates = ["/dev/loop-control", "/dev/fuse", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kmsg"]
    present = [
        path
        for path in candidates
        if not subprocess.run(
            [*NONE, sys.executable, "-c", open_, path], check=False, capture_output=True
        ).returncode
    ]
    assert present, f"this machine has none of {candidates} to try"
    for path in present:
        # Root without capabilities opens it outside, so nothing but the container's device list stands in the way.
        inside = relay.execute("python3", "-c", open_, path)
        assert f"PermissionError: [Errno {errno.EPERM}]" in inside.stderr, (path, inside)


def test_the_root_file_system_is_read_only_and_nothing_misses_it(
    start_module: StartModule, create_options: Json
) -> None:
    relay, link = start_module(create_options)
    write = "import sys; open(sys.argv[1], 'w')"
    for path in ("/opt/serial-relay/x", "/tmp/x", "/run/x", "/etc/x"):
        assert f"OSError: [Errno {errno.EROFS}]" in relay.execute("python3", "-c", write, path).stderr
    for path in ("/var/lib/serial-relay/x", "/run/serial-relay/x"):
        assert relay.execute("python3", "-c", write, path).returncode == 0, path
    assert echoed(link)


def test_stop_ends_it_at_once_and_leaves_no_link(start_module: StartModule, create_options: Json) -> None:
    relay, link = start_module(create_options)
    assert echoed(link)
    started = time.monotonic()
    podman("stop", "--time", "60", relay.name)
    print(f"stopped in {time.monotonic() - started:.2f} s")
    assert relay.exit_code == 0, "137 would be a kill at the end of the grace time"
    assert not os.path.lexists(link)
    assert not os.path.lexists(link.parent / "serial-relay" / link.name)


def test_a_link_left_by_a_kill_is_gone_or_good_after_the_next_start(
    start_module: StartModule, create_options: Json
) -> None:
    relay, link = start_module(create_options)
    podman("kill", "--signal", "KILL", relay.name)
    wait_for(lambda: relay.inspect("{{.State.Running}}") == "false", "the kill")
    assert os.path.lexists(link)
    before = relay.port(link.name)["since"]
    podman("start", relay.name)
    wait_for(lambda: relay.port(link.name).get("since") != before, "the new process to report")
    assert relay.wait_until_connected(link.name) == link
    assert echoed(link)


def test_it_runs_on_a_hardened_host(start_module: StartModule, create_options: Json) -> None:
    _, link = start_module(hardened(create_options))
    assert echoed(link)


@pytest.mark.parametrize("capability", ["CHOWN", "SETUID"])
def test_it_runs_without_a_capability_that_a_hardened_host_takes(
    start_module: StartModule, create_options: Json, capability: str
) -> None:
    """Also where the manifest's own `CapDrop ALL` was edited away."""
    create_options["HostConfig"]["CapDrop"] = [capability]
    _, link = start_module(create_options)
    assert echoed(link)


def test_without_chown_another_owner_is_a_warning_and_the_port_works(
    start_module: StartModule, create_options: Json
) -> None:
    relay, link = start_module(create_options, uid=1000)
    assert echoed(link)
    assert (link.stat().st_uid, link.stat().st_gid) == (0, 10)
    warnings = [line for line in relay.log().splitlines() if "[WRN]" in line]
    assert len(warnings) == 1
    assert "cannot set owner 1000" in warnings[0]
    assert "CapAdd CHOWN" in warnings[0]


def test_with_chown_added_another_owner_is_set(start_module: StartModule, create_options: Json) -> None:
    create_options["HostConfig"]["CapAdd"] = ["CHOWN"]
    relay, link = start_module(create_options, uid=1000, gid=20, mode="600")
    assert echoed(link)
    node = link.stat()
    assert (node.st_uid, node.st_gid, stat.S_IMODE(node.st_mode)) == (1000, 20, 0o600)
    assert "[WRN]" not in relay.log()


def test_the_health_command_knows_a_turning_loop_from_a_stuck_one(
    start_module: StartModule, create_options: Json
) -> None:
    relay, _ = start_module(create_options)
    healthy = podman("healthcheck", "run", relay.name, check=False)
    assert healthy.returncode == 0, healthy
    os.kill(relay.process, signal.SIGSTOP)
    try:
        stuck = podman("healthcheck", "run", relay.name, check=False)
        assert (stuck.returncode, stuck.stdout.strip()) == (1, "unhealthy"), stuck
    finally:
        os.kill(relay.process, signal.SIGCONT)
    wait_for(lambda: not podman("healthcheck", "run", relay.name, check=False).returncode, "its recovery")
