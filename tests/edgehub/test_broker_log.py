"""What mosquitto's log says of clients that leave, in the words of its versions 2.0 and 2.1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edgehub.broker import Broker


@pytest.mark.parametrize(
    "line",
    [
        "Client dev/mod disconnected.",
        "Client dev/mod closed its connection.",
        "Client dev/mod has exceeded timeout, disconnecting.",
        "Client dev/mod already connected, closing old connection.",
        "Client dev/mod [127.0.0.1:53047] disconnected.",
        "Client dev/mod [127.0.0.1:37975] disconnected: connection closed by client.",
        "Client dev/mod [127.0.0.1:52261] disconnected: session taken over.",
    ],
)
def test_a_client_that_leaves_is_noticed(line: str) -> None:
    left: list[str] = []
    broker: Any = Broker.__new__(Broker)  # no program is started: only its log is read
    broker._said = []
    broker._on_disconnected = left.append
    broker._logged(line)
    assert left == ["dev/mod"]
