"""Termios and line settings, in both directions of thought."""

from __future__ import annotations

import os
import termios
from typing import Any

import pytest

from serial_relay.config import LineSettings
from serial_relay.virtual_port.termios_map import (
    ApplicationLine,
    Termios,
    application_line,
    unused,
    wanted_line,
)

RAW = Termios(0, 0, termios.CS8 | termios.CREAD, 0, 0, bytes(19), 9600, 9600)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ApplicationLine(9600, 1, "none")),
        ({"output_speed": 250_000, "input_speed": 1200}, ApplicationLine(250_000, 1, "none")),
        ({"output_speed": 0}, ApplicationLine(None, 1, "none")),
        ({"cflag": termios.CS8 | termios.CSTOPB}, ApplicationLine(9600, 2, "none")),
        ({"cflag": termios.CS8 | termios.CRTSCTS}, ApplicationLine(9600, 1, "rtsCts")),
        ({"iflag": termios.IXON}, ApplicationLine(9600, 1, "xonXoff")),
        ({"iflag": termios.IXON | termios.IXOFF}, ApplicationLine(9600, 1, "xonXoff")),
        ({"iflag": termios.IXON, "cflag": termios.CRTSCTS}, ApplicationLine(9600, 1, "rtsCts")),
    ],
)
def test_what_an_application_set(changes: dict[str, Any], line: ApplicationLine) -> None:
    assert application_line(RAW._replace(**changes)) == line


@pytest.mark.parametrize(
    ("changes", "raw"),
    [
        ({}, True),
        ({"iflag": termios.IXON | termios.IGNPAR, "oflag": termios.OPOST, "lflag": termios.IEXTEN}, True),
        ({"lflag": termios.ICANON}, False),
        ({"lflag": termios.ECHO}, False),
        ({"lflag": termios.ISIG}, False),
        ({"iflag": termios.ICRNL}, False),
        ({"iflag": termios.ISTRIP}, False),
    ],
)
def test_raw_is_what_the_line_discipline_has_nothing_to_do_with(changes: dict[str, Any], raw: bool) -> None:
    assert RAW._replace(**changes).raw is raw


def test_termios_survives_the_kernels_layout() -> None:
    data = os.urandom(44)
    assert Termios.unpack(data).pack() == data


APPLICATION = ApplicationLine(19_200, 2, "rtsCts")


@pytest.mark.parametrize(
    ("configured", "application", "wanted"),
    [
        (LineSettings(), None, LineSettings()),
        (LineSettings(parity="even"), None, LineSettings(parity="even")),
        (LineSettings(), APPLICATION, LineSettings(baud_rate=19_200, stop_bits=2, flow_control="rtsCts")),
        (
            LineSettings(baud_rate=9600, data_bits=7, parity="even", stop_bits=1, flow_control="none"),
            APPLICATION,
            LineSettings(baud_rate=9600, data_bits=7, parity="even", stop_bits=1, flow_control="none"),
        ),
        (
            LineSettings(stop_bits=1.5),
            ApplicationLine(None, 2, "none"),
            LineSettings(stop_bits=1.5, flow_control="none"),
        ),
    ],
)
def test_the_configuration_comes_first_then_the_application(
    configured: LineSettings, application: ApplicationLine | None, wanted: LineSettings
) -> None:
    assert wanted_line(configured, application) == wanted


def test_an_unused_port_has_the_kernels_number_of_its_speed() -> None:
    """The C library's number is another one from glibc 2.42 on, and would set other bits."""
    b38400 = 0o000017
    assert unused(None).cflag == b38400 | termios.CS8 | termios.CREAD | termios.HUPCL
