"""A mosquitto process that carries the emulated edgeHub: TLS for the module, a plain listener for the hub.

It knows nothing of twins and methods. Needs Debian's `mosquitto` (2.0 or later).
"""

from __future__ import annotations

import getpass
import os
import re
import select
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.edgehub.certificates import ServerCertificate

MODULE_PORT = 8883
"""Hard-coded in azure-iot-device."""
HUB_PORT = 1883

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0

_RELOAD_SECONDS = 0.5
"""Seconds after which mosquitto is told again to read its configuration: a signal that comes while it does so for an earlier
one is lost (src/loop.c of 2.0: the flag is cleared at the end)."""

# Only a client with a user name is reported: every azure-iot-device has one, `EdgeHub.drop_connection` has none.
_CONNECTED = re.compile(r"New client connected from \S+ as (?P<client>\S+) \(.*u'(?P<user>.*)'\)")
_DISCONNECTED = re.compile(
    r"[Cc]lient (?P<client>\S+?),?(?: \[\S+\])? (?:disconnect|closed its connection|has exceeded|already connected)"
)
"""Mosquitto 2.1 adds the address in brackets, and says "disconnected" in all cases."""
_SUBSCRIBED = re.compile(r"^(?P<client>\S+) [012] (?P<topic>\$iothub/\S+)$")


class BrokerError(Exception):
    """Mosquitto cannot be started; the text holds what it said."""


class Broker:
    """One mosquitto on one loopback address, with sessions kept in `directory`.

    What clients do is read from mosquitto's log; the callbacks come from any thread, with `lock` (a reentrant one) held.
    """

    def __init__(
        self,
        address: str,
        directory: Path,
        certificate: ServerCertificate,
        *,
        lock: AbstractContextManager[object],
        on_connected: Callable[[str, str], None],
        on_disconnected: Callable[[str], None],
        on_subscribed: Callable[[str, str], None],
    ) -> None:
        self.address = address
        self._directory = directory
        self._certificate = certificate
        self._lock = lock
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_subscribed = on_subscribed
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._log_reader: threading.Thread | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._ready = threading.Event()
        self._reloads = threading.Event()

    @property
    def sessions(self) -> Path:
        """Mosquitto's file of sessions, written when it stops."""
        return self._directory / "mosquitto.db"

    def start(self, *, open_to_module: bool = True, accept_logins: bool = True) -> None:
        """Start mosquitto and wait until it listens.

        Raises:
            BrokerError: it did not start; the text holds its last words.
        """
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if program is None:
            raise BrokerError("mosquitto is not installed: apt-get install mosquitto")
        self._configure(open_to_module=open_to_module, accept_logins=accept_logins)
        self._ready.clear()
        self._said.clear()
        process = subprocess.Popen(
            [program, "-c", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        self._process = process
        self._log_reader = threading.Thread(target=self._read_log, args=[process], daemon=True)
        self._log_reader.start()
        self._ready.wait(_START_SECONDS)
        if process.poll() is not None or not self._ready.is_set():
            self.stop()
            raise BrokerError(f"mosquitto does not start on {self.address}: " + " | ".join(self._said))

    def stop(self) -> None:
        """Stop mosquitto; it saves its sessions. Nothing happens if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._log_reader is not None:
            self._log_reader.join(_STOP_SECONDS)
        self._process = None

    def accept_logins(self, accept: bool) -> None:
        """Refuse (CONNACK 5) or accept the module from now on; a refused one is disconnected at once.

        Raises:
            BrokerError: mosquitto does not read its configuration again.
        """
        self._configure(open_to_module=True, accept_logins=accept)
        if self._process is None:
            return
        self._reloads.clear()
        for _ in range(int(_START_SECONDS / _RELOAD_SECONDS)):
            self._process.send_signal(signal.SIGHUP)
            if self._reloads.wait(_RELOAD_SECONDS):
                return
        raise BrokerError("mosquitto does not read its configuration again: " + " | ".join(self._said))

    def suspend(self) -> None:
        """Stop answering while connections stand and new ones are still accepted by the kernel."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `suspend`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @property
    def _configuration(self) -> Path:
        return self._directory / "mosquitto.conf"

    def _configure(self, *, open_to_module: bool, accept_logins: bool) -> None:
        lines = [
            "per_listener_settings true",
            f"user {getpass.getuser()}",
            "persistence true",
            f"persistence_location {self._directory}/",
            "sys_interval 0",
            "set_tcp_nodelay true",
            "log_dest stderr",
            "log_timestamp false",
            "log_type notice",
            "log_type information",
            "log_type warning",
            "log_type error",
            "log_type subscribe",
            "connection_messages true",
            f"listener {HUB_PORT} {self.address}",
            "allow_anonymous true",
        ]
        if open_to_module:
            lines += [
                f"listener {MODULE_PORT} {self.address}",
                f"cafile {self._certificate.authority}",
                f"certfile {self._certificate.certificate}",
                f"keyfile {self._certificate.key}",
                "tls_version tlsv1.2",
                f"allow_anonymous {str(accept_logins).lower()}",
            ]
        self._configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def catch_up(self) -> None:
        """Read all that mosquitto has logged so far: it logs a subscription before it confirms it."""
        with self._lock:
            if self._process is None or self._process.stderr is None or self._process.stderr.closed:
                return
            while chunk := self._process.stderr.read():
                *lines, self._unread = (self._unread + chunk).split(b"\n")
                for line in lines:
                    self._logged(line.decode(errors="replace"))

    def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        while process.poll() is None:
            select.select([process.stderr], [], [], 1.0)
            self.catch_up()
        self.catch_up()
        with self._lock:
            process.stderr.close()
        self._ready.set()

    def _logged(self, line: str) -> None:
        self._said.append(line)
        if line.startswith("mosquitto version") and line.endswith("running"):
            self._ready.set()
        elif line.startswith("Reloading config"):
            self._reloads.set()
        elif found := _CONNECTED.search(line):
            self._on_connected(found["client"], found["user"])
        elif found := _DISCONNECTED.search(line):
            self._on_disconnected(found["client"])
        elif found := _SUBSCRIBED.search(line):
            self._on_subscribed(found["client"], found["topic"])
