"""The commands `status`, `restart`, `lines` and `identity`, which ask a running module; each returns the exit status."""

from __future__ import annotations

import argparse
import json

from serial_relay.command_line.table import table
from serial_relay.command_line.watching import watch_status
from serial_relay.control import client, location


def status(options: argparse.Namespace) -> int:
    """Show what the module's ports are doing."""
    if options.watch:
        return watch_status(options)
    section = client.ask(location.chosen(options.pid), "getStatus")
    _print(json.dumps(section, indent=2) if options.json else table(section))
    return 0


def restart(options: argparse.Namespace) -> int:
    """Make a port's connection again."""
    client.ask(location.chosen(options.pid), "restartPort", {"port": options.port})
    _print(f"{options.port}: the connection is being made again")
    return 0


def lines(options: argparse.Namespace) -> int:
    """Set the modem lines of the real port, or send a break."""
    pid = location.chosen(options.pid)
    wished = {name: value for name in ("dtr", "rts") if (value := getattr(options, name)) is not None}
    if wished:
        client.ask(pid, "setModemLines", {"port": options.port, **wished})
        _print(
            f"{options.port}: {', '.join(f'{name.upper()} {_on(value)}' for name, value in wished.items())}"
        )
    if options.send_break is not None:
        client.ask(pid, "sendBreak", {"port": options.port, "milliseconds": options.send_break})
        _print(f"{options.port}: a break of {options.send_break} ms was sent")
    if not wished and options.send_break is None:
        _print(_modem_lines(options.port, client.ask(pid, "getStatus")["serialPorts"]))
    return 0


def identity(options: argparse.Namespace) -> int:
    """Show who this module is to hosts with TLS; prepare another identity, or use the one that is prepared."""
    pid = location.chosen(options.pid)
    if options.renew or options.activate:
        answer = client.ask(pid, "renewIdentity" if options.renew else "activateIdentity")
        present, following = answer["fingerprint"], answer["nextFingerprint"]
    else:
        section = client.ask(pid, "getStatus")
        present, following = section.get("moduleFingerprint"), section.get("nextModuleFingerprint")
    if options.json:
        _print(json.dumps({"fingerprint": present, "nextFingerprint": following}))
    elif present is None:
        _print("this module has no identity yet: it is made when a port uses TLS, or by --renew")
    else:
        _print(present)
        if following is not None:
            _print(
                f"prepared: {following}; run 'serial-host.cmd trust {following}' at each host ('serial-host' on Linux),"
                " then 'serial-relay identity --activate'"
            )
    return 0


def _modem_lines(name: str, ports: dict[str, dict[str, object]]) -> str:
    if name not in ports:
        raise client.RefusedError(f"there is no port {name}; there are {', '.join(ports) or 'none'}")
    modem = ports[name].get("modem")
    if not isinstance(modem, dict):
        return (
            f"{name}: its modem lines are not known: they are known only with the protocol rfc2217,"
            " while the port is connected"
        )
    return f"{name}: " + ", ".join(f"{line.upper()} {_on(on)}" for line, on in modem.items())


def _on(value: object) -> str:
    return "on" if value else "off"


def _print(text: str) -> None:
    print(text)  # noqa: T201
