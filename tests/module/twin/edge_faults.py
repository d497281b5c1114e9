"""What edgeHub is known to do to a module, each with its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.edgehub.hub import EdgeHub


@dataclass(frozen=True)
class Fault:
    name: str
    begin: Callable[[EdgeHub], object]
    end: Callable[[EdgeHub], object]
    silences: bool = True
    """Reports fail while it lasts."""


def nothing(_hub: EdgeHub) -> None:
    pass


def set_faults(**values: object) -> Callable[[EdgeHub], None]:
    def assign(hub: EdgeHub) -> None:
        for name, value in values.items():
            setattr(hub.faults, name, value)

    return assign


FAULTS = [
    Fault("away, back with the session", EdgeHub.go_away, EdgeHub.come_back),
    Fault("away, back without the session", EdgeHub.go_away, lambda hub: hub.come_back(keep_sessions=False)),
    Fault("logins refused", EdgeHub.refuse_logins, EdgeHub.accept_logins),
    Fault("hung", EdgeHub.suspend, EdgeHub.resume),
    Fault("replies lost", set_faults(lose_replies=True), set_faults(lose_replies=False)),
    Fault("replies later than the bound", set_faults(reply_delay=20.0), set_faults(reply_delay=0.0)),
    Fault("slow", set_faults(reply_delay=0.5), set_faults(reply_delay=0.0), silences=False),
    Fault("empty twin", set_faults(empty_twin=True), set_faults(empty_twin=False), silences=False),
    Fault("connection cut once", EdgeHub.drop_connection, nothing, silences=False),
    Fault("restart with the session", EdgeHub.restart, nothing, silences=False),
    Fault(
        "restart without the session", lambda hub: hub.restart(keep_sessions=False), nothing, silences=False
    ),
]
