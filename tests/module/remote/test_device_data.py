"""What an application gets of the bytes that come before a connection can be used, and around a purge: clock in hand."""

from __future__ import annotations

from serial_relay.remote.device_data import DeviceData


class Application:
    def __init__(self) -> None:
        self.got = b""
        self.flushed = 0
        self.data = DeviceData(self._take, self._count)

    def _take(self, data: bytes) -> None:
        assert data
        self.got += data

    def _count(self, size: int) -> None:
        self.flushed += size


def usable() -> Application:
    application = Application()
    application.data.usable()
    return application


def test_bytes_pass() -> None:
    application = usable()
    assert application.data.passing
    application.data.received(b"data", 0.0)
    assert (application.got, application.flushed, application.data.undelivered) == (b"data", 0, 0)


def test_the_newest_early_bytes_are_delivered_once_the_connection_can_be_used() -> None:
    application = Application()
    assert not application.data.passing
    application.data.received(b"old" * 1000, 0.0)
    application.data.received(b"n" * 4000, 0.0)
    assert application.got == b""
    assert application.data.undelivered == application.data.early_size == 7000
    application.data.usable()
    assert application.got == (b"old" * 1000 + b"n" * 4000)[-4096:]
    assert application.data.undelivered == 7000 - 4096


def test_what_comes_between_a_purge_and_its_answer_is_discarded_and_counted() -> None:
    application = usable()
    application.data.received(b"before", 0.0)
    application.data.purge(0.0)
    assert not application.data.passing
    application.data.received(b"on its way", 0.1)
    application.data.purge_answered()
    assert application.data.passing
    application.data.received(b"after", 0.2)
    assert (application.got, application.flushed) == (b"beforeafter", 10)


def test_of_two_purges_the_last_answer_counts() -> None:
    application = usable()
    application.data.purge(0.0)
    application.data.purge(0.1)
    application.data.purge_answered()
    application.data.received(b"on its way", 0.2)
    application.data.purge_answered()
    application.data.received(b"after", 0.3)
    assert application.got == b"after"


def test_without_an_answer_bytes_pass_again_after_a_while_and_further_purges_do_not_prolong_it() -> None:
    application = usable()
    for now in (0.0, 1.0, 2.0, 2.9):
        application.data.purge(now)
        application.data.received(b"lost", now)
    application.data.received(b"got", 3.0)
    assert (application.got, application.flushed) == (b"got", 16)
    application.data.purge(3.1)
    application.data.received(b"lost", 3.2)
    assert application.got == b"got"


def test_a_purge_discards_early_bytes_too() -> None:
    application = Application()
    application.data.received(b"early", 0.0)
    application.data.purge_early()
    application.data.usable()
    assert (application.got, application.flushed, application.data.undelivered) == (b"", 5, 0)


def test_early_bytes_are_delivered_before_an_application_opens() -> None:
    application = Application()
    application.data.received(b"before", 0.0)
    application.data.deliver_early()
    assert (application.got, application.data.undelivered) == (b"before", 0)
    application.data.received(b"after", 0.0)
    application.data.usable()
    assert application.got == b"beforeafter"
