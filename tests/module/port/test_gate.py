"""The table of who is read, without any socket or pty."""

from __future__ import annotations

from itertools import combinations

import pytest

from serial_relay.port.gate import OF_THE_CONNECTION, STOPS_APPLICATION, STOPS_DEVICE, Gate, Reason


class Ends:
    """Both ends of a port: whether each is read now. An end is told of changes alone."""

    def __init__(self) -> None:
        self.application = self.device = False
        self.gate = Gate(self.read_application, self.read_device)

    def read_application(self, may_be_read: bool) -> None:
        assert self.application is not may_be_read
        self.application = may_be_read

    def read_device(self, may_be_read: bool) -> None:
        assert self.device is not may_be_read
        self.device = may_be_read


def test_an_unused_port_reads_neither_end() -> None:
    gate = Ends().gate
    assert not gate.application_may_be_read
    assert not gate.device_may_be_read
    assert gate.reasons == Reason.NOTHING_TO_READ | Reason.NO_CONNECTION


def test_each_reason_stops_one_end() -> None:
    assert ~Reason(0) == STOPS_APPLICATION | STOPS_DEVICE
    assert not STOPS_APPLICATION & STOPS_DEVICE
    assert OF_THE_CONNECTION in STOPS_APPLICATION


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_end_is_read_only_when_the_last_of_its_reasons_is_gone(number: int) -> None:
    for reasons in combinations(Reason, number):
        ends = Ends()
        ends.gate.set(Reason.NOTHING_TO_READ | Reason.NO_CONNECTION, hold=False)
        assert (ends.application, ends.device) == (True, True)
        for reason in reasons:
            ends.gate.set(reason, hold=True)
            ends.gate.set(reason, hold=True)
        for reason in reasons:
            held = ends.gate.reasons
            assert ends.application is (not held & STOPS_APPLICATION) is ends.gate.application_may_be_read
            assert ends.device is (not held & STOPS_DEVICE) is ends.gate.device_may_be_read
            ends.gate.set(reason, hold=False)
            ends.gate.set(reason, hold=False)
        assert (ends.application, ends.device) == (True, True)
        assert ends.gate.reasons == Reason(0)
