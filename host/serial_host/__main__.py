"""Runs one command of the serial host."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from serial_host.com_port.port import ComPortError
from serial_host.command_line import asking, diagnosing, securing, serving, watching
from serial_host.command_line.parser import EXIT_FAILED, EXIT_USAGE, make_parser
from serial_host.configuration import config_file
from serial_host.control import control
from serial_monitor.command import EndedError

EXIT_INTERRUPTED = 130

COMMANDS = {
    "run": serving.run,
    "simulate": serving.simulate,
    "check": asking.check,
    "list": asking.list_ports,
    "status": asking.status,
    "stop": asking.stop,
    "monitor": watching.monitor,
    "diagnose": diagnosing.run,
    "identity": securing.identity,
    "trust": securing.trust,
    "pair": securing.pair,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit status: 0 done, 1 failed, 2 wrong arguments or configuration."""
    options = make_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a device can hold what the code page of a pipe does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return COMMANDS[options.command](options)
    except config_file.ConfigError as error:
        print(f"serial_host: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except (control.NotRunningError, ComPortError, EndedError, OSError, *securing.ERRORS) as error:
        print(f"serial_host: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
