"""What `status` shows people of a port."""

from __future__ import annotations

import pytest

from serial_host.command_line.table import table
from serial_host.status import PortStatus


def shown(port: PortStatus) -> list[str]:
    server = {"version": "1", "pid": 1, "started_at": 1_800_000_000.0, "ports": [port.as_json()]}
    return table(server).splitlines()


def test_the_latency_timer_of_an_adapter_is_shown_where_it_has_one() -> None:
    port = PortStatus("COM3", 5002, "raw")
    assert len(shown(port)) == 3
    port.latency_timer = 16
    assert shown(port)[3] == "COM3: an answer may wait up to 16 ms in the USB adapter (its latency timer)"


@pytest.mark.parametrize("text", ["COM3\nCOM4: forged", "COM3\x1b[2J", "\u202e3MOC"])
def test_names_and_errors_of_others_make_no_line_and_no_command_of_the_terminal(text: str) -> None:
    port = PortStatus(text, 5002, "raw")
    port.fail(text.replace("\n", " "))
    lines = shown(port)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_the_answer_of_an_earlier_version_is_shown_as_well() -> None:
    answer = PortStatus("COM3", 5002, "raw").as_json()
    for new in ("contention", "latency_timer"):
        del answer[new]
    assert "COM3" in table({"version": "1.0.0", "pid": 1, "started_at": 1_800_000_000.0, "ports": [answer]})


def test_who_fights_for_a_port_is_shown() -> None:
    port = PortStatus("COM3", 5002, "raw")
    port.contention = "172.18.0.2:4711 and 172.18.0.2:4712 replace each other"
    assert shown(port)[3] == f"COM3: {port.contention}"
