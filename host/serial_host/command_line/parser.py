"""The command line: names of commands, arguments and flags. What the commands do is in `serving` and `asking`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import serial_host
from serial_host import config
from serial_host.line import FlowControl, Parity
from serial_host.plumbing.commands import PROGRAM
from serial_monitor import command

EXIT_FAILED = 1
EXIT_USAGE = 2
"""The exit statuses besides 0: the command failed; or its arguments or the configuration cannot be used."""


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one sentence, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"serial_host: {message}; see '{self.prog} --help'\n")
        sys.exit(EXIT_USAGE)


def port_keys(options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the settings of a port that stand on the command line, as keys of the configuration file."""
    return {key: value for key in _PORT_KEYS if (value := getattr(options, key)) is not None}


_PORT_KEYS = (
    "listen", "allow", "protocol", "open", "take_over", "baud_rate", "data_bits", "parity", "stop_bits",
    "flow_control", "dtr", "rts", "rs485",
)  # fmt: skip


def _number(text: str) -> int | str:
    """Return the number that a text means; any other text is left for the message about the setting."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else text


def _stop_bits(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; `command` in what it returns is the name of the command."""
    parser = _Parser(prog=PROGRAM, description=serial_host.__doc__)
    parser.add_argument("--version", action="version", version=f"serial_host {serial_host.__version__}")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")

    run = commands.add_parser("run", help="serve COM ports over TCP until stopped")
    run.add_argument("device", metavar="DEVICE", nargs="?", help="COM port, such as COM3 or /dev/ttyUSB0")
    run.add_argument("tcp_port", metavar="PORT", nargs="?", type=_number, help="TCP port, 1-65535")
    run.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML file with [[ports]] tables, for many ports"
    )
    _add_server_flags(run)

    simulate = commands.add_parser(
        "simulate", help="serve a simulated device, to try things without hardware"
    )
    simulate.add_argument(
        "kind",
        choices=("echo", "modbus"),
        help="a loopback plug, or a Modbus RTU device with changing registers",
    )
    simulate.add_argument("tcp_port", metavar="PORT", type=_number, help="TCP port, 1-65535")
    simulate.add_argument(
        "--address",
        metavar="N",
        type=int,
        default=1,
        choices=range(1, 248),
        help="Modbus address, 1-247 (default 1)",
    )
    _add_server_flags(simulate)

    check = commands.add_parser("check", help="check a configuration file, and print what it would serve")
    check.add_argument("config", metavar="FILE", type=Path)
    check.add_argument("--json", action="store_true", help="print JSON, for programs")

    listing = commands.add_parser("list", help="list the COM ports of this computer")
    listing.add_argument("--json", action="store_true", help="print JSON, for programs")

    status = commands.add_parser("status", help="show what the running servers are doing")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    status.add_argument("--pid", metavar="N", type=int, help="only this server")

    status.add_argument("--watch", action="store_true", help="keep showing it, with rates, until Ctrl+C")

    monitor = commands.add_parser(
        "monitor", help="show the traffic of the running server's ports until Ctrl+C"
    )
    command.add_arguments(monitor)
    monitor.add_argument("--pid", metavar="N", type=int, help="the server to ask, if several are running")

    stop = commands.add_parser("stop", help="stop the running server, and wait until it has ended")
    stop.add_argument("--pid", metavar="N", type=int, help="the server to ask, if several are running")

    diagnosis = commands.add_parser(
        "diagnose", help="check each step from the COM port to the client, and say what to do"
    )
    diagnosis.add_argument(
        "port", metavar="PORT", nargs="?", help="COM port or TCP port; all ports without it"
    )
    diagnosis.add_argument(
        "--config", metavar="FILE", type=Path, help="use this configuration instead of the installed server's"
    )
    diagnosis.add_argument("--json", action="store_true", help="print JSON, for programs")
    diagnosis.add_argument("--pid", metavar="N", type=int, help="the server to ask, if several are running")

    identity = commands.add_parser(
        "identity", help="show the fingerprint by which modules know this host (TLS)"
    )
    change = identity.add_mutually_exclusive_group()
    change.add_argument("--renew", action="store_true", help="prepare a new identity, and show both")
    change.add_argument("--activate", action="store_true", help="use the prepared identity from now on")
    identity.add_argument("--json", action="store_true", help="print JSON, for programs")
    _add_server_choice(identity)

    trust = commands.add_parser(
        "trust", help="trust a module as a client (TLS); without FINGERPRINT, list the trusted ones"
    )
    trust.add_argument(
        "fingerprint", metavar="FINGERPRINT", nargs="?", help="sha256:... as the module reports it"
    )
    trust.add_argument("--remove", action="store_true", help="stop trusting it, and end its connections")
    _add_server_choice(trust)

    pair = commands.add_parser(
        "pair", help="trust the next new module that connects (TLS), and print which one it was"
    )
    pair.add_argument("--pid", metavar="N", type=int, help="the server to ask, if several are running")
    return parser


def _add_server_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pid", metavar="N", type=int, help="the server to ask, if several are running")
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="the configuration file, while no server is running"
    )


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    line = parser.add_argument_group("line settings")
    line.add_argument("--baud-rate", metavar="N", type=_number, help="bits per second (default 9600)")
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
        "--rs485", action=argparse.BooleanOptionalAction, help="let RTS drive an RS-485 transmitter"
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
        help="interface or address to listen at, repeatable (default: loopback, on Windows also the vEthernet interfaces but external ones)",
    )
    serving.add_argument(
        "--allow",
        metavar="NETWORK",
        action="append",
        help="clients to serve, repeatable (default: the networks of the listening interface)",
    )
    serving.add_argument(
        "--take-over",
        action="store_true",
        default=None,
        help="let any new client that sends something, or stays for a second, replace the present one",
    )
    messages = parser.add_argument_group("messages")
    messages.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="log a line for each message that passes; with -vv, its bytes too",
    )
    messages.add_argument(
        "--log-file",
        metavar="FILE",
        type=Path,
        help="write the log to this file instead of the screen; at most 6 files of 1 MB are kept",
    )
