"""Command line of the serial host."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import io
import json
import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import serial_host
from serial_host import config
from serial_host.com_port.port import ComPortError
from serial_host.configuration import config_file
from serial_host.control import control
from serial_host.line import FlowControl, Parity
from serial_host.plumbing import log
from serial_host.plumbing.commands import PROGRAM
from serial_host.serving.server import Served, Server
from serial_host.serving.traffic import Traffic

if sys.platform == "win32":
    from serial_host.plumbing import console_windows

EXIT_FAILED = 1
EXIT_USAGE = 2
STOP_SECONDS = 15.0

_log = logging.getLogger("serial_host")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 failed, 2 wrong arguments or configuration."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a device may hold what the code page of a pipe does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return int(options.command(options))
    except config_file.ConfigError as error:
        print(f"serial_host: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except (control.NotRunningError, ComPortError, OSError) as error:
        print(f"serial_host: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    if options.config is not None:
        if options.device is not None or _port_keys(options):
            raise config_file.ConfigError(
                "--config FILE holds all settings: expected no DEVICE, PORT or settings beside it"
            )
        configuration = config_file.load(options.config)
    elif options.device is None or options.tcp_port is None:
        raise config_file.ConfigError(
            f"expected DEVICE and PORT, as in '{PROGRAM} run COM3 5002', or --config FILE"
        )
    else:
        entry = {"device": options.device, "tcp_port": options.tcp_port, **_port_keys(options)}
        configuration = config.Config((config_file.parse_port(entry, "", flags=True),))

    from serial_host.com_port import serial_port  # noqa: PLC0415  # a simulated port needs no pyserial

    ports = [Served(port, serial_port.opener(port)) for port in configuration.ports]
    return _serve(options, ports, configuration.faults)


def _simulate(options: argparse.Namespace) -> int:
    from serial_host.com_port.simulated import loopback_plug, simulated  # noqa: PLC0415

    name = f"simulated-{options.kind}"
    entry = {"device": name, "tcp_port": options.tcp_port, **_port_keys(options)}
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
    return _serve(options, [Served(port, opener)], ())


def _serve(options: argparse.Namespace, ports: Sequence[Served], faults: Sequence[config.ConfigFault]) -> int:
    log.set_up(options.log_file)
    for fault in faults:
        for message in fault.message.splitlines():
            _log.error("%s", message)
    traffic = Traffic(dump=options.verbose > 1) if options.verbose else None
    try:
        asyncio.run(_serve_until_stopped(ports, faults, traffic))
    except Exception:  # noqa: BLE001  # whatever it is
        # To the log, because a server that runs unattended has no screen.
        _log.exception("the server ends because of a defect in it")
        return EXIT_FAILED
    return 0


async def _serve_until_stopped(
    ports: Sequence[Served], faults: Sequence[config.ConfigFault], traffic: Traffic | None
) -> None:
    server = Server(ports, faults, traffic=traffic)
    loop = asyncio.get_running_loop()
    stop = functools.partial(loop.call_soon_threadsafe, server.stop)
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        with contextlib.suppress(AttributeError):
            signal.signal(getattr(signal, name), lambda *_: stop())
    answering = asyncio.create_task(_answer_commands(server), name="control")
    async with contextlib.AsyncExitStack() as stack:
        if sys.platform == "win32":
            stack.enter_context(console_windows.closing_handled(stop))
        try:
            await server.run()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


async def _answer_commands(server: Server) -> None:
    try:
        await control.serve(control.Commands(server.status, server.stop))
    except OSError as error:
        _log.warning("'%s status' and 'stop' will not find this server: %s", PROGRAM, error)


def _check(options: argparse.Namespace) -> int:
    configuration = config_file.load(options.config)
    for fault in configuration.faults:
        print(f"serial_host: {fault.message}", file=sys.stderr)  # noqa: T201
    if options.json:
        ports = [
            {
                "device": port.device,
                "match": None if port.match is None else str(port.match),
                "tcpPort": port.tcp_port,
                "listen": port.listen,
                "protocol": port.protocol,
            }
            for port in configuration.ports
        ]
        _print(json.dumps({"ports": ports}))
    else:
        for port in configuration.ports:
            _print(f"{port.name}: TCP port {port.tcp_port}, {port.protocol}, {port.line}")
    return EXIT_USAGE if configuration.faults else 0


def _list(options: argparse.Namespace) -> int:
    import dataclasses  # noqa: PLC0415

    from serial_host.com_port.listing import present_ports  # noqa: PLC0415  # the other commands need no pyserial

    ports = present_ports()
    if options.json:
        _print(json.dumps({"ports": [dataclasses.asdict(port) for port in ports]}))
        return 0
    for port in ports:
        _print(f"{port.device}  {port.description}".rstrip())
        if port.vid is not None and port.pid is not None:
            match = [f'vid = "{port.vid:04x}"', f'pid = "{port.pid:04x}"']
            match += [f'serial = "{port.serial}"'] if port.serial else []
            match += [] if port.serial or not port.location else [f'location = "{port.location}"']
            _print(f"    match = {{ {', '.join(match)} }}")
        if port.latency_timer is not None:
            _print(
                f"    latency timer {port.latency_timer} ms: an answer may wait in the adapter for so long"
            )
    if not ports:
        print("serial_host: no serial ports are there", file=sys.stderr)  # noqa: T201
    return 0


def _status(options: argparse.Namespace) -> int:
    from serial_host.status import table  # noqa: PLC0415

    servers = [control.ask(pid, "status") for pid in _chosen(options)]
    if options.json:
        _print(json.dumps({"servers": servers}))
    else:
        _print("\n\n".join(table(server) for server in servers))
    return 0


def _stop(options: argparse.Namespace) -> int:
    pids = control.running() if options.pid is None else [options.pid]
    if not pids:
        _print("no server is running that this user may speak to")
        return 0
    if len(pids) > 1:
        raise control.NotRunningError(
            f"{len(pids)} servers are running: say which with --pid {pids[0]}, see '{PROGRAM} status'"
        )
    (pid,) = pids
    control.ask(pid, "stop")
    deadline = time.monotonic() + STOP_SECONDS
    while control.is_running(pid):
        if time.monotonic() > deadline:
            raise control.NotRunningError(
                f"the server (process {pid}) has not stopped within {STOP_SECONDS:g} s"
            )
        time.sleep(0.05)
    _print(f"stopped the server (process {pid})")
    return 0


def _chosen(options: argparse.Namespace) -> list[int]:
    if options.pid is not None:
        return [options.pid]
    running = control.running()
    if not running:
        raise control.NotRunningError(
            "no server is running that this user may speak to; one that runs as a service needs an administrator"
        )
    return running


def _print(text: str) -> None:
    print(text)  # noqa: T201


def _port_keys(options: argparse.Namespace) -> Mapping[str, Any]:
    """Give the settings that stand on the command line."""
    return {key: value for key in _PORT_KEYS if (value := getattr(options, key)) is not None}


_PORT_KEYS = (
    "listen", "allow", "protocol", "open", "take_over", "baud_rate", "data_bits", "parity", "stop_bits",
    "flow_control", "dtr", "rts", "rs485",
)  # fmt: skip


def _stop_bits(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serial_host", description=serial_host.__doc__)
    parser.add_argument("--version", action="version", version=f"serial_host {serial_host.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve COM ports over TCP until stopped")
    run.add_argument("device", metavar="DEVICE", nargs="?", help="COM port, such as COM3 or /dev/ttyUSB0")
    run.add_argument("tcp_port", metavar="PORT", nargs="?", type=int, help="TCP port, 1-65535")
    run.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML file with [[ports]] tables, for many ports"
    )
    _add_server_flags(run)
    run.set_defaults(command=_run)

    simulate = commands.add_parser(
        "simulate", help="serve a simulated device, to try things without hardware"
    )
    simulate.add_argument(
        "kind",
        choices=("echo", "modbus"),
        help="a loopback plug, or a Modbus RTU device with changing registers",
    )
    simulate.add_argument("tcp_port", metavar="PORT", type=int, help="TCP port, 1-65535")
    simulate.add_argument(
        "--address",
        metavar="N",
        type=int,
        default=1,
        choices=range(1, 248),
        help="Modbus address, 1-247 (default 1)",
    )
    _add_server_flags(simulate)
    simulate.set_defaults(command=_simulate)

    check = commands.add_parser("check", help="check a configuration file and say what it would serve")
    check.add_argument("config", metavar="FILE", type=Path)
    check.add_argument("--json", action="store_true", help="for programs")
    check.set_defaults(command=_check)

    listing = commands.add_parser("list", help="list the COM ports of this computer")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(command=_list)

    status = commands.add_parser("status", help="show what the running servers are doing")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--pid", metavar="N", type=int, help="only this server")
    status.set_defaults(command=_status)

    stop = commands.add_parser("stop", help="end the running server and wait until it is gone")
    stop.add_argument("--pid", metavar="N", type=int, help="this server, where several are running")
    stop.set_defaults(command=_stop)
    return parser


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    line = parser.add_argument_group("line settings")
    line.add_argument("--baud-rate", metavar="N", type=int, help="bits per second (default 9600)")
    line.add_argument("--data-bits", type=int, choices=(5, 6, 7, 8), help="default 8")
    line.add_argument("--parity", choices=[parity.value for parity in Parity], help="default none")
    line.add_argument("--stop-bits", type=_stop_bits, choices=(1, 1.5, 2), help="default 1")
    line.add_argument("--flow-control", choices=[kind.value for kind in FlowControl], help="default none")
    line.add_argument(
        "--dtr", action=argparse.BooleanOptionalAction, help="DTR while the port is open (default on)"
    )
    line.add_argument(
        "--rts", action=argparse.BooleanOptionalAction, help="RTS while the port is open (default on)"
    )
    line.add_argument(
        "--rs485", action=argparse.BooleanOptionalAction, help="RTS drives an RS-485 transmitter"
    )
    serving = parser.add_argument_group("serving")
    serving.add_argument(
        "--protocol", choices=[protocol.value for protocol in config.Protocol], help="default raw"
    )
    serving.add_argument(
        "--open",
        choices=[when.value for when in config.Open],
        help="when the COM port is open (default always)",
    )
    serving.add_argument(
        "--listen",
        metavar="NAME",
        action="append",
        help="interface or address to listen at, repeatable (default: loopback, on Windows also the vEthernet interfaces)",
    )
    serving.add_argument(
        "--allow",
        metavar="NETWORK",
        action="append",
        help="clients to serve, repeatable (default: the networks of the listening interface)",
    )
    serving.add_argument(
        "--take-over", action="store_true", default=None, help="let any new client replace the present one"
    )
    messages = parser.add_argument_group("messages")
    messages.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="a line for each message that passes; -vv: its bytes, too",
    )
    messages.add_argument(
        "--log-file",
        metavar="FILE",
        type=Path,
        help="log there instead of on the screen, 6 files of 1 MB in turn",
    )


if __name__ == "__main__":
    sys.exit(main())
