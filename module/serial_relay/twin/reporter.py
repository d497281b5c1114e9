"""When to send which part of the reported section, since each patch counts as a message of the hub.

What people act upon is sent at once; what merely changes, such as counters, goes along with that or waits. The
reporter has no clock and does no IO: `now` is an argument in seconds of a monotonic clock, and its owner sends what
`patch` returns and answers with `accepted` or `failed`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from serial_relay.status import ErrorCode, PortStatus, State
from serial_relay.twin.keys import DEFAULT_REPORT_INTERVAL
from serial_relay.twin.limits import MAX_SECTION_BYTES
from serial_relay.twin.plug_and_play import incoming, outgoing, with_acknowledgements
from serial_relay.twin.reported import (
    ACKNOWLEDGEMENTS,
    MODULE_KEYS,
    ModuleFacts,
    fit,
    json_size,
    merge_patch,
    outline,
    render,
    united,
    unknown_section,
)
from serial_relay.twin.twin import Document

log = logging.getLogger(__name__)

BURST = 20
PER_HOUR = 12
"""Patches that may be sent in a burst, and patches that are earned in each hour after that."""

RESERVE = 10
"""Tokens that only faults and recoveries may take, however often applications open and close their ports."""

_SETTLE = 0.3
"""Seconds from a change to its patch, so that what follows from it goes along."""

_FIRST_RETRY = 5.0
_LAST_RETRY = 3600 / PER_HOUR
"""Seconds between attempts while the other side does not accept."""

_ROUNDING = 1e-6

_HEALTHY = (State.CONNECTING, State.NEGOTIATING, State.CONNECTED, State.IDLE)
_FACTS = (
    "version",
    "startedAt",
    "configSource",
    "desiredVersion",
    "configErrors",
    "moduleFingerprint",
    "nextModuleFingerprint",
    ACKNOWLEDGEMENTS,
)


class _Urgency(IntEnum):
    """How soon a difference between the section and what the other side holds is to be sent."""

    NONE = 0
    SLOW = 1
    """Counters, modem lines, another attempt with the same error: at the report interval."""
    CALM = 2
    """Applications come and go, a healthy port changes its state: while more than the reserve is left."""
    PROMPT = 3
    """Faults, recoveries, configuration: while a token is left."""


class Reporter:
    """Decides what to report when.

    Nothing is due before the first `resend_all`. At most `BURST` + 24 x `PER_HOUR` patches a day are caused by
    changes, and one each report interval by counters.
    """

    def __init__(self, facts: ModuleFacts, *, plug_and_play: bool = False, limited: bool = True) -> None:
        """With `plug_and_play` the section goes out in the form of that convention.

        Without `limited` patches cost nothing, and there may be any number of them.
        """
        self._limited = limited
        self._facts = facts
        self._plug_and_play = plug_and_play
        self._interval = DEFAULT_REPORT_INTERVAL
        self._bucket = _TokenBucket()
        self._held: dict[str, Any] | None = None  # None: unknown
        self._names: set[str] = set()  # of ports that the other side may hold
        self._places: dict[str, Any] = {}  # beside them, an outline: what the other side may hold
        self._sent: _Sent | None = None
        self._synchronised = False
        self._changed_at: float | None = None
        self._counters_at = math.inf
        self._not_before = -math.inf
        self._retry = _FIRST_RETRY
        self._omitted: tuple[str, ...] = ()

    @property
    def facts(self) -> ModuleFacts:
        """What is reported beside the ports."""
        return self._facts

    def configured(self, facts: ModuleFacts, report_interval: float, now: float) -> None:
        """Take over what a new configuration changes: the facts, and the seconds between counters."""
        if facts != self._facts:
            self._facts = facts
            self.mark_changed(now)
        if report_interval != self._interval:
            self._counters_at += report_interval - self._interval
            self._interval = report_interval

    def mark_changed(self, now: float) -> None:
        """Record that something in a status may be worth a patch."""
        settled = now + _SETTLE
        self._changed_at = settled if self._changed_at is None else min(self._changed_at, settled)

    def resend_all(self, now: float, reported: Document | None = None) -> None:
        """Start again, because it is unknown what the other side holds. Call this after each reconnect.

        A patch in flight is forgotten. `reported` is what the other side showed, in the form that it has there: it may be
        older than what was sent last, so only its keys count. Those that are no longer wanted, also from an earlier run of
        the module, are removed.
        """
        self._held = None
        if reported is not None:
            found = incoming(reported, plug_and_play=self._plug_and_play)
            self._names.update(found.pop("serialPorts"))
            self._places = united(self._places, outline(found))
        self._sent = None
        if not self._synchronised:
            self._synchronised = True
            self._counters_at = now + self._interval
        self._changed_at = now + _SETTLE
        self._not_before = now
        self._retry = _FIRST_RETRY

    def next_due(self, now: float) -> float | None:
        """Return when to call `patch` next, unless a change needs it earlier; None while a patch is under way.

        The time may be past.
        """
        if not self._synchronised or self._sent:
            return None
        due = self._counters_at if self._changed_at is None else min(self._changed_at, self._counters_at)
        return max(due, self._not_before, now)

    def patch(self, statuses: Mapping[str, PortStatus], now: float) -> dict[str, Any] | None:
        """Return the patch to send now, if any; its sending is answered with `accepted` or `failed`."""
        if (due := self.next_due(now)) is None or due > now:
            return None
        section = self._fitted(statuses)
        whole = self._held is None
        held = self._unknown(statuses) if self._held is None else self._held
        urgency = _Urgency.PROMPT if whole else _urgency(held, section)
        counters_due = self._counters_at <= now
        paid = self._limited and urgency >= _Urgency.CALM
        if paid and (wait := self._bucket.wait(now, 1 + (RESERVE if urgency is _Urgency.CALM else 0))):
            self._changed_at = now + wait
            if not counters_due:
                return None
            paid = False
        else:
            self._changed_at = None
        if counters_due or whole:
            self._counters_at = now + self._interval
        else:
            section = _without_slow_changes(held, section)
        patch = merge_patch(held, section)
        if not patch:
            return None
        if json_size(patch) > MAX_SECTION_BYTES:
            # The nulls for what the other side must forget make it so long. It forgets all of it first, then.
            section, patch = {}, dict.fromkeys((*MODULE_KEYS, "serialPorts", *self._places))
            self._changed_at = now
        if paid:
            self._bucket.take()
        self._sent = _Sent(section, paid=paid)
        self._names.update(section.get("serialPorts", ()))
        self._places = united(self._places, _places(section))
        return outgoing(patch) if self._plug_and_play else patch

    def accepted(self) -> None:
        """Record that the last patch is stored."""
        if self._sent:
            self._held = self._sent.section
            self._names = set(self._held.get("serialPorts", ()))
            self._places = _places(self._held)
            self._sent = None
            self._retry = _FIRST_RETRY

    def failed(self, now: float) -> None:
        """Record that the last patch may not have been stored: all of it is sent again later."""
        if self._sent:
            if self._sent.paid:
                self._bucket.give_back()
            self._sent = None
            self._held = None
            self._changed_at = now
            self._not_before = now + self._retry
            self._retry = min(2 * self._retry, _LAST_RETRY)

    def _unknown(self, ports: Iterable[str]) -> dict[str, Any]:
        return united(unknown_section(self._names.union(ports)), self._places)

    def _fitted(self, statuses: Mapping[str, PortStatus]) -> dict[str, Any]:
        section = render(self._facts, statuses)
        if self._plug_and_play:
            section = with_acknowledgements(section, self._facts.acknowledgements)
        section, omitted = fit(section)
        if omitted != self._omitted:
            if omitted:
                log.warning(
                    "the reported properties leave out %s: all of it would be too long", ", ".join(omitted)
                )
            self._omitted = omitted
        return section


@dataclass(frozen=True, slots=True)
class _Sent:
    section: dict[str, Any]
    paid: bool


class _TokenBucket:
    """`BURST` tokens, refilled with `PER_HOUR`."""

    def __init__(self) -> None:
        self._level = float(BURST)
        self._at = -math.inf

    def wait(self, now: float, tokens: float) -> float:
        """Return the seconds until there are as many tokens, 0 when there are."""
        self._level = (
            min(BURST, self._level + (now - self._at) * PER_HOUR / 3600) if self._at > -math.inf else BURST
        )
        self._at = now
        missing = tokens - self._level
        return missing * 3600 / PER_HOUR if missing > _ROUNDING else 0.0

    def take(self) -> None:
        self._level -= 1

    def give_back(self) -> None:
        self._level += 1


def _places(section: Document) -> dict[str, Any]:
    """Return the outline of what a section has beside ports and keys that are always the same."""
    return outline({ACKNOWLEDGEMENTS: section[ACKNOWLEDGEMENTS]}) if ACKNOWLEDGEMENTS in section else {}


def _urgency(held: Document, section: Document) -> _Urgency:
    if any(held.get(key) != section.get(key) for key in _FACTS):
        return _Urgency.PROMPT
    ports = section["serialPorts"]
    earlier = held.get("serialPorts")
    if not isinstance(earlier, Mapping) or earlier.keys() != ports.keys():
        return _Urgency.PROMPT
    if urgency := max(
        (_port_urgency(earlier[name], port) for name, port in ports.items()), default=_Urgency.NONE
    ):
        return urgency
    return _Urgency.CALM if any(held.get(key) != section.get(key) for key in MODULE_KEYS) else _Urgency.NONE


def _port_urgency(held: object, port: Document) -> _Urgency:
    if held == port:
        return _Urgency.NONE
    if not isinstance(held, Mapping):
        return _Urgency.PROMPT
    changed = {key for key in held.keys() | port.keys() if held.get(key) != port.get(key)}
    states = (held.get("state"), port["state"])
    if changed & {"configError", "link"} or (
        "state" in changed and any(state not in _HEALTHY for state in states)
    ):
        return _Urgency.PROMPT
    if "lastError" in changed and _code(held) != _code(port):
        return _Urgency.CALM if states == (State.RETRYING, State.RETRYING) else _Urgency.PROMPT
    return (
        _Urgency.CALM
        if changed & {"state", "applicationOpen", "remoteAddress", "line", "kind"}
        else _Urgency.SLOW
    )


def _code(port: Document) -> object:
    """Return what is wrong; with TLS only the message says it, and names what to change."""
    error = port.get("lastError")
    if not isinstance(error, Mapping):
        return None
    return error.get("message") if error.get("code") == ErrorCode.TLS else error.get("code")


def _without_slow_changes(held: Document, section: dict[str, Any]) -> dict[str, Any]:
    """Return the section in which ports that have only slow changes stand as they are held."""
    earlier = held.get("serialPorts")
    if not isinstance(earlier, Mapping):
        return section
    ports = {
        name: earlier[name]
        if name in earlier and _port_urgency(earlier[name], port) is _Urgency.SLOW
        else port
        for name, port in section["serialPorts"].items()
    }
    return {**section, "serialPorts": ports}
