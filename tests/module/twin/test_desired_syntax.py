from __future__ import annotations

import pytest

from serial_relay.plumbing.text import escaped, shown
from serial_relay.twin.desired_syntax import check_host, check_link, check_mode


@pytest.mark.parametrize(
    "host",
    [
        "172.18.246.137",
        "::1",
        "fe80::1%eth0",
        "2001:db8::5",
        "localhost",
        "WINHOST.mshome.net",
        "winhost.mshome.net.",
        "my_pc",
        "1a.example",
        "xn--bcher-kva.example",
        "a" * 63,
        ".".join(["a" * 60] * 4),
    ],
)
def test_a_host_is_an_address_or_a_name(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("", ""),
        (".", ""),
        ("a..b", ""),
        ("-a", ""),
        ("a-", ""),
        ("a b", ""),
        (" winhost", ""),
        ("winhost\n", ""),
        ("bücher.example", ""),
        ("a" * 64, ""),
        (".".join(["a" * 63] * 4), ""),
        ("\\\\WINHOST", ""),
        ("tcp://winhost:5002", "no URL"),
        ("winhost:5002", "`tcpPort`"),
        ("172.18.246.137:5002", "`tcpPort`"),
        ("[::1]", "brackets"),
        ("[::1]:5002", "brackets"),
        ("172.18.246", "four numbers"),
        ("172.18.246.300", "four numbers"),
        ("172.18.246.010", "four numbers"),
        ("2886925961", "four numbers"),
        ("0x7f000001", "four numbers"),
        ("0.0.0.0", "nothing can be reached"),
        ("::", "nothing can be reached"),
        ("224.0.0.1", "nothing can be reached"),
        ("fe80::1%eth 0", "interface"),
        ("fe80::1%\x00", "interface"),
        ("fe80::1%", ""),
    ],
)
def test_what_no_connection_can_be_made_to_is_no_host(host: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"^.*{hint}"):
        check_host(host)


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("ttyVirtS0", "ttyVirtS0"),
        ("/dev/ttyVirtS0", "ttyVirtS0"),
        ("tty-USB_1:0.5", "tty-USB_1:0.5"),
        ("Waage-Süd", "Waage-Süd"),
        ("x" * 64, "x" * 64),
    ],
)
def test_a_link_is_a_name_directly_below_dev(link: str, name: str) -> None:
    assert check_link(link) == name


@pytest.mark.parametrize(
    "link",
    [
        "",
        "/dev/",
        "/dev",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/dev/../etc/passwd",
        "/dev/serial/by-id/x",
        "/dev//x",
        "/etc/passwd",
        "dev/ttyX",
        "tty X",
        "tty\nX",
        "tty\0X",
        "\ud800",
        "\u202etty",
        "x" * 65,
        "serial-relay",
        "/dev/serial-relay",
    ],
)
def test_a_link_leads_nowhere_else(link: str) -> None:
    with pytest.raises(ValueError):
        check_link(link)


def test_a_mode_holds_permissions_only() -> None:
    assert check_mode("660") == 0o660
    assert check_mode("0660") == 0o660
    for wrong in ("2660", "66", "06", "888", "", "+660", "660\n", 660, 0o660, None, ["660"]):
        with pytest.raises(ValueError):
            check_mode(wrong)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (1.5, "1.5"),
        ("x", '"x"'),
        ([1], "an array"),
        ({"a": 1}, "an object"),
        (object(), "object"),
    ],
)
def test_any_value_can_be_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_escaped_text_is_printable_and_bounded() -> None:
    assert escaped("a\nb\x1b\u202e\ud800\\", 100) == "a\\nb\\x1b\\u202e\\ud800\\\\"
    assert escaped("ü" * 50, 3) == "üüü…"


def test_a_number_of_thousands_of_digits_can_be_shown() -> None:
    assert shown(10**5000) == "a number of more than 64 bits"
