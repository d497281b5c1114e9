"""An application that uses a virtual serial port: it sends a line each second and prints what the device answers.

It stands for yours. It needs no library, so that any image with Python runs it; with pyserial it would be
`serial.Serial("/dev/ttyVirtS0", 9600)`.
"""

import os
import select
import sys
import time
import tty

PATIENCE = 1.0
"""Seconds that the device has for an answer, and until a port that is not there is sought again."""


def talk(path: str) -> None:
    """Send and receive until the port ends (OSError)."""
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(port)
        number = 0
        while True:
            number += 1
            os.write(port, b"request %d\n" % number)
            deadline = time.monotonic() + PATIENCE
            answer = b""
            while not answer.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
                if select.select([port], [], [], left)[0]:
                    answer += os.read(port, 4096)
            print(f"request {number}: {answer!r}", flush=True)
            time.sleep(max(0.0, deadline - time.monotonic()))
    finally:
        os.close(port)


def main() -> None:
    """Talk for ever; a port that is away (the relay starts anew) is opened again."""
    path = sys.argv[1]
    while True:
        try:
            talk(path)
        except OSError as error:
            print(f"{path}: {error.strerror}; it is tried again", flush=True)
            time.sleep(PATIENCE)


if __name__ == "__main__":
    main()
