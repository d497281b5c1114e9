"""Which ports are listed, how an adapter is found by its identity, and what is known of its latency timer."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest

from serial_host.com_port import listing
from serial_host.com_port.adapters import latency_timer
from serial_host.com_port.listing import PortIdentity, find_port, merged, present_ports
from serial_host.com_port.port import ComPortError
from serial_host.config import UsbMatch
from serial_host.configuration.config_file import parse_port


def identity(match: dict[str, str]) -> UsbMatch:
    """Read a `match` table as a configuration file has it."""
    found = parse_port({"match": match, "tcp_port": 1}, "test").match
    assert found is not None
    return found


ADAPTERS = [
    PortIdentity("COM1", "Communications Port"),
    PortIdentity("COM3", "USB Serial Port", 0x0403, 0x6001, "A12345", "1-4.1"),
    PortIdentity("COM7", "USB Serial Port", 0x0403, 0x6001, "B99999", "1-4.2"),
    PortIdentity("COM9", "Arduino", 0x2341, 0x0043, None, "1-2"),
]


@pytest.mark.parametrize(
    ("match", "device"),
    [
        ({"serial": "A12345"}, "COM3"),
        ({"serial": "b99999"}, "COM7"),
        ({"vid": "2341"}, "COM9"),
        ({"vid": "0403", "pid": "6001", "location": "1-4.2"}, "COM7"),
        ({"location": "1-2"}, "COM9"),
    ],
)
def test_an_adapter_is_found_by_its_identity(match: dict[str, str], device: str) -> None:
    assert find_port(ADAPTERS, identity(match)) == device


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ({"serial": "C1"}, "no port with the USB identity C1 is there"),
        ({"vid": "1a86", "pid": "7523"}, "no port with the USB identity 1a86:7523 is there"),
        ({"vid": "0403", "serial": "X"}, "no port with the USB identity 0403:* X is there"),
        ({"vid": "0403"}, "2 ports have the USB identity 0403:*: COM3, COM7; add serial or location"),
    ],
)
def test_an_identity_that_fits_no_port_or_several_is_named(match: dict[str, str], message: str) -> None:
    with pytest.raises(ComPortError, match=message.replace("*", r"\*")):
        find_port(ADAPTERS, identity(match))


def test_ports_without_a_plug_and_play_device_are_listed_too() -> None:
    ports = merged([PortIdentity("COM10", "USB"), PortIdentity("COM3", "USB")], ["com3", "COM9", "CNCA0"])
    assert [port.device for port in ports] == ["CNCA0", "COM3", "COM9", "COM10"]
    assert ports[1].description == "USB"


@pytest.mark.parametrize(
    "error",
    [AttributeError("function 'CM_Get_Parent' not found"), OSError(5, "no"), TypeError("x"), ImportError()],
)
def test_whatever_prevents_the_listing_is_one_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> list[object]:
        raise error

    monkeypatch.setattr(listing, "_listed_by_pyserial", fail)
    with pytest.raises(ComPortError, match="the COM ports cannot be listed: ") as raised:
        present_ports()
    assert len(str(raised.value).splitlines()) == 1


if sys.platform == "win32":
    import winreg

    from serial_host.com_port.adapters_windows import other_devices

    @pytest.fixture
    def key() -> str:
        r"""A registry key of this test below HKEY_CURRENT_USER."""
        return rf"Software\serial_host test {uuid.uuid4()}"

    def write(path: str, **values: str | int) -> None:
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, path) as made:
            for name, value in values.items():
                kind = winreg.REG_DWORD if isinstance(value, int) else winreg.REG_SZ
                winreg.SetValueEx(made, name, 0, kind, value)

    def test_the_device_map_is_read(key: str) -> None:
        write(key, com0com10="CNCA0", Serial0="COM1")
        assert sorted(other_devices(winreg.HKEY_CURRENT_USER, key)) == ["CNCA0", "COM1"]
        assert other_devices(winreg.HKEY_CURRENT_USER, key + "gone") == []

    def test_the_latency_timer_of_a_port_is_read(key: str) -> None:
        adapter = rf"{key}\VID_0403+PID_6001+A12345A\0000\Device Parameters"
        write(adapter, PortName="COM3", LatencyTimer=16)
        write(adapter.replace("A12345A", "B99999A"), PortName="COM7")
        where = {"root": winreg.HKEY_CURRENT_USER, "path": key}
        assert latency_timer("COM3", **where) == 16
        assert latency_timer("COM7", **where) is None
        assert latency_timer("COM1", **where) is None

else:

    def test_the_latency_timer_of_a_port_is_read(tmp_path: Path) -> None:
        for name, text in (("ttyUSB0", "16\n"), ("ttyUSB1", "")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "latency_timer").write_text(text)
        (tmp_path / "ttyUSB2").mkdir()
        assert latency_timer("/dev/ttyUSB0", folder=tmp_path) == 16
        assert latency_timer("/dev/ttyUSB1", folder=tmp_path) is None
        assert latency_timer("/dev/ttyUSB2", folder=tmp_path) is None
        assert latency_timer("/dev/ttyS0", folder=tmp_path) is None
        (tmp_path / "scale").symlink_to("/dev/ttyUSB0")
        assert latency_timer(str(tmp_path / "scale"), folder=tmp_path) == 16
