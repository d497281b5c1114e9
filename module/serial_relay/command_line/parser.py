"""The arguments of the local commands; what the commands do is in `asking`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from serial_monitor import command
from serial_relay.command_line import asking, diagnosing, watching
from serial_relay.control.client import RefusedError
from serial_relay.control.location import NotRunningError
from serial_relay.schema import printing

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": asking.status,
    "monitor": watching.monitor,
    "restart": asking.restart,
    "lines": asking.lines,
    "identity": asking.identity,
    "diagnose": diagnosing.run,
    "schema": printing.show,
}


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser; without a command, `command` in its result is None."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands for a running module")
    of_a_module = argparse.ArgumentParser(add_help=False)
    of_a_module.add_argument(
        "--pid", metavar="N", type=int, help="the process to ask, if several modules are running"
    )

    status = commands.add_parser("status", parents=[of_a_module], help="show what the ports are doing")
    as_what = status.add_mutually_exclusive_group()
    as_what.add_argument("--json", action="store_true", help="print the reported properties as JSON")
    as_what.add_argument("--watch", action="store_true", help="keep showing it, with rates, until Ctrl+C")

    monitor = commands.add_parser(
        "monitor", parents=[of_a_module], help="show the traffic of the ports until Ctrl+C"
    )
    command.add_arguments(monitor)

    restart = commands.add_parser(
        "restart", parents=[of_a_module], help="make the connection of a port again"
    )
    restart.add_argument("port", metavar="PORT", help="name of the port in the desired properties")

    lines = commands.add_parser(
        "lines",
        parents=[of_a_module],
        help="show or set modem lines of the real port, or send a break (RFC 2217)",
    )
    lines.add_argument("port", metavar="PORT", help="name of the port in the desired properties")
    lines.add_argument("--dtr", action=argparse.BooleanOptionalAction, help="DTR")
    lines.add_argument("--rts", action=argparse.BooleanOptionalAction, help="RTS")
    lines.add_argument(
        "--break",
        dest="send_break",
        metavar="MS",
        type=int,
        nargs="?",
        const=250,
        help="1-5000 ms, 250 by default",
    )

    identity = commands.add_parser(
        "identity",
        parents=[of_a_module],
        help="show the fingerprint by which hosts with TLS know this module, or renew its key",
    )
    change = identity.add_mutually_exclusive_group()
    change.add_argument("--renew", action="store_true", help="make the next key, and show both fingerprints")
    change.add_argument(
        "--activate", action="store_true", help="use the next key, once each host trusts its fingerprint"
    )
    identity.add_argument("--json", action="store_true", help="print JSON, for programs")

    diagnosis = commands.add_parser(
        "diagnose",
        parents=[of_a_module],
        help="check each step from the application to the device, and say what to do (needs no running module)",
    )
    diagnosis.add_argument("port", metavar="PORT", nargs="?", help="name of the port; all ports without it")
    diagnosis.add_argument(
        "--desired",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="try these desired properties with connections of its own, instead of asking the running module",
    )
    diagnosis.add_argument("--json", action="store_true", help="print JSON, for programs")

    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of the desired or reported properties or of the direct methods, or the DTDL model",
    )
    schema.add_argument(
        "document", nargs="?", choices=printing.DOCUMENTS, default="desired", help="by default: desired"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command that the arguments name, and return the exit status: 0 done, 1 failed, 2 a wrong call."""
    try:
        return _COMMANDS[options.command](options)
    except (NotRunningError, RefusedError, command.EndedError, OSError) as error:
        print(f"serial-relay: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
