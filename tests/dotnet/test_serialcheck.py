"""Checks with the real System.IO.Ports, compiled to a program that needs no .NET, against the module on both protocols.

The program and the module run without any capability. What a pty cannot do stands in docs/dotnet.md, which is read here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.dotnet.conftest import Chain
from tests.system.processes import PATIENCE, ROOT, wait_for
from tests.system.serial_lines import Device
from tests.system.stack import Relay

pytestmark = pytest.mark.dotnet

NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--no-new-privs",
    "--",
)

GROUPS = (
    *("combos", "flags", "changes", "bytes", "lines", "counts", "discard", "break", "pins", "events"),
    *("async", "close", "reopen", "exclusive", "latency", "ports"),
)
"""Those that any device with an echo will do for; the others have tests of their own."""

FOR_A_MOMENT = ("Device or resource busy", "Value does not fall within the expected range")

both_protocols = pytest.mark.parametrize("protocol", ["raw", "rfc2217"])


def limits() -> set[str]:
    """The names of the checks that the page says cannot pass."""
    page = (ROOT / "docs" / "dotnet.md").read_text(encoding="utf-8")
    rows = page.split("| checks |")[1].split("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def command(relay: Relay, *arguments: str) -> list[str]:
    beside = [folder / "shared" / "dotnet" / "serialcheck" for folder in ROOT.parents]
    program = next((path for path in beside if path.exists()), None)
    if program is None:
        pytest.skip("serialcheck is not at hand: there is no ../shared/dotnet")
    unprivileged = NOBODY if os.geteuid() == 0 else ()
    return [*unprivileged, str(program), arguments[0], relay.link("COM"), *arguments[1:]]


def check(relay: Relay, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run checks; return what each said under its name."""
    done = subprocess.run(
        command(relay, *arguments), capture_output=True, text=True, timeout=200, check=False
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said, done.stderr
    return {one["name"]: one for one in said}


def failed(said: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["detail"] for name, one in said.items() if not one["ok"]}


@both_protocols
def test_all_checks_pass_that_a_pty_can_pass(protocol: str, chain: Chain) -> None:
    relay = chain(protocol, "simulate", "echo")
    names: set[str] = set()
    for group in GROUPS:
        names |= pass_all_but_limits(relay, group)
    assert len(names) > 120
    assert limits() <= names, "the page names a check that does not exist"


def pass_all_but_limits(relay: Relay, group: str) -> set[str]:
    """Run a group of checks; return their names.

    A group is repeated when a check met what the page says to last for milliseconds: the lock of an open that .NET gave up
    half-way, or two changes of parity that came too close on a machine that was busy in between.
    """
    for _ in range(5):
        said = check(relay, group, "--quick")
        relay.wait_for_close("COM")
        unexpected = {name: detail for name, detail in failed(said).items() if name not in limits()}
        if not unexpected:
            return set(said)
        assert all(any(text in detail for text in FOR_A_MOMENT) for detail in unexpected.values()), unexpected
    raise AssertionError(f"again and again: {unexpected}")


@both_protocols
@pytest.mark.parametrize("checks", ["timeouts", "throughput"])
def test_a_device_that_takes_no_more_than_is_read_loses_nothing(
    protocol: str, checks: str, chain: Chain, device: Device
) -> None:
    device.echo()
    assert failed(check(chain(protocol, "run", device.path), checks)) == {}


@pytest.mark.parametrize("end", ["9", "15", "throw", "return"])
def test_a_process_that_ends_without_close_leaves_the_port_free_and_empty(
    end: str, chain: Chain, device: Device, stack: ExitStack
) -> None:
    relay = chain("raw", "run", device.path)
    how = end if end in ("throw", "return") else "close"
    first = stack.enter_context(
        subprocess.Popen(
            command(relay, "hold", "--end", how),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    stack.callback(first.kill)
    assert first.stdin is not None
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    # Bytes that this process never reads.
    device.write(b"stale" * 20)
    relay.wait(lambda: relay.metric("from_device_bytes_total", port="COM") >= 100, "the bytes to arrive")
    if end in ("throw", "return"):
        first.stdin.write("\n")
        first.stdin.flush()
    else:
        first.send_signal(int(end))
    first.wait(PATIENCE)
    relay.wait_for_close("COM")
    device.echo()

    def once() -> str:
        """Open, send a byte, expect just that byte back, and close; '' while the port is locked."""
        done = subprocess.run(
            command(relay, "once"), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return "" if done.stdout.startswith("UnauthorizedAccessException") else done.stdout

    assert wait_for(once, "the port to be free").startswith("ok")


def test_every_reason_is_given() -> None:
    assert len(limits()) > 15
    assert Path(ROOT / "docs" / "dotnet.md").read_text(encoding="utf-8").count("| checks |") == 1
