"""An EMULATION of IoT Edge's edgeHub for one module, for tests and for developing modules without Azure.

What is real: MQTT 3.1.1 over TLS on port 8883 (mosquitto), the workload API on a unix socket, the topics, status codes
and validation rules that the Azure device SDKs meet. What is not: nothing reaches a cloud, tokens are signed with a
random key and checked by nobody, one hub serves one module (twin topics do not carry a module's name and a plain broker
cannot tell modules apart), there are no routes. The behaviour is that of edgeHub 1.5/1.6 as far as it is known.

    with EdgeHub(desired={"host": "192.0.2.1"}) as hub:
        process = subprocess.Popen(["my-module"], env={**os.environ, **hub.environment})
        hub.wait_reported(lambda reported: reported.get("status") == "ok")

Each instance has a loopback address of its own, so many can run side by side. All methods may be called from any thread;
those that wait block the caller (use `asyncio.to_thread` beside an event loop).
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import paho.mqtt.client as mqtt  # type: ignore[import-untyped]

from tests.edgehub import certificates
from tests.edgehub.broker import HUB_PORT, MODULE_PORT, Broker
from tests.edgehub.responder import DESIRED_TOPIC, METHODS_TOPIC, Faults, Messages, Responder
from tests.edgehub.twin import Document, ModuleTwin
from tests.edgehub.workload import WorkloadApi

_WAIT_SECONDS = 30.0


class EdgeHub:
    """The emulated edgeHub; a context manager, or `start` and `close`.

    Args:
        desired: desired properties at the start, `$version` 1.
        device, module: identities, as IoT Hub knows them.
        address: loopback address (127.x.y.z) to listen on; a free one is taken by default.
        host: name for the certificate and `IOTEDGE_GATEWAYHOSTNAME`; the address by default. A name has to resolve
            to the address.
        directory: where certificates, sockets and sessions go (must exist; its path should be short, because it
            becomes part of a URL's host); by default a temporary one that is removed at the end.
    """

    def __init__(
        self,
        desired: Mapping[str, Any] | None = None,
        *,
        device: str = "edge-device",
        module: str = "serial-relay",
        address: str | None = None,
        host: str | None = None,
        directory: Path | None = None,
    ) -> None:
        self.device = device
        self.module = module
        self.address = address or _free_address()
        self.host = host or self.address
        self.connections = 0
        """Logins of the module so far."""
        self.model_id: str | None = None
        """What the module announced as its DTDL model with the last of them."""
        self._twin = ModuleTwin(desired)
        self._subscriptions: set[str] = set()
        self._connected = False
        self._changed = threading.Condition()
        self._responder = Responder(self.address, device, module, self._twin, self._changed)
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="edgehub-"))
        certificate = certificates.issue(self.host, self.directory)
        self.workload = WorkloadApi(
            self.directory / "workload.sock",
            certificate.authority,
            module,
            generation="1",
            issue=lambda life: certificates.issue_identity(certificate, device, module, life),
        )
        self._broker = Broker(
            self.address,
            self.directory,
            certificate,
            lock=self._changed,
            on_connected=self._client_connected,
            on_disconnected=self._client_disconnected,
            on_subscribed=self._client_subscribed,
        )

    # --- life ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the broker and the workload API.

        Raises:
            BrokerError: mosquitto is missing or does not start.
        """
        try:
            self._prepare_sessions()
            self._open()
            self.workload.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything and remove the temporary directory."""
        self.workload.resume()
        self.workload.stop()
        self._shut()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that edgeAgent gives a module, for a module on this hub."""
        return {
            "IOTEDGE_WORKLOADURI": f"unix://{self.workload.socket_path}",
            "IOTEDGE_DEVICEID": self.device,
            "IOTEDGE_MODULEID": self.module,
            "IOTEDGE_MODULEGENERATIONID": "1",
            "IOTEDGE_IOTHUBHOSTNAME": "emulated.azure-devices.net",
            "IOTEDGE_GATEWAYHOSTNAME": self.host,
            "IOTEDGE_APIVERSION": "2019-01-30",
            "IOTEDGE_AUTHSCHEME": "sasToken",
        }

    # --- the cloud's side ---

    @property
    def desired(self) -> Document:
        """The desired properties, without `$version`."""
        with self._changed:
            return copy.deepcopy(self._twin.desired)

    @property
    def desired_version(self) -> int:
        """`$version` of the desired properties."""
        with self._changed:
            return self._twin.desired_version

    @property
    def reported(self) -> Document:
        """The reported properties, without `$version`."""
        with self._changed:
            return copy.deepcopy(self._twin.reported)

    @property
    def reported_version(self) -> int:
        """`$version` of the reported properties: grows by one with every update that was stored."""
        with self._changed:
            return self._twin.reported_version

    @property
    def faults(self) -> Faults:
        """Faults of the twin service, switched by assigning to its fields."""
        return self._responder.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._responder.faults = faults

    @property
    def violations(self) -> list[str]:
        """Rules that the module broke, such as why a reported update was answered 400."""
        with self._changed:
            return list(self._responder.violations)

    @property
    def messages(self) -> Messages:
        """A copy of the counters."""
        with self._changed:
            return copy.copy(self._responder.messages)

    @property
    def method_calls(self) -> int:
        """Direct methods called so far."""
        return self._responder.method_calls

    @property
    def telemetry(self) -> list[tuple[str, bytes]]:
        """(output or "", body) of the newest thousand messages."""
        with self._changed:
            return list(self._responder.telemetry)

    @property
    def connected(self) -> bool:
        """The module is logged in and has subscribed to what it needs to hear of twin changes."""
        with self._changed:
            self._broker.catch_up()
            return self._connected and DESIRED_TOPIC + "#" in self._subscriptions

    def set_desired(self, document: Mapping[str, Any]) -> int:
        """Replace the desired properties; returns the new `$version`."""
        with self._changed:
            notification = self._twin.replace_desired(document)
            return self._notify(notification)

    def patch_desired(self, patch: Mapping[str, Any]) -> int:
        """Merge into the desired properties (None removes a key); returns the new `$version`."""
        with self._changed:
            notification = self._twin.patch_desired(patch)
            return self._notify(notification)

    def restore_desired(self, document: Mapping[str, Any], version: int) -> None:
        """Put back earlier desired properties with an earlier `$version`, without a notification."""
        with self._changed:
            self._twin.restore_desired(document, version)

    def clear_reported(self) -> None:
        """Forget the reported properties, as a hub does when the module's identity is made anew."""
        with self._changed:
            self._twin.reported = {}
            self._changed.notify_all()

    def call_method(
        self, name: str, payload: object = None, timeout: float = _WAIT_SECONDS
    ) -> tuple[int, Any]:
        """Call a direct method of the module; returns (status, payload).

        Raises:
            ConnectionError: the module is not connected or takes no methods (IoT Hub's 404).
            TimeoutError: no answer in time (IoT Hub's 504).
        """
        with self._changed:
            self._broker.catch_up()
            if not self._connected or METHODS_TOPIC + "#" not in self._subscriptions:
                raise ConnectionError(f"module {self.module} is not connected or takes no direct methods")
            return self._responder.call_method(name, payload, timeout)

    # --- waiting ---

    def wait(self, predicate: Callable[[], object], timeout: float = _WAIT_SECONDS) -> None:
        """Wait until `predicate` holds; it is looked at after each message, login and logout.

        Raises:
            TimeoutError: it did not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(
                    f"not within {timeout} s; module {'connected' if self._connected else 'not connected'}, "
                    f"{self._responder.messages}, reported: {json.dumps(self._twin.reported)[:2000]}"
                )

    def wait_connected(self, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until the module is connected and subscribed."""
        self.wait(lambda: self.connected, timeout)

    def wait_reported(
        self, predicate: Callable[[Document], object], timeout: float = _WAIT_SECONDS
    ) -> Document:
        """Wait until the reported properties satisfy `predicate`, and return them.

        Raises:
            TimeoutError: they did not in time; the text holds what was reported instead.
        """
        found: list[Document] = []

        def satisfied() -> bool:
            reported = self.reported
            if predicate(reported):
                found.append(reported)
            return bool(found)

        self.wait(satisfied, timeout)
        return found[0]

    # --- faults of the connection ---

    def go_away(self) -> None:
        """Stop listening: connections are cut, new ones refused. Sessions are kept."""
        self._shut()

    def come_back(self, *, keep_sessions: bool = True) -> None:
        """Listen again after `go_away`, with or without the sessions (subscriptions) from before."""
        if not keep_sessions:
            self._forget_sessions()
        self._open()

    def restart(self, *, keep_sessions: bool = True) -> None:
        """`go_away` and `come_back`."""
        self.go_away()
        self.come_back(keep_sessions=keep_sessions)

    def drop_connection(self) -> None:
        """Cut the module's connection; its session stays and it may come back at once."""
        cutter = mqtt.Client(client_id=self._client_id, clean_session=False)
        cutter.connect(self.address, HUB_PORT)
        cutter.loop_start()
        deadline = time.monotonic() + _WAIT_SECONDS
        while not cutter.is_connected() and time.monotonic() < deadline:
            time.sleep(0.001)
        cutter.disconnect()
        cutter.loop_stop()

    def refuse_logins(self) -> None:
        """Cut the module's connection and refuse its logins (CONNACK 5) until `accept_logins`."""
        self._broker.accept_logins(False)

    def accept_logins(self) -> None:
        """End `refuse_logins`."""
        self._broker.accept_logins(True)

    def suspend(self) -> None:
        """Hang: connections stand and new ones are accepted by the kernel, but nothing is answered."""
        self._broker.suspend()

    def resume(self) -> None:
        """Go on after `suspend`."""
        self._broker.resume()

    # --- inside ---

    @property
    def _client_id(self) -> str:
        return f"{self.device}/{self.module}"

    @property
    def _empty_sessions(self) -> Path:
        return self.directory / "empty.db"

    def _prepare_sessions(self) -> None:
        """Make a session file in which only the responder is subscribed, for a hub without the module's session.

        With it a request that comes before the responder is back waits in the broker instead of being lost.
        """
        self._broker.sessions.unlink(missing_ok=True)
        self._broker.start(open_to_module=False)
        self._responder.start()
        self._shut()
        shutil.copyfile(self._broker.sessions, self._empty_sessions)

    def _forget_sessions(self) -> None:
        shutil.copyfile(self._empty_sessions, self._broker.sessions)
        with self._changed:
            self._subscriptions.clear()

    def _open(self) -> None:
        self._broker.start()
        self._responder.start()

    def _shut(self) -> None:
        self._responder.stop()
        self._broker.stop()
        with self._changed:
            self._connected = False
            self._changed.notify_all()

    def _client_connected(self, client: str, user: str) -> None:
        if client == self._client_id:
            with self._changed:
                # HOST/DEVICE/MODULE/?api-version=…&DeviceClientType=…&model-id=…, where edgeHub reads it too.
                self.model_id = parse_qs(user.partition("?")[2]).get("model-id", [None])[0]
                self._connected = True
                self.connections += 1
                self._changed.notify_all()

    def _client_disconnected(self, client: str) -> None:
        if client == self._client_id:
            with self._changed:
                self._connected = False
                self._changed.notify_all()

    def _client_subscribed(self, client: str, topic: str) -> None:
        if client == self._client_id:
            with self._changed:
                self._subscriptions.add(topic)
                self._changed.notify_all()

    def _notify(self, patch: Document) -> int:
        """Notify the module if it is connected: edgeHub keeps no notification for later."""
        if self.connected:
            self._responder.notify(patch)
        self._changed.notify_all()
        return self._twin.desired_version


def _free_address() -> str:
    """A loopback address on which nobody listens: port 8883 is fixed, so instances differ by address."""
    while True:
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        try:
            for port in (MODULE_PORT, HUB_PORT):
                with socket.create_server((address, port)):
                    pass
        except OSError:
            continue
        return address
