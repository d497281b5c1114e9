from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from serial_relay.process.settings import SettingsError, read_settings
from serial_relay.twin.methods import METHOD_NAMES

VARIABLES = (
    "LINK_DIR",
    "SERIAL_GID",
    "STATE_DIR",
    "RuntimeLogLevel",
    "ALLOWED_METHODS",
    "METRICS_PORT",
    "METRICS_ADDRESS",
    "HEALTH_SOCKET",
    "PLUG_AND_PLAY",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_everything_has_a_default() -> None:
    settings = read_settings()
    assert settings.link_dir == Path("/dev")
    assert settings.serial_gid == 10
    assert settings.state_dir is None
    assert settings.log_level == "info"
    assert settings.allowed_methods == METHOD_NAMES
    assert (settings.metrics_address, settings.metrics_port) == (IPv4Address("127.0.0.1"), 9600)
    assert settings.health_socket is None
    assert settings.plug_and_play is False


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (
        "/run/links",
        "20",
        "/var/lib/x",
        "Warning",
        " getStatus, restartPort,",
        "0",
        "::",
        "/run/health",
        "true",
    )
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.link_dir == Path("/run/links")
    assert settings.serial_gid == 20
    assert settings.state_dir == Path("/var/lib/x")
    assert settings.log_level == "warning"
    assert settings.allowed_methods == {"getStatus", "restartPort"}
    assert (settings.metrics_address, settings.metrics_port) == (IPv6Address("::"), 0)
    assert settings.health_socket == Path("/run/health")
    assert settings.plug_and_play is True


@pytest.mark.parametrize(
    ("text", "allowed"), [("*", METHOD_NAMES), ("getStatus,*", METHOD_NAMES), ("", set()), (" , ", set())]
)
def test_methods_can_be_all_or_none(monkeypatch: pytest.MonkeyPatch, text: str, allowed: set[str]) -> None:
    monkeypatch.setenv("ALLOWED_METHODS", text)
    assert read_settings().allowed_methods == allowed


def test_an_empty_directory_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", "")
    assert read_settings().state_dir is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LINK_DIR", "dev", 'LINK_DIR must be an absolute path, the directory of the links, not "dev"'),
        ("LINK_DIR", "", 'LINK_DIR must be an absolute path, the directory of the links, not ""'),
        ("STATE_DIR", "x", 'STATE_DIR must be an absolute path, or empty to keep nothing on disk, not "x"'),
        ("SERIAL_GID", "dialout", 'SERIAL_GID must be a number of a group, 0-4294967294, not "dialout"'),
        ("SERIAL_GID", "-1", 'SERIAL_GID must be a number of a group, 0-4294967294, not "-1"'),
        ("PLUG_AND_PLAY", "maybe", 'PLUG_AND_PLAY must be true or false, not "maybe"'),
        (
            "METRICS_PORT",
            "65536",
            'METRICS_PORT must be a TCP port, 1-65535, or 0 for no metrics, not "65536"',
        ),
        (
            "METRICS_ADDRESS",
            "localhost",
            'METRICS_ADDRESS must be an address of this machine, 0.0.0.0 for all of them, not "localhost"',
        ),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value"), [("RuntimeLogLevel", "loud"), ("ALLOWED_METHODS", "getStatus,restart")]
)
def test_a_wrong_choice_is_answered_with_the_right_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf'^{name} must be .*(restartPort|debug).* not "{value}"$'):
        read_settings()


def test_each_wrong_variable_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERIAL_GID", "x")
    monkeypatch.setenv("METRICS_PORT", "y" * 10_000)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    first, second = str(caught.value).splitlines()
    assert first.startswith("SERIAL_GID")
    assert second.startswith("METRICS_PORT")
    assert len(second) < 200


@pytest.mark.parametrize("name", [*VARIABLES])
@pytest.mark.parametrize(
    "value", [b"\xff", b"\xed\xa0\x80", b"\x1b[2J", b"a\nb", b"9" * 5000, b"\xe2\x80\x8b"]
)
def test_a_hostile_variable_is_taken_or_named_in_a_short_printable_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setitem(os.environb, os.fsencode(name), value)
    complaint = complaint_of_settings()
    if complaint is not None:
        assert complaint.startswith(f"{name} must be ")
        assert complaint.isprintable()
        assert len(complaint) < 400


def complaint_of_settings() -> str | None:
    try:
        read_settings()
    except SettingsError as error:
        return str(error)
    return None
