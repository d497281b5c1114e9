"""What `status` shows people of a port."""

from __future__ import annotations

from serial_host.status import PortStatus, table


def shown(port: PortStatus) -> list[str]:
    server = {"version": "1", "pid": 1, "started_at": 1_800_000_000.0, "ports": [port.as_json()]}
    return table(server).splitlines()


def test_the_latency_timer_of_an_adapter_is_shown_where_it_has_one() -> None:
    port = PortStatus("COM3", 5002, "raw")
    assert len(shown(port)) == 3
    port.latency_timer = 16
    assert shown(port)[3] == "COM3: an answer may wait up to 16 ms in the USB adapter (its latency timer)"
