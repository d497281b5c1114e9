"""Which program listens on a TCP port of this computer, as far as this user is allowed to see it."""

from __future__ import annotations

import psutil

from serial_host.diagnosis.not_told import NotToldError
from serial_host.plumbing.text import described, printable


def listener_of(tcp_port: int) -> str | None:
    """Return who listens on a TCP port of this computer; None if nobody does.

    Raises:
        NotToldError: the system does not answer.
    """
    try:
        connections = psutil.net_connections("tcp")
    except Exception as error:  # whatever the system raises
        raise NotToldError(f"the TCP ports in use cannot be listed: {described(error)}") from error
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == tcp_port:
            if connection.pid is None:
                return "a program of another user"
            try:
                return f"{printable(psutil.Process(connection.pid).name())} (process {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None
