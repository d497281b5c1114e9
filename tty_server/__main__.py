"""`python -m tty_server FD`: serve the ports that come by the socket FD, until its other end is closed."""

from __future__ import annotations

import logging
import signal
import socket
import sys

from tty_server.server import Server


def main() -> int:
    """Run the server; the relay starts it."""
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        print("usage: python -m tty_server FD   (the relay starts it)", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(
            number, signal.SIG_IGN
        )  # the relay's end is this one's, after the applications' last words
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Server(control).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
