"""The command line's way to a running emulated edgeHub: one JSON request and one JSON answer over a unix socket."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.edgehub.hub import EdgeHub
from tests.edgehub.responder import Faults

FAULTS = {
    "go-away": "stop listening: connections are cut and refused (sessions kept)",
    "come-back": "listen again after go-away",
    "restart": "go away and come back, with the module's session",
    "restart-without-sessions": "go away and come back with all subscriptions forgotten",
    "drop-connection": "cut the module's connection once",
    "refuse-logins": "cut the connection and refuse logins (CONNACK 5)",
    "accept-logins": "end refuse-logins",
    "suspend": "hang: accept connections, answer nothing",
    "resume": "end suspend",
    "lose-replies": "on|off: never answer twin requests, send no desired notifications",
    "empty-twin": "on|off: answer reads with an empty twin, as edgeHub does offline with nothing stored",
    "reply-delay": "SECONDS: answer twin requests late",
    "reject-status": "STATUS: answer reported updates with it and store nothing (0 ends it)",
    "workload-gone": "remove the workload API's socket",
    "workload-back": "end workload-gone",
    "workload-suspend": "accept calls of the workload API, answer none",
    "workload-resume": "end workload-suspend",
    "none": "end every fault",
}
"""What `fault NAME [VALUE]` knows."""


class ControlError(Exception):
    """The request could not be carried out; the text says why."""


class ControlServer:
    """Serves `socket_path` for one hub until `close`."""

    def __init__(self, hub: EdgeHub, socket_path: Path) -> None:
        self._hub = hub
        commands: dict[str, Callable[..., Any]] = {
            "environment": lambda: hub.environment,
            "desired": lambda: {**hub.desired, "$version": hub.desired_version},
            "set_desired": hub.set_desired,
            "patch_desired": hub.patch_desired,
            "reported": self._reported,
            "call_method": hub.call_method,
            "status": self._status,
            "fault": self._fault,
        }

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    try:
                        request = json.loads(line)
                        answer = {"result": commands[request["command"]](**request["arguments"])}
                    except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
                        answer = {"error": f"{type(error).__name__}: {error}"}
                    self.wfile.write(json.dumps(answer).encode() + b"\n")

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        socket_path.unlink(missing_ok=True)
        self._server = Server(str(socket_path), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.1], daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _reported(self, after: int | None = None, timeout: float = 30.0) -> dict[str, Any]:
        """The reported properties; with `after` not before their version is another, or `timeout` seconds."""
        hub = self._hub
        if after is not None:
            with contextlib.suppress(TimeoutError):
                hub.wait(lambda: hub.reported_version != after, timeout)
        return {**hub.reported, "$version": hub.reported_version}

    def _status(self) -> dict[str, Any]:
        hub = self._hub
        return {
            "connected": hub.connected,
            "connections": hub.connections,
            "messages": {**asdict(hub.messages), "total": hub.messages.total},
            "methodCalls": hub.method_calls,
            "signatures": hub.workload.signatures,
            "violations": hub.violations,
            "faults": asdict(hub.faults),
        }

    def _fault(self, name: str, value: str | None = None) -> None:
        hub = self._hub
        simple: dict[str, Callable[[], None]] = {
            "go-away": hub.go_away,
            "come-back": hub.come_back,
            "restart": hub.restart,
            "restart-without-sessions": lambda: hub.restart(keep_sessions=False),
            "drop-connection": hub.drop_connection,
            "refuse-logins": hub.refuse_logins,
            "accept-logins": hub.accept_logins,
            "suspend": hub.suspend,
            "resume": hub.resume,
            "workload-gone": hub.workload.stop,
            "workload-back": hub.workload.start,
            "workload-suspend": hub.workload.suspend,
            "workload-resume": hub.workload.resume,
            "none": self._end_faults,
        }
        if name in simple:
            simple[name]()
        elif name == "lose-replies":
            hub.faults.lose_replies = _switch(value)
        elif name == "empty-twin":
            hub.faults.empty_twin = _switch(value)
        elif name == "reply-delay":
            hub.faults.reply_delay = float(value or "0")
        elif name == "reject-status":
            hub.faults.reject_status = int(value or "0")
        else:
            raise ControlError(f"unknown fault {name}; known are {', '.join(FAULTS)}")

    def _end_faults(self) -> None:
        hub = self._hub
        hub.faults = Faults()
        hub.workload.resume()
        hub.workload.start()
        hub.resume()
        hub.restart()


def request(socket_path: Path, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """Send one command to a running hub and return its answer.

    Raises:
        ControlError: no hub runs there, or it refused.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as stream:
            connection.connect(str(socket_path))
            stream.write(json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n")
            stream.flush()
            line = stream.readline()
    except OSError as error:
        raise ControlError(
            f"no emulated edgeHub answers at {socket_path} ({error.strerror}); start one with `run`"
        ) from error
    if not line:
        raise ControlError("the emulated edgeHub has ended")
    answer = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]


def _switch(value: str | None) -> bool:
    if value in {"on", "off"}:
        return value == "on"
    raise ControlError("say on or off")
