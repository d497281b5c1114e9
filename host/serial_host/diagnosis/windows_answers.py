"""Interprets the answers of Windows: firewall rules, reserved ports, the task's state, power saving. Pure."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

_TCP = "6"
"""IANA's number of TCP, as firewall rules write it."""


class Admission(Enum):
    """What the firewall does with connections to the TCP port of a program."""

    ADMITTED = "admitted"
    BLOCKED = "blocked"
    NOT_MENTIONED = "not mentioned"


def admission(rules: Iterable[str], program: str, port: int) -> tuple[Admission, str]:
    r"""Return what these firewall rules say of incoming connections, and the name of the rule that says it.

    A rule is a text such as `v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=5002|App=C:\x.exe|Name=y|`
    (MS-GPFAS, 2.2.2.19). A rule that blocks goes before one that admits. Addresses, profiles and interfaces that a rule
    is narrowed to are not looked at.
    """
    answer = (Admission.NOT_MENTIONED, "")
    for rule in rules:
        parts = [part.partition("=") for part in rule.split("|")]
        values: dict[str, list[str]] = {}
        for key, _, value in parts:
            values.setdefault(key, []).append(value)
        if not _concerns(values, program, port):
            continue
        name = values.get("Name", [""])[0]
        if values.get("Action") == ["Block"]:
            return Admission.BLOCKED, name
        if values.get("Action") == ["Allow"]:
            answer = Admission.ADMITTED, name
    return answer


def _concerns(values: dict[str, list[str]], program: str, port: int) -> bool:
    if values.get("Active") != ["TRUE"] or values.get("Dir") != ["In"]:
        return False
    if values.get("Protocol", [_TCP]) != [_TCP]:
        return False
    programs = values.get("App")
    if programs and ntpath.normcase(programs[0]) != ntpath.normcase(program):
        return False
    ports = [*values.get("LPort", []), *values.get("LPort2_10", [])]
    return not ports or any(_within(text, port) for text in ports)


def _within(text: str, port: int) -> bool:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    return match is not None and int(match[1]) <= port <= int(match[2] or match[1])


@dataclass(frozen=True, slots=True)
class PortRange:
    """TCP ports that Windows assigns only to a program that asks for one of them by number."""

    first: int
    last: int
    administered: bool
    """Whether an administrator (or our installer) has reserved them; else Windows has taken them for itself."""


def port_ranges(answer: str) -> Sequence[PortRange]:
    """Return the ranges that `netsh int ipv4 show excludedportrange protocol=tcp` lists, in whatever language."""
    lines = (re.match(r"\s*(\d+)\s+(\d+)(\s+\*)?\s*$", line) for line in answer.splitlines())
    return [PortRange(int(match[1]), int(match[2]), match[3] is not None) for match in lines if match]


def selective_suspend(answer: str) -> bool | None:
    """Return whether `powercfg /query` says that USB devices may be switched off on mains power; None: it does not say.

    The last two numbers are the present settings on mains power and on battery, in whatever language.
    """
    numbers = re.findall(r"0x([0-9a-fA-F]{8})", answer)
    return None if len(numbers) < 2 else int(numbers[-2], 16) != 0


def task_state(answer: str) -> int | None:
    """Return the number of the state of a task (`ScheduledTask.State`): 1 disabled, 2 queued, 3 ready, 4 running."""
    match = re.fullmatch(r"\s*([0-4])\s*", answer)
    return None if match is None else int(match[1])
