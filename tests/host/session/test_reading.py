"""Who may be read now: the whole table, every reason alone and together with every other, without a socket."""

from __future__ import annotations

import itertools

import pytest

from serial_host.session.reading import ON_CLIENT, ON_DEVICE, Hold, Reading

HOLDS = list(Hold)


class Side:
    """One side; it is being read at first, and two pauses or resumes in a row are an error."""

    def __init__(self, *, read: bool) -> None:
        self.read = read

    def pause_reading(self) -> None:
        assert self.read
        self.read = False

    def resume_reading(self) -> None:
        assert not self.read
        self.read = True


def started() -> tuple[Reading, Side, Side]:
    """A client that is served, with nothing that stops either side."""
    client, device = Side(read=False), Side(read=True)
    reading = Reading(client)
    reading.serve(device)
    reading.release(Hold.STARTING)
    return reading, client, device


def test_every_reason_stops_one_side() -> None:
    assert ~Hold(0) == ON_CLIENT | ON_DEVICE
    assert not ON_CLIENT & ON_DEVICE


def test_a_new_client_is_not_read_until_it_is_decided_on() -> None:
    client = Side(read=False)
    reading = Reading(client)
    assert reading.holds is Hold.STARTING
    reading.release(Hold.STARTING)
    assert client.read


@pytest.mark.parametrize("why", HOLDS)
def test_a_reason_stops_its_side_and_no_other(why: Hold) -> None:
    reading, client, device = started()
    reading.hold(why)
    assert (client.read, device.read) == (not why & ON_CLIENT, not why & ON_DEVICE)
    reading.release(why)
    assert (client.read, device.read) == (True, True)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(HOLDS, 2)))
def test_a_side_is_read_again_when_its_last_reason_has_ended(first: Hold, second: Hold) -> None:
    reading, client, device = started()
    reading.hold(first)
    reading.hold(second)
    reading.release(first)
    assert (client.read, device.read) == (not second & ON_CLIENT, not second & ON_DEVICE)
    reading.release(second)
    assert (client.read, device.read) == (True, True)


@pytest.mark.parametrize("why", HOLDS)
def test_a_client_that_is_not_served_stops_no_device(why: Hold) -> None:
    client = Side(read=False)
    reading = Reading(client)
    reading.hold(why)  # there is no device that it could stop
    reading.leave()
    device = Side(read=True)
    served, *_ = started()
    served.serve(device)
    reading.release(why)
    assert device.read


def test_a_device_that_comes_to_a_slow_client_is_paused_at_once() -> None:
    reading, _, first = started()
    reading.hold(Hold.CLIENT_SLOW)
    reading.leave()
    assert first.read
    second = Side(read=True)
    reading.serve(second)
    assert not second.read
    reading.release(Hold.CLIENT_SLOW)
    assert second.read


STEPS = [(what, why) for what in ("hold", "release") for why in HOLDS] + [
    ("serve", Hold(0)),
    ("leave", Hold(0)),
]


@pytest.mark.parametrize("first", STEPS)
def test_after_any_history_each_side_is_read_exactly_when_no_reason_stops_it(first: tuple[str, Hold]) -> None:
    for others in itertools.product(STEPS, repeat=2):
        replay([("serve", Hold(0)), first, *others, ("leave", Hold(0)), ("serve", Hold(0))])


def replay(history: list[tuple[str, Hold]]) -> None:
    client, device = Side(read=False), Side(read=True)
    reading = Reading(client)
    holds, served = Hold.STARTING, False
    for what, why in history:
        if what == "hold":
            holds |= why
            reading.hold(why)
        elif what == "release":
            holds &= ~why
            reading.release(why)
        elif what == "serve" and not served:
            served = True
            reading.serve(device)
        elif what == "leave":
            served = False
            reading.leave()
        assert reading.holds == holds
        assert client.read is not bool(holds & ON_CLIENT)
        assert device.read is not (served and bool(holds & ON_DEVICE))
