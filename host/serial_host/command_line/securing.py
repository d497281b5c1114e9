"""The commands `identity`, `trust` and `pair`, for the running server or for a configuration file.

Each function returns the exit status.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from serial_host.command_line.parser import EXIT_FAILED
from serial_host.configuration import config_file
from serial_host.control import control
from serial_host.plumbing.commands import PROGRAM
from serial_tls.errors import IdentityError

_LOOK_SECONDS = 0.25
"""Seconds between two questions whether a client has connected."""


class SecuringError(Exception):
    """The command cannot be carried out; the text is for people."""


def identity(options: argparse.Namespace) -> int:
    """Show who this host is; prepare another identity, or use the one that is prepared."""
    command = "prepareIdentity" if options.renew else "activateIdentity" if options.activate else "tls"
    status = _ask(options, command)
    present, following = status["fingerprint"], status["nextFingerprint"]
    if options.json:
        _print(json.dumps({"fingerprint": present, "nextFingerprint": following}))
        return 0
    _print(present)
    both = [present] if following is None else [present, following]
    _print(f'in the module\'s desired properties: "tls": {{ "hostFingerprints": {json.dumps(both)} }}')
    if following is not None:
        _print(f"the second is prepared; once all modules know it, run '{PROGRAM} identity --activate'")
    return 0


def trust(options: argparse.Namespace) -> int:
    """Add a client, remove one, or list them."""
    if options.fingerprint is None:
        trusted = _ask(options, "tls")["trusted"]
        _print("\n".join(trusted) if trusted else "no client is trusted yet")
    else:
        _ask(options, "revoke" if options.remove else "trust", fingerprint=options.fingerprint)
        _print(f"{'removed' if options.remove else 'trusted'}: {options.fingerprint}")
    return 0


def pair(options: argparse.Namespace) -> int:
    """Admit the next client that is not known, and print which one it was."""
    pid = _running(options)
    if pid is None:
        raise SecuringError("no running server has [tls] in its configuration: start it first")
    left = control.ask(pid, "pair")["pairingSeconds"]
    _print(f"waiting {left / 60:.0f} minutes for a new module; Ctrl+C leaves the server waiting")
    while True:
        status = control.ask(pid, "tls")
        if (paired := status["paired"]) is not None:
            _print(f"paired with {paired['peer']}: {paired['fingerprint']}")
            return 0
        if status["pairingSeconds"] is None:
            _print("no new module has connected")
            return EXIT_FAILED
        time.sleep(_LOOK_SECONDS)


def _ask(options: argparse.Namespace, command: str, **parameters: str) -> dict[str, Any]:
    pid = _running(options)
    if pid is not None:
        return control.ask(pid, command, **parameters)
    if options.config is None:
        raise SecuringError(
            "no running server has [tls] in its configuration: start it first, or give --config FILE"
        )
    tls = config_file.load(options.config).tls
    if tls is None:
        raise SecuringError(f"{options.config} has no usable [tls]")
    from serial_host.security.security import Security  # noqa: PLC0415  # the other commands need no OpenSSL

    answer = Security(tls).commands()[command](parameters)
    if not isinstance(answer, dict) or "error" in answer:
        raise SecuringError(str(answer))
    return answer


def _running(options: argparse.Namespace) -> int | None:
    """Return the process of the running server that has `[tls]`; None if there is none."""
    if options.pid is not None:
        pids = [options.pid]
    else:
        pids = [pid for pid in control.running() if control.ask(pid, "status").get("tls") is not None]
    if len(pids) > 1:
        raise SecuringError(f"{len(pids)} servers with [tls] are running: say which with --pid {pids[0]}")
    return pids[0] if pids else None


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


ERRORS = (SecuringError, IdentityError)
"""The exceptions that these commands raise in addition to those of the other commands; the text is for people."""
