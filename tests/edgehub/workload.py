"""The calls of IoT Edge's workload API that a module and its SDK make, over a unix socket.

`GET /trust-bundle`, and below `/modules/<module>/genid/<generation>` `POST sign` and `POST certificate/identity`. The key is a random one, and nothing
checks the tokens signed with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import socketserver
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class WorkloadApi:
    """Serves on `socket_path` from `start` to `stop`; may be started again."""

    def __init__(
        self,
        socket_path: Path,
        authority: Path,
        module: str,
        generation: str,
        issue: Callable[[timedelta], tuple[str, str]],
    ) -> None:
        """`issue` gives a certificate for the module that is valid for some time, and its key."""
        self.socket_path = socket_path
        self.certificates = 0
        """Certificates issued since the start."""
        self.certificate_life = timedelta(days=1)
        """Of the certificates that are issued next."""
        self.signatures = 0
        """Tokens signed since the start."""
        self._answers = threading.Event()
        self._answers.set()
        self._server: _Server | None = None
        api = self
        key = secrets.token_bytes(32)
        sign_path = f"/modules/{module}/genid/{generation}/sign"
        identity_path = f"/modules/{module}/genid/{generation}/certificate/identity"
        trust_bundle = json.dumps({"certificate": authority.read_text(encoding="ascii")}).encode()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                api._answers.wait()
                if urlsplit(self.path).path == "/trust-bundle":
                    self._answer(HTTPStatus.OK, trust_bundle)
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b'{"message":"not found"}')

            def do_POST(self) -> None:
                api._answers.wait()
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if urlsplit(self.path).path == identity_path:
                    self._answer(HTTPStatus.CREATED, api._new_certificate(issue))
                    return
                if urlsplit(self.path).path != sign_path:
                    self._answer(HTTPStatus.NOT_FOUND, b'{"message":"not found"}')
                    return
                try:
                    data = base64.b64decode(json.loads(body)["data"], validate=True)
                except (ValueError, KeyError, TypeError, binascii.Error):
                    self._answer(HTTPStatus.BAD_REQUEST, b'{"message":"no base64 data"}')
                    return
                api.signatures += 1
                digest = base64.b64encode(hmac.digest(key, data, hashlib.sha256)).decode()
                self._answer(HTTPStatus.OK, json.dumps({"digest": digest}).encode())

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

            def _answer(self, status: HTTPStatus, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._handler = Handler

    def _new_certificate(self, issue: Callable[[timedelta], tuple[str, str]]) -> bytes:
        certificate, key = issue(self.certificate_life)
        self.certificates += 1
        expiration = (datetime.now(UTC) + self.certificate_life).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = {
            "privateKey": {"type": "key", "bytes": key},
            "certificate": certificate,
            "expiration": expiration,
        }
        return json.dumps(answer).encode()

    def start(self) -> None:
        """Listen; a socket left from before is replaced."""
        if self._server is not None:
            return
        self.socket_path.unlink(missing_ok=True)
        self._server = _Server(str(self.socket_path), self._handler)
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def stop(self) -> None:
        """Remove the socket: callers get "no such file", as before IoT Edge has started."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        self.socket_path.unlink(missing_ok=True)

    def suspend(self) -> None:
        """Accept calls and never answer them, until `resume`."""
        self._answers.clear()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self._answers.set()
