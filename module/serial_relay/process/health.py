"""Does the event loop still turn? The answer for the image's health command, `python -m serial_relay.process.health`.

The service listens on a Unix socket and its event loop itself answers each connection, so a loop that is stuck does
not answer, whatever other threads do; between questions this costs nothing. It says nothing about hosts, devices or
the hub: when they are away, that is not a fault of this process, and their state is in the reported properties.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

ANSWER = b"alive\n"
WITHOUT_CONFIGURATION = b"alive without a configuration\n"


async def serve(path: Path, configured: Callable[[], bool] = lambda: True) -> Callable[[], None]:
    """Answer on a Unix socket at `path`, to this user alone; return a function that ends that.

    `configured` tells whether a configuration is in force.
    A socket that a killed process left there is replaced. Never raises: if no socket can be made, a warning is logged
    and the health command does not work.
    """
    import asyncio  # noqa: PLC0415 - the asking side is a new process each time and does without
    import logging  # noqa: PLC0415

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER if configured() else WITHOUT_CONFIGURATION)
        writer.close()

    before = os.umask(0o177)
    try:
        return (await asyncio.start_unix_server(answer, path)).close
    except OSError as error:
        logging.getLogger(__name__).warning(
            "the health command will not work: cannot listen at %s: %s; HEALTH_SOCKET names another path, or is empty"
            " for no health command",
            path,
            error.strerror or error,
        )
        return lambda: None
    finally:
        os.umask(before)


def ask(path: Path, *, timeout: float = 5.0) -> bool:
    """Return whether the service that listens at `path` has a configuration, if it answers.

    Raises:
        OSError: nobody listens there, or no answer came within `timeout` seconds (TimeoutError).
        ConnectionError: the connection ended without the answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question:
        question.settimeout(timeout)
        question.connect(str(path))
        received = b""
        while len(received) <= len(WITHOUT_CONFIGURATION) and (chunk := question.recv(100)):
            received += chunk
        if received not in {ANSWER, WITHOUT_CONFIGURATION}:
            raise ConnectionError(f"expected {ANSWER!r}, not {received!r}")
        return received == ANSWER


def main() -> int:
    """Ask at `HEALTH_SOCKET`, print the result, and return the exit status that Docker expects: 0 healthy, 1 unhealthy.

    With the argument `--configured` (a readiness probe) it is also unhealthy before any configuration is in force.
    """
    name = os.environ.get("HEALTH_SOCKET")
    if not name:
        print("unhealthy: HEALTH_SOCKET must name the socket that the service listens on", file=sys.stderr)  # noqa: T201
        return 1
    path = Path(name)
    try:
        configured = ask(path)
    except TimeoutError:
        print(f"unhealthy: the event loop did not answer at {path}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"unhealthy: no serial_relay answers at {path}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if "--configured" in sys.argv[1:] and not configured:
        print("not ready: there is no configuration yet", file=sys.stderr)  # noqa: T201
        return 1
    print("healthy")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
