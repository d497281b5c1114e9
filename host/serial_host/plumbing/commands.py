"""The name under which people start this program, for messages that say which command to run."""

from __future__ import annotations

import sys

PROGRAM = "serial-host.cmd" if sys.platform == "win32" else "serial-host"
