"""Where messages go: to the standard error stream for a person, to a rotating file for a server that runs unattended."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time
from pathlib import Path

FILE_BYTES = 1_000_000
FILES_KEPT = 5


def set_up(file: Path | None) -> None:
    """Send all messages to `file`, or to standard error without one; local time, so that they fit the wall clock.

    Raises:
        OSError: the file cannot be written.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8"
        )
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
    formatter.converter = time.localtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("pymodbus").setLevel(logging.WARNING)
