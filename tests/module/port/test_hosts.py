"""Ports that wait for one host: how long, and who calls them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from serial_relay.plumbing.backoff import Backoff
from serial_relay.port.hosts import Hosts
from serial_relay.port.rules import Retry
from tests.module.port.test_rules import longest


def nothing() -> None:
    """Be called in vain."""


@pytest.mark.parametrize(
    ("ports", "factor"), [(1, 1.0), (16, 1.0), (32, 2.0), (64, 4.0), (160, 10.0), (256, 10.0)]
)
def test_the_more_ports_wait_the_longer_each_does(ports: int, factor: float) -> None:
    hosts = Hosts()
    with ExitStack() as waiting:
        factors = [waiting.enter_context(hosts.waiting("gateway", nothing)) for _ in range(ports)]
        assert factors[0] == 1.0
        assert factors[-1] == factor
        assert waiting.enter_context(hosts.waiting("another", nothing)) == 1.0
    with hosts.waiting("gateway", nothing) as alone:
        assert alone == 1.0


def test_who_reaches_a_host_calls_those_that_wait_for_it_and_no_others() -> None:
    hosts = Hosts()
    called: list[str] = []
    with (
        hosts.waiting("gateway", lambda: called.append("scale")),
        hosts.waiting("gateway", lambda: called.append("meter")),
        hosts.waiting("another", lambda: called.append("printer")),
    ):
        hosts.reached("gateway")
        hosts.reached("a third")
    hosts.reached("gateway")
    assert called == ["scale", "meter"]


def test_a_port_that_is_called_waits_no_longer_than_it_would_alone() -> None:
    rule = Retry(Backoff(1.0, 8.0, longest))
    rule.failed(100.0, 6.4)
    assert rule.deadline == 106.4
    rule.as_alone()
    assert rule.deadline == 101.0
    assert not rule.due(100.9)
    assert rule.due(101.0)
    rule.as_alone()
    assert rule.deadline is None
