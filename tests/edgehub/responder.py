"""The hub's side of the MQTT topics: answers twin requests, sends notifications and method calls, counts messages."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import paho.mqtt.client as mqtt  # type: ignore[import-untyped]

from tests.edgehub.broker import HUB_PORT
from tests.edgehub.twin import Document, ModuleTwin, RejectedError

DESIRED_TOPIC = "$iothub/twin/PATCH/properties/desired/"
METHODS_TOPIC = "$iothub/methods/POST/"

_SUBSCRIBE_SECONDS = 30.0


@dataclass(slots=True)
class Messages:
    """What the module exchanged with edgeHub, as IoT Hub would meter it; each counts as one message."""

    twin_reads: int = 0
    reported_updates: int = 0
    desired_notifications: int = 0
    telemetry: int = 0

    @property
    def total(self) -> int:
        """All of them; direct methods are metered apart (`EdgeHub.method_calls`)."""
        return self.twin_reads + self.reported_updates + self.desired_notifications + self.telemetry


@dataclass(slots=True)
class Faults:
    """Faults of the twin service, switched by assignment at any time."""

    lose_replies: bool = False
    """Take requests (twin reads and reported updates) and never answer them; send no desired notifications."""
    empty_twin: bool = False
    """Answer reads with 200 and an empty twin, as edgeHub does offline with nothing stored."""
    reply_delay: float = 0.0
    """Answer requests after so many seconds."""
    reject_status: int = 0
    """Answer reported updates with this status (429, 500 ...) and store nothing; 0 stores them."""


class Responder:
    """An MQTT client of the broker on `address` that stands for edgeHub and the cloud behind it.

    `changed` guards everything here and the twin, and is notified after each message.
    """

    def __init__(
        self, address: str, device: str, module: str, twin: ModuleTwin, changed: threading.Condition
    ) -> None:
        self.faults = Faults()
        self.messages = Messages()
        self.method_calls = 0
        self.violations: list[str] = []
        self.telemetry: deque[tuple[str, bytes]] = deque(maxlen=1000)
        self._address = address
        self._telemetry_topic = f"devices/{device}/modules/{module}/messages/events/"
        self._twin = twin
        self._changed = changed
        self._answers: dict[str, tuple[int, Any]] = {}
        self._client: mqtt.Client | None = None

    def start(self) -> None:
        """Connect to the broker.

        Raises:
            TimeoutError: it does not answer.
        """
        subscribed = threading.Event()
        client = mqtt.Client(client_id="emulated-edgehub", clean_session=False)
        client.on_message = self._message_received
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_connect = lambda client, *_: client.subscribe(
            [
                ("$iothub/twin/GET/#", 1),
                ("$iothub/twin/PATCH/properties/reported/#", 1),
                ("$iothub/methods/res/#", 1),
                (f"{self._telemetry_topic}#", 1),
            ]
        )
        client.connect(self._address, HUB_PORT)
        client.loop_start()
        self._client = client
        if not subscribed.wait(_SUBSCRIBE_SECONDS):
            raise TimeoutError("the broker does not answer the emulated edgeHub's own subscription")

    def stop(self) -> None:
        """Disconnect; the broker keeps what comes in the meantime."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def notify(self, patch: Document) -> None:
        """Notify the module of a change of its desired properties."""
        if not self.faults.lose_replies:
            self.messages.desired_notifications += 1
            self._publish(f"{DESIRED_TOPIC}?$version={self._twin.desired_version}", patch)

    def call_method(self, name: str, payload: object, timeout: float) -> tuple[int, Any]:
        """Call a direct method; returns (status, payload).

        Raises:
            TimeoutError: no answer in time.
        """
        with self._changed:
            self.method_calls += 1
            request = str(self.method_calls)
            self._publish(f"{METHODS_TOPIC}{quote(name, safe='')}/?$rid={request}", payload)
            if not self._changed.wait_for(lambda: request in self._answers, timeout):
                raise TimeoutError(f"no answer to direct method {name} within {timeout} s")
            return self._answers.pop(request)

    def _message_received(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        topic: str = message.topic
        body: bytes = message.payload
        request = unquote(topic.partition("$rid=")[2].partition("&")[0])
        with self._changed:
            if topic.startswith("$iothub/twin/GET/"):
                self.messages.twin_reads += 1
                self._read_requested(request)
            elif topic.startswith("$iothub/twin/PATCH/"):
                self.messages.reported_updates += 1
                self._update_requested(request, body)
            elif topic.startswith("$iothub/methods/res/"):
                self._method_answered(request, topic.split("/")[3], body)
            else:
                self.messages.telemetry += 1
                properties = topic.removeprefix(self._telemetry_topic)
                self.telemetry.append((unquote(properties.partition("%24.on=")[2].partition("&")[0]), body))
            self._changed.notify_all()

    def _method_answered(self, request: str, status: str, body: bytes) -> None:
        try:
            self._answers[request] = (int(status), json.loads(body) if body else None)
        except ValueError as error:
            self.violations.append(f"method answer {status} {body[:100]!r}: {error}")

    def _read_requested(self, request: str) -> None:
        twin = {"desired": {}, "reported": {}} if self.faults.empty_twin else self._twin.whole()
        self._reply(f"$iothub/twin/res/200/?$rid={request}", twin)

    def _update_requested(self, request: str, body: bytes) -> None:
        if self.faults.reject_status:
            self._reply(f"$iothub/twin/res/{self.faults.reject_status}/?$rid={request}")
            return
        try:
            version = self._twin.patch_reported(body)
        except RejectedError as violation:
            self.violations.append(str(violation))
            self._reply(f"$iothub/twin/res/400/?$rid={request}", {"message": str(violation)})
        else:
            self._reply(f"$iothub/twin/res/204/?$rid={request}&$version={version}")

    def _reply(self, topic: str, document: object = None) -> None:
        if self.faults.lose_replies:
            return
        if self.faults.reply_delay:
            late = threading.Timer(self.faults.reply_delay, self._publish, [topic, document])
            late.daemon = True
            late.start()
        else:
            self._publish(topic, document)

    def _publish(self, topic: str, document: object) -> None:
        client = self._client
        if client is not None:
            client.publish(topic, b"" if document is None else json.dumps(document).encode(), qos=1)
