"""Command line of the emulated edgeHub: run it, and talk to the one that runs.

python -m tests.edgehub run --desired desired.json
python -m tests.edgehub exec -- python -m serial_relay
python -m tests.edgehub desired patch serialPorts.ttyVirtS0.tcpPort=5003
python -m tests.edgehub reported --follow
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.edgehub.broker import BrokerError
from tests.edgehub.control import FAULTS, ControlError, ControlServer, request
from tests.edgehub.hub import EdgeHub


class UsageError(Exception):
    """An argument cannot be used; the text says what was expected."""


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.action(arguments) or 0)
    except (BrokerError, ControlError, UsageError) as error:
        print(f"edgehub: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.edgehub",
        description="An emulation of IoT Edge's edgeHub for one module: MQTT over TLS, workload API, module twin, "
        "direct methods, faults on demand. It needs Debian's mosquitto.",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()) / f"edgehub-{os.getuid()}",
        help="where the running hub keeps its files and control socket (default: %(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the hub in the foreground until Ctrl-C")
    run.add_argument("--desired", default="{}", help="desired properties at the start: a file, `-` or JSON")
    run.add_argument("--device", default="edge-device", help="device id (default: %(default)s)")
    run.add_argument("--module", default="serial-relay", help="module id (default: %(default)s)")
    run.add_argument("--address", help="loopback address to listen on (default: a free one)")
    run.add_argument("--host", help="gateway host name for the certificate (default: the address)")
    run.set_defaults(action=_run)

    environment = commands.add_parser("env", help="print the module's environment for `eval`")
    environment.set_defaults(action=_environment)

    execute = commands.add_parser("exec", help="run a module's command with the environment set")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    execute.set_defaults(action=_execute)

    desired = commands.add_parser("desired", help="show or change the desired properties")
    desired.add_argument("verb", nargs="?", choices=["show", "set", "patch"], default="show")
    desired.add_argument(
        "value",
        nargs="*",
        help="a file, `-`, JSON, or key.path=value (value: JSON, else a string; null removes)",
    )
    desired.set_defaults(action=_desired)

    reported = commands.add_parser("reported", help="show the reported properties")
    reported.add_argument("--follow", action="store_true", help="show them again after each update")
    reported.set_defaults(action=_reported)

    call = commands.add_parser("call", help="call a direct method; exits 1 if its status is 300 or more")
    call.add_argument("method")
    call.add_argument("payload", nargs="*", help="a file, `-`, JSON, or key=value")
    call.add_argument("--timeout", type=float, default=30.0, help="seconds (default: %(default)s)")
    call.set_defaults(action=_call)

    status = commands.add_parser("status", help="show connection, message counters and broken rules")
    status.set_defaults(action=_status)

    fault = commands.add_parser(
        "fault",
        help="inject a fault",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(f"{name:26}{text}" for name, text in FAULTS.items()),
    )
    fault.add_argument("name", choices=list(FAULTS), metavar="NAME")
    fault.add_argument("value", nargs="?")
    fault.set_defaults(action=_fault)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.directory
    desired = _document([arguments.desired])
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise UsageError(f"{directory} belongs to somebody else; choose another with --directory")
    with contextlib.suppress(ControlError):
        request(_socket(arguments), "status")
        raise UsageError(f"one runs there already; choose another --directory than {directory}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    hub = EdgeHub(
        desired,
        device=arguments.device,
        module=arguments.module,
        address=arguments.address,
        host=arguments.host,
        directory=directory,
    )
    with hub:
        control = ControlServer(hub, _socket(arguments))
        print(f"emulated edgeHub for {hub.device}/{hub.module} ready on {hub.host}:8883", flush=True)
        ended.wait()
        control.close()
    _socket(arguments).unlink(missing_ok=True)


def _environment(arguments: argparse.Namespace) -> None:
    for name, value in request(_socket(arguments), "environment").items():
        print(f"export {name}={shlex.quote(value)}")


def _execute(arguments: argparse.Namespace) -> None:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError("say which command to run: exec -- python -m my_module")
    environment = request(_socket(arguments), "environment")
    try:
        os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606 - the developer's own command
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}") from error


def _desired(arguments: argparse.Namespace) -> None:
    if arguments.verb == "show":
        _show(request(_socket(arguments), "desired"))
        return
    document = _document(arguments.value)
    if arguments.verb == "set":
        version = request(_socket(arguments), "set_desired", {"document": document})
    else:
        version = request(_socket(arguments), "patch_desired", {"patch": document})
    print(f"$version {version}")


def _reported(arguments: argparse.Namespace) -> None:
    document = request(_socket(arguments), "reported")
    _show(document)
    while arguments.follow:
        newer = request(_socket(arguments), "reported", {"after": document["$version"]})
        if newer["$version"] != document["$version"]:
            document = newer
            _show(document)


def _call(arguments: argparse.Namespace) -> int:
    payload = _document(arguments.payload) if arguments.payload else None
    status, answer = request(
        _socket(arguments),
        "call_method",
        {"name": arguments.method, "payload": payload, "timeout": arguments.timeout},
    )
    _show({"status": status, "payload": answer})
    return int(status >= 300)


def _status(arguments: argparse.Namespace) -> None:
    _show(request(_socket(arguments), "status"))


def _fault(arguments: argparse.Namespace) -> None:
    request(_socket(arguments), "fault", {"name": arguments.name, "value": arguments.value})


def _socket(arguments: argparse.Namespace) -> Path:
    directory: Path = arguments.directory
    return directory / "control.sock"


def _show(document: object) -> None:
    print(json.dumps(document, indent=2), flush=True)


def _document(values: list[str]) -> dict[str, Any]:
    """A JSON object from a file, standard input, JSON text or `key.path=value` words."""
    if not values:
        raise UsageError("say what: a file, `-`, JSON, or key.path=value")
    if len(values) == 1 and not _is_assignment(values[0]):
        return _read(values[0])
    document: dict[str, Any] = {}
    for word in values:
        if not _is_assignment(word):
            raise UsageError(f"expected key.path=value, not {word!r}")
        path, _, text = word.partition("=")
        *parents, last = path.split(".")
        place = document
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UsageError(f"{path}: a value was given for {key} before")
        place[last] = _json_or_text(text)
    return document


def _is_assignment(word: str) -> bool:
    return "=" in word and not word.lstrip().startswith("{") and not Path(word).is_file()


def _read(word: str) -> dict[str, Any]:
    try:
        if word == "-":
            text = sys.stdin.read()
        elif word.lstrip().startswith("{"):
            text = word
        else:
            text = Path(word).read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {word}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{word} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{word} holds no JSON object but {type(document).__name__}")
    return document


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
