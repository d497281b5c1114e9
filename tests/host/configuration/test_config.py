"""The TOML file: what it means, and one message naming the key for each thing that cannot be used."""

from __future__ import annotations

import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from serial_host.config import Config, Open, Protocol, is_called
from serial_host.configuration.config_file import ConfigError, load, parse_port, same_name
from serial_host.line import FlowControl, LineSettings, Parity
from serial_host.plumbing.commands import PROGRAM


def read(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "serial-host.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_a_port_needs_no_more_than_a_device_and_a_tcp_port(tmp_path: Path) -> None:
    (port,) = read(tmp_path, '[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n').ports
    assert (port.device, port.tcp_port, port.listen, port.allow) == ("COM3", 5002, None, None)
    assert (port.protocol, port.open, port.take_over) == (Protocol.RAW, Open.ALWAYS, False)
    assert port.line == LineSettings(9600, 8, Parity.NONE, 1, FlowControl.NONE)
    assert str(port.line) == "9600 8N1"
    assert (port.dtr, port.rts, port.rs485) == (True, True, False)


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        [[ports]]
        match = { vid = "0403", pid = "0x6001", serial = "A12345", location = "1-4" }
        tcp_port = 5003
        listen = ["vEthernet (Default Switch)", "127.0.0.1"]
        allow = ["172.16.0.0/12", "192.168.1.7", "fd00::/8"]
        protocol = "rfc2217"
        open = "on_client"
        take_over = true
        baud_rate = 115200
        data_bits = 7
        parity = "even"
        stop_bits = 1.5
        flow_control = "dsr_dtr"
        dtr = false
        rts = false
        rs485 = true
    """
    (port,) = read(tmp_path, text).ports
    assert port.match is not None
    assert (port.match.vid, port.match.pid, port.match.serial, port.match.location) == (
        0x0403,
        0x6001,
        "A12345",
        "1-4",
    )
    assert port.name == "USB 0403:6001 A12345 1-4"
    assert port.listen == ("vEthernet (Default Switch)", "127.0.0.1")
    assert port.allow == (ip_network("172.16.0.0/12"), ip_network("192.168.1.7/32"), ip_network("fd00::/8"))
    assert (port.protocol, port.open, port.take_over) == (Protocol.RFC2217, Open.ON_CLIENT, True)
    assert port.line == LineSettings(115200, 7, Parity.EVEN, 1.5, FlowControl.DSR_DTR)
    assert (port.dtr, port.rts, port.rs485) == (False, False, True)


def test_one_address_or_network_needs_no_list(tmp_path: Path) -> None:
    text = '[[ports]]\ndevice = "COM3"\ntcp_port = 5002\nlisten = "127.0.0.1"\nallow = "10.0.0.0/8"\n'
    (port,) = read(tmp_path, text).ports
    assert port.listen == ("127.0.0.1",)
    assert port.allow == (ip_network("10.0.0.0/8"),)


def test_a_byte_order_mark_as_windows_editors_write_it_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, '\ufeff[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n').ports


GOOD: dict[str, Any] = {"device": "COM3", "tcp_port": 5002}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tcp_port": 70000}, "tcp_port: expected a TCP port, a number from 1 to 65535, not 70000"),
        ({"tcp_port": 0}, "tcp_port: expected a TCP port, a number from 1 to 65535, not 0"),
        ({"tcp_port": "5002"}, "tcp_port: expected a TCP port, a number from 1 to 65535, not '5002'"),
        ({"tcp_port": True}, "tcp_port: expected a TCP port, a number from 1 to 65535, not True"),
        ({"tcp_port": None}, "tcp_port: expected a TCP port, a number from 1 to 65535, not None"),
        ({"device": 3}, 'device: expected the name of a COM port, a string such as "COM3", not 3'),
        ({"device": ""}, "device: expected the name of a COM port, a string such as \"COM3\", not ''"),
        ({"baud_rate": "fast"}, "baud_rate: expected bits per second, a number, not 'fast'"),
        ({"baud_rate": 9600.5}, "baud_rate: expected bits per second, a number, not 9600.5"),
        ({"baud_rate": 0}, "baud_rate: expected bits per second, a number, not 0"),
        ({"data_bits": 9}, "data_bits: expected 5, 6, 7 or 8, not 9"),
        ({"parity": "evn"}, 'parity: expected one of "none", "odd", "even", "mark", "space", not \'evn\''),
        ({"parity": 1}, 'parity: expected one of "none", "odd", "even", "mark", "space", not 1'),
        ({"stop_bits": 3}, "stop_bits: expected 1, 1.5 or 2, not 3"),
        ({"stop_bits": "2"}, "stop_bits: expected 1, 1.5 or 2, not '2'"),
        ({"flow_control": "rtscts"}, 'flow_control: expected one of "none", "rts_cts"'),
        ({"dtr": "on"}, "dtr: expected true or false, the state while the port is open, not 'on'"),
        ({"take_over": 1}, "take_over: expected true or false, not 1"),
        ({"open": "sometimes"}, 'open: expected one of "always", "on_client", not \'sometimes\''),
        ({"protocol": "telnet"}, 'protocol: expected one of "raw", "rfc2217", not \'telnet\''),
        ({"allow": ["172.16.0.0/33"]}, 'allow: expected client addresses, such as ["172.16.0.0/12"], not'),
        ({"allow": 5}, 'allow: expected client addresses, such as ["172.16.0.0/12"], not 5'),
        ({"listen": []}, "listen: expected an interface's name or an address, or a list of them, not []"),
        ({"listen": [1]}, "listen: expected an interface's name or an address, or a list of them, not 1"),
        ({"baudrate": 9600}, "baudrate: unknown key; did you mean baud_rate?"),
        ({"qqq": 1}, "qqq: unknown key; expected one of device, match, tcp_port, listen"),
        ({"match": {"serial": "A"}}, "expected either device or match"),
        (
            {"rs485": True, "flow_control": "rts_cts"},
            'expected flow_control other than "rts_cts", because rs485 drives RTS itself',
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port({**GOOD, **change}, "file: [[ports]] 1")
    assert str(caught.value).startswith(f"file: [[ports]] 1: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u200b", "\ufeff", "\t"])
@pytest.mark.parametrize("change", ["device", "listen", "match"])
def test_a_blank_that_nobody_sees_is_refused_and_shown(change: str, blank: str) -> None:
    for value in (f"COM3{blank}", f"{blank}COM3"):
        entry: dict[str, Any] = {"device": value}
        if change == "listen":
            entry = {"device": "COM3", "listen": [value]}
        if change == "match":
            entry = {"match": {"serial": value}}
        with pytest.raises(ConfigError) as caught:
            parse_port({"tcp_port": 5002, **entry}, "file: [[ports]] 1")
        shown = value if blank == " " else repr(value)[1:-1]
        assert f"'{shown}'" in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("match", "message"),
    [
        (
            {"vid": "04033"},
            "match.vid: expected a USB vendor number in quotes, four hexadecimal digits as in \"0403\", not '04033'",
        ),
        ({"vid": "zz"}, "match.vid: expected a USB vendor number in quotes"),
        (
            {"pid": 6001},
            'match.pid: expected a USB product number in quotes, four hexadecimal digits as in "6001", not 6001',
        ),
        ({"pid": 0x6001}, "match.pid: expected a USB product number in quotes"),
        ({"pid": True}, "match.pid: expected a USB product number in quotes"),
        (
            {"serial": 12345},
            f"match.serial: expected a serial number as '{PROGRAM} list' shows it, a string, not 12345",
        ),
        ({"sn": "A"}, "match.sn: unknown key; "),
        ({}, "match: expected at least one of vid, pid, serial, location"),
        ("0403:6001", 'match: expected a table such as { vid = "0403"'),
    ],
)
def test_a_wrong_match_is_named(match: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port({"match": match, "tcp_port": 5002}, "place")
    assert str(caught.value).startswith(f"place: {message}")


def test_every_wrong_key_of_an_entry_has_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port({"tcp_port": 70000, "baud_rate": "x"}, "place")
    assert len(str(caught.value).splitlines()) == 2


def test_a_huge_value_is_not_repeated_in_full() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port({**GOOD, "parity": "x" * 100_000}, "place")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ports: expected one [[ports]] table for each COM port"),
        ("ports = 1", "ports: expected one [[ports]] table for each COM port"),
        ("ports = [1]", "ports: expected one [[ports]] table for each COM port"),
        ("[[ports]]\ndevice = COM3", "is not valid TOML: Invalid value (at line 2, column 10)"),
        (
            'baud_rate = 9600\n[[ports]]\ndevice = "COM3"\ntcp_port = 1',
            "baud_rate: unknown key; expected [[ports]] tables",
        ),
        (
            "[[ports]]\ntcp_port = 70000\n",
            "[[ports]] 1: tcp_port: expected a TCP port, a number from 1 to 65535, not 70000",
        ),
    ],
)
def test_a_file_of_which_nothing_can_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert f"serial-host.toml: {message}" in str(caught.value)


ENTRY = '[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n'


@pytest.mark.parametrize(
    "text",
    [
        ENTRY + "x = " + "[" * 100_000,
        ENTRY + "x = " + "[" * 300 + "]" * 300,
        ENTRY + "x = " + "{a=" * 50_000,
        ENTRY + "baud_rate = " + "9" * 5000,
        ENTRY + "baud_rate = 0x" + "f" * 5000,
        ENTRY + "baud_rate = inf",
        ENTRY + "stop_bits = nan",
        ENTRY + "tcp_port = 1",
        ENTRY + '"a\\nb: 2026 INFO forged" = 1',
        ENTRY + '"\\u001b[2J" = 1',
        '"x\\ny" = 1\n' + ENTRY,
        '[[ports]]\ndevice = "COM3\\nCOM4"\ntcp_port = 5002',
        '[[ports]]\ndevice = "COM3\\u0000"\ntcp_port = 5002',
        '[[ports]]\ndevice = "\\u202eCOM3"\ntcp_port = 5002',
        '[[ports]]\ndevice = " "\ntcp_port = 5002',
        '[[ports]]\nmatch = { serial = "A\\r\\nB" }\ntcp_port = 5002',
        ENTRY + 'listen = ["a\\u0007"]',
        ENTRY + "listen = 1979-05-27",
        ENTRY + 'allow = ["10.0.0.0/8", 5, ["x"]]',
        "ports = " + "[" * 300 + "]" * 300,
        "\0",
    ],
    ids=range(21),
)
def test_no_file_makes_anything_but_a_message_of_printable_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "nothing.toml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "image.toml"
    file.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"image\.toml: byte 0 is not valid UTF-8"):
        load(file)


def test_a_broken_entry_does_not_stop_the_others(tmp_path: Path) -> None:
    text = """
        [[ports]]
        device = "COM3"
        tcp_port = 70000
        [[ports]]
        device = "COM4"
        tcp_port = 5004
    """
    config = read(tmp_path, text)
    assert [port.device for port in config.ports] == ["COM4"]
    (fault,) = config.faults
    assert fault.name == "COM3"
    assert "[[ports]] 1: tcp_port" in fault.message


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            'device = "COM4"\ntcp_port = 5002',
            "[[ports]] 2: tcp_port: expected a port of its own, 5002 already serves COM3",
        ),
        (
            'device = "COM3"\ntcp_port = 5003',
            "[[ports]] 2: device: expected a COM port of its own, COM3 is already served at 5002",
        ),
    ],
)
def test_the_second_entry_of_a_port_is_the_fault(tmp_path: Path, second: str, message: str) -> None:
    config = read(tmp_path, f'[[ports]]\ndevice = "COM3"\ntcp_port = 5002\n[[ports]]\n{second}\n')
    assert [port.device for port in config.ports] == ["COM3"]
    assert [message in fault.message for fault in config.faults] == [True]


def test_one_usb_identity_twice_is_a_fault(tmp_path: Path) -> None:
    entry = '[[ports]]\nmatch = { serial = "A1" }\ntcp_port = '
    config = read(tmp_path, f"{entry}5002\n{entry}5003\n")
    assert len(config.ports) == 1
    assert "[[ports]] 2: match: expected a COM port of its own" in config.faults[0].message


@pytest.mark.parametrize("name", ["COM3", "com3", r"\\.\COM3", r"\\.\com3", "//./COM3"])
def test_all_spellings_of_a_com_port_are_one(name: str) -> None:
    assert same_name(name, windows=True) == "COM3"


@pytest.mark.skipif(sys.platform == "win32", reason="COM ports are compared by name")
@pytest.mark.skipif(sys.platform == "win32", reason="names of COM ports are no paths there")
def test_a_link_and_what_it_names_are_one(tmp_path: Path) -> None:
    link = tmp_path / "scale"
    link.symlink_to("/dev/null")
    assert same_name(str(link), windows=False) == same_name("/dev/null", windows=False)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("USB 0403:6001 A12345", True),
        ("COM3", True),
        ("com3", True),
        ("5002", True),
        ("COM4", False),
        ("None", False),
    ],
)
def test_a_port_is_called_by_its_name_its_com_port_or_its_tcp_port(asked: str, meant: bool) -> None:
    assert is_called(asked, "USB 0403:6001 A12345", "COM3", 5002) is meant


def test_a_port_whose_adapter_is_away_is_called_by_what_it_is_found_by() -> None:
    assert is_called("usb 0403:6001", "USB 0403:6001", None, None)
    assert not is_called("COM3", "USB 0403:6001", None, 5002)
    assert not is_called("None", "USB 0403:6001", None, None)
