"""The child process that holds azure-iot-device: one client, one connection to edgeHub, then it ends.

Started by `edge.EdgeTwin`, never by people. It is the only importer of the SDK, and it has a process of its own because
the SDK cannot be bounded from within: `get_twin` and `patch_twin_reported_properties` wait for ever for a lost answer,
a workload API that hangs stops the one thread that all clients of a process share, and its timers keep an interpreter
from ending. Killing the process frees all of it; the virtual ports live in another one and notice nothing.

It does not reconnect, back off or time out: whatever happens to the connection (also the SDK's own reconnect for a new
token every hour, after which nothing is subscribed again) ends the process, and the parent starts the next.

One JSON object a line. From the parent on standard input, `id` being echoed in the answer:
    {"id": 1, "call": "read_twin"}                       -> {"id": 1, "result": {...}} or {"id": 1, "error": "..."}
    {"id": 2, "call": "report", "patch": {...}}          -> {"id": 2, "result": null} or {"id": 2, "error": "..."}
    {"id": 3, "call": "answer", "request": "7", "status": 200, "payload": ...}
To the parent on standard output:
    {"event": "connected"}                               subscribed to desired changes and methods as well
    {"event": "desired_changed"}
    {"event": "method", "request": "7", "name": "...", "payload": ...}
    {"event": "ended", "reason": "..."}                  the last line
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NoReturn

from azure.iot.device import IoTHubModuleClient, MethodRequest, MethodResponse

EDGE_VARIABLES = (
    "IOTEDGE_WORKLOADURI",
    "IOTEDGE_IOTHUBHOSTNAME",
    "IOTEDGE_GATEWAYHOSTNAME",
    "IOTEDGE_DEVICEID",
    "IOTEDGE_MODULEID",
    "IOTEDGE_MODULEGENERATIONID",
    "IOTEDGE_APIVERSION",
)

NICENESS = 10
"""A TLS handshake must not take the processor from the byte path."""
KEEP_ALIVE_SECONDS = 30
"""MQTT keep-alive, and by way of paho the bound of the TLS handshake."""
CALLS_AT_ONCE = 4
REASON_LENGTH = 400


class _Parent:
    """The line to the parent process; any thread may use it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def tell(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            try:
                self._stream.write(json.dumps(message).encode() + b"\n")
                self._stream.flush()
            except OSError:
                os._exit(0)

    def end(self, reason: str) -> NoReturn:
        """Report the reason, and end at once: exiting in an orderly way would wait for the SDK's threads."""
        self.tell({"event": "ended", "reason": reason[:REASON_LENGTH]})
        os._exit(0)


def main() -> NoReturn:
    """Connect, serve the parent, and end with the connection.

    The arguments are the tokens' life in seconds, and how the module is announced.
    """
    parent = _Parent(_private_stdout())
    logging.disable()
    os.nice(NICENESS)
    missing = [name for name in EDGE_VARIABLES if name not in os.environ]
    if missing:
        parent.end(f"this is not the environment of an IoT Edge module: {', '.join(missing)} not set")
    try:
        client = _create(token_seconds=int(sys.argv[1]), announced_as=sys.argv[2])
    except Exception as error:  # noqa: BLE001 - the SDK lets errors of requests and urllib3 through
        parent.end(f"cannot get credentials from {os.environ['IOTEDGE_WORKLOADURI']}: {_explain(error)}")
    try:
        _connect(client, parent)
    except Exception as error:  # noqa: BLE001 - and those of ssl and its own pipeline
        parent.end(_explain(error))
    parent.tell({"event": "connected"})
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        for line in sys.stdin.buffer:
            pool.submit(_carry_out, client, parent, json.loads(line))
        os._exit(0)


def _private_stdout() -> BinaryIO:
    """Return standard output for the protocol alone; whatever a library prints goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def _create(token_seconds: int, announced_as: str) -> IoTHubModuleClient:
    """Let the SDK ask the workload API for edgeHub's authority and a signed token.

    The SDK puts `product_info` into the user name of MQTT: as `model-id` if it begins with `dtmi`, and otherwise behind
    its own name (`pipeline_stages_iothub_mqtt.py` of azure-iot-device 2.14).
    """
    return IoTHubModuleClient.create_from_edge_environment(
        auto_connect=False,
        connection_retry=False,
        ensure_desired_properties=False,
        keep_alive=KEEP_ALIVE_SECONDS,
        sastoken_ttl=token_seconds,
        product_info=announced_as,
    )


def _connect(client: IoTHubModuleClient, parent: _Parent) -> None:
    """Log in, and subscribe to the events that the parent needs."""
    client.connect()
    client.on_connection_state_change = lambda *_: parent.end("the connection was closed")
    client.on_twin_desired_properties_patch_received = lambda _patch: parent.tell(
        {"event": "desired_changed"}
    )
    client.on_method_request_received = lambda request: _method_called(parent, request)
    if not client.connected:
        parent.end("the connection was closed")


def _method_called(parent: _Parent, request: MethodRequest) -> None:
    parent.tell(
        {"event": "method", "request": request.request_id, "name": request.name, "payload": request.payload}
    )


def _carry_out(client: IoTHubModuleClient, parent: _Parent, message: Mapping[str, Any]) -> None:
    answer: dict[str, Any] = {"id": message["id"]}
    try:
        match message["call"]:
            case "read_twin":
                answer["result"] = client.get_twin()
            case "report":
                client.patch_twin_reported_properties(message["patch"])
                answer["result"] = None
            case "answer":
                client.send_method_response(
                    MethodResponse(message["request"], message["status"], message["payload"])
                )
                answer["result"] = None
            case unknown:
                answer["error"] = f"unknown call {unknown}"
    except Exception as error:  # noqa: BLE001 - see main
        answer["error"] = _explain(error)
    parent.tell(answer)


def _explain(error: BaseException) -> str:
    """Return the text of the SDK's error and that of the error that caused it, which says what really happened."""
    root = error
    while (beneath := root.__cause__ or root.__context__) is not None:
        root = beneath
    texts = [str(each) or type(each).__name__ for each in (error, root)]
    return texts[0] if root is error else f"{texts[0]}: {texts[1]}"


if __name__ == "__main__":
    main()
