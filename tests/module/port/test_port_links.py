"""The link to a port: it moves, it is taken, it is removed by somebody, and it goes with its port."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace

import pytest

from serial_relay.status import ErrorCode, State
from tests.module.conditions import until
from tests.module.port.ports import Ports, request
from tests.module.serial_servers import echo, serving


async def test_a_link_moves_and_ports_swap_links(ports: Ports) -> None:
    await ports.configure("a", link="x")
    await ports.configure("b", link="y")
    await ports.reaches(State.RETRYING, "a")
    await ports.reaches(State.RETRYING, "b")
    x, y = (os.path.realpath(ports.directory / name) for name in "xy")
    ports.configurations["a"] = replace(ports.configurations["a"], link="y")
    await ports.configure("b", link="x")
    assert [os.path.realpath(ports.directory / name) for name in "xy"] == [y, x]
    assert ports.supervisor.statuses()["a"].link == str(ports.directory / "y")
    await ports.configure("a", link="z")
    assert not (ports.directory / "y").is_symlink()
    assert os.path.realpath(ports.directory / "z") == x


@pytest.mark.parametrize(("heir", "leaving"), [("a", "b"), ("b", "a")])
async def test_a_port_that_cannot_have_its_new_link_leaves_the_old_one_to_the_port_that_has_it_now(
    ports: Ports, heir: str, leaving: str
) -> None:
    """In one change of the twin one port gets the link of another, whose own new link is somebody's file."""
    await ports.configure(heir, link="x")
    await ports.configure(leaving, link="y")
    await ports.reaches(State.RETRYING, heir)
    await ports.reaches(State.RETRYING, leaving)
    before = os.path.realpath(ports.directory / "x")
    (ports.directory / "z").write_text("somebody's file")
    ports.configurations[heir] = replace(ports.configurations[heir], link="y")
    await ports.configure(leaving, link="z")
    statuses = ports.supervisor.statuses()
    await until(lambda: statuses[leaving].link == str(ports.directory / "z"))
    assert os.path.realpath(ports.directory / "y") == before, "the link leads to the device of another port"
    assert statuses[heir].link == str(ports.directory / "y")
    assert (error := statuses[leaving].last_error)
    assert error.code is ErrorCode.LINK
    (ports.directory / "z").unlink()
    await until((ports.directory / "z").is_symlink)
    assert os.path.realpath(ports.directory / "z") != before
    assert os.path.realpath(ports.directory / "y") == before


async def test_a_taken_link_is_an_error_of_its_port_until_it_is_free(ports: Ports) -> None:
    async with serving(echo) as server:
        (ports.directory / "a").write_text("somebody's file")
        await ports.configure("a", tcp_port=server.port)
        await ports.configure("b", tcp_port=server.port)
        await ports.reaches(State.CONNECTED, "b")
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.LINK
        assert ports.status.state is State.RETRYING
        (ports.directory / "a").unlink()
        await ports.reaches(State.CONNECTED, "a")


async def test_a_change_to_a_link_that_is_taken_leaves_the_port_as_it_is_until_the_link_is_free(
    ports: Ports,
) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        slave = ports.open()
        (ports.directory / "taken").write_text("somebody's file")
        await ports.configure(link="taken")
        await until(lambda: ports.status.last_error)
        assert ports.status.last_error.code is ErrorCode.LINK
        assert await request(slave, b"the same connection") == b"the same connection"
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        slave = ports.open("a")  # by the old link, also after the pty behind it was changed
        assert await request(slave, b"the old link") == b"the old link"
        assert (ports.status.state, ports.status.connects) == (State.CONNECTED, 1)
        assert ports.status.link == str(ports.directory / "a")
        ports.supervisor.restart("a")
        await ports.reconnected(1)
        assert await request(slave, b"also after a restart") == b"also after a restart"
        (ports.directory / "taken").unlink()
        await until(lambda: ports.status.link == str(ports.directory / "taken"))
        assert not (ports.directory / "a").is_symlink()
        assert await request(slave, b"still the same") == b"still the same"
        assert ports.status.connects == 2
        os.close(slave)


@pytest.mark.parametrize("what", ["outer link", "inner link", "our directory"])
async def test_what_somebody_removes_of_a_link_is_made_again(ports: Ports, what: str) -> None:
    async with serving(echo) as server:
        await ports.configure("a", tcp_port=server.port)
        await ports.configure("b", tcp_port=server.port)
        for name in "ab":
            await ports.reaches(State.CONNECTED, name)
        slave = ports.open()
        match what:
            case "outer link":
                (ports.directory / "a").unlink()
            case "inner link":
                (ports.directory / "serial-relay" / "a").unlink()
            case "our directory":
                shutil.rmtree(ports.directory / "serial-relay")
        await until((ports.directory / "a").exists)
        await until((ports.directory / "b").exists)
        assert await request(slave, b"goes on") == b"goes on"
        os.close(slave)
        await until(lambda: not ports.status.application_open)
        for name in "ab":
            slave = ports.open(name)
            assert await request(slave, b"opens again") == b"opens again"
            os.close(slave)
            assert ports.supervisor.statuses()[name].connects == 1


async def test_a_link_that_is_removed_again_and_again_costs_little(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        for _ in range(400):
            (ports.directory / "a").unlink(missing_ok=True)
            await asyncio.sleep(0.005)
        await until((ports.directory / "a").exists)
        assert 2 <= caplog.text.count("somebody removed") <= 12


async def test_restart_brings_a_removed_link_back(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port)
        await ports.reaches(State.CONNECTED)
        (ports.directory / "a").unlink()
        ports.supervisor.restart("a")
        await until((ports.directory / "a").is_symlink)
        slave = ports.open()
        assert await request(slave, b"again") == b"again"
        os.close(slave)


async def test_a_disabled_port_has_no_link_and_no_connection(ports: Ports) -> None:
    async with serving(echo) as server:
        await ports.configure(tcp_port=server.port, enabled=False)
        assert ports.status.state is State.DISABLED
        assert not (ports.directory / "a").is_symlink()
        await ports.configure(enabled=True)
        await ports.reaches(State.CONNECTED)
        await ports.configure(enabled=False)
        assert not (ports.directory / "a").is_symlink()
