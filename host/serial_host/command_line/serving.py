"""The commands `run` and `simulate`: a server from its start to its end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serial_host import config
from serial_host.command_line.parser import EXIT_FAILED, port_keys
from serial_host.configuration import config_file
from serial_host.control import control
from serial_host.plumbing import log
from serial_host.plumbing.commands import PROGRAM
from serial_host.plumbing.descriptors import allow_many_descriptors
from serial_host.plumbing.event_log import Event
from serial_host.plumbing.event_loop import new_event_loop
from serial_host.serving.server import Served, Server
from serial_host.serving.traffic import Traffic
from serial_tls.errors import IdentityError

if TYPE_CHECKING:
    from serial_host.security.security import Security

if sys.platform == "win32":
    from serial_host.plumbing import console_windows

_log = logging.getLogger("serial_host")


def run(options: argparse.Namespace) -> int:
    """Serve COM ports until the server is stopped, and return the exit status."""
    if options.config is not None:
        if options.device is not None or port_keys(options):
            raise config_file.ConfigError(
                "--config FILE cannot be combined with DEVICE, PORT or settings: the file holds all of them"
            )
        configuration = config_file.load(options.config)
    elif options.device is None or options.tcp_port is None:
        raise config_file.ConfigError(
            f"expected DEVICE and PORT, as in '{PROGRAM} run COM3 5002', or --config FILE"
        )
    else:
        entry = {"device": options.device, "tcp_port": options.tcp_port, **port_keys(options)}
        configuration = config.Config((config_file.parse_port(entry, "", flags=True),))

    from serial_host.com_port import serial_port  # noqa: PLC0415  # a simulated port needs no pyserial

    ports = [Served(port, serial_port.opener(port)) for port in configuration.ports]
    return _serve(options, ports, configuration.faults, configuration.tls)


def simulate(options: argparse.Namespace) -> int:
    """Serve a simulated device until the server is stopped, and return the exit status."""
    from serial_host.com_port.simulated import loopback_plug, simulated  # noqa: PLC0415

    name = f"simulated-{options.kind}"
    entry = {"device": name, "tcp_port": options.tcp_port, **port_keys(options)}
    port = config_file.parse_port(entry, "", flags=True)
    if options.kind == "modbus":
        try:
            from serial_host.com_port.modbus_device import ModbusDevice  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise config_file.ConfigError(
                f"the simulated Modbus device needs {error.name}: install eflow-serial-host[simulate]"
            ) from error

        opener = simulated(name, port.line, ModbusDevice(options.address))
    else:
        opener = simulated(name, port.line, loopback_plug)
    return _serve(options, [Served(port, opener)], (), None)


def _serve(
    options: argparse.Namespace,
    ports: Sequence[Served],
    faults: Sequence[config.ConfigFault],
    tls: config.TlsSettings | None,
) -> int:
    log.set_up(options.log_file)
    security = None
    if tls is not None:
        from serial_host.security.security import Security  # noqa: PLC0415  # without [tls] it takes no memory

        try:
            security = Security(tls)
        except IdentityError as error:
            # A port that shall be secured stays down rather than open.
            faults = [*faults, *(_insecure(port, error) for port in ports if port.config.tls)]
            ports = [port for port in ports if not port.config.tls]
    for fault in faults:
        for message in fault.message.splitlines():
            _log.error("%s", message)
    traffic = Traffic(dump=options.verbose > 1) if options.verbose else None
    allow_many_descriptors()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve_until_stopped(ports, faults, traffic, security))
    except Exception:  # noqa: BLE001  # whatever it is
        # To the log, because a server that runs unattended has no screen.
        _log.exception("the server ends because of an internal error", extra=Event.SERVER_FAILED.mark)
        return EXIT_FAILED
    return 0


async def _serve_until_stopped(
    ports: Sequence[Served],
    faults: Sequence[config.ConfigFault],
    traffic: Traffic | None,
    security: Security | None,
) -> None:
    server = Server(ports, faults, traffic=traffic, security=security)
    loop = asyncio.get_running_loop()
    stop = functools.partial(loop.call_soon_threadsafe, server.stop)
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        with contextlib.suppress(AttributeError):
            signal.signal(getattr(signal, name), lambda *_: stop())
    commands = control.Commands(
        server.status,
        server.stop,
        server.monitoring.watch,
        {} if security is None else security.commands(),
    )
    answering = asyncio.create_task(_answer(commands), name="control")
    async with contextlib.AsyncExitStack() as stack:
        if sys.platform == "win32":
            stack.enter_context(console_windows.closing_handled(stop))
        try:
            await server.run()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


def _insecure(port: Served, error: IdentityError) -> config.ConfigFault:
    return config.ConfigFault(port.config.name, f"{port.config.name}: TLS is not possible: {error}")


async def _answer(commands: control.Commands) -> None:
    try:
        await control.serve(commands)
    except OSError as error:
        _log.warning("'%s status' and 'stop' will not find this server: %s", PROGRAM, error)
