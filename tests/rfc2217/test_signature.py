"""The state of the device in the access server's signature."""

from __future__ import annotations

import pytest

from rfc2217 import AccessServerSignature, DeviceState, Signature


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (("serial_host", "1.0.0", "COM3", DeviceState.AVAILABLE), "serial_host/1.0.0 (COM3; available)"),
        (
            ("serial_host", "1.0.0", "/dev/serial (a; b)", DeviceState.UNAVAILABLE, "access denied: (5)"),
            "serial_host/1.0.0 (/dev/serial (a; b); unavailable: access denied: (5))",
        ),
        (("h", "2", "", DeviceState.BUSY, "10.0.0.9\nis connected"), "h/2 (; busy: 10.0.0.9\nis connected)"),
    ],
)
def test_round_trip(signature: tuple[str, str, str, DeviceState, str], text: str) -> None:
    made = AccessServerSignature(*signature)
    assert str(made) == text
    assert AccessServerSignature.parse(Signature(text)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ser2net",
        "gensio/2.6 (COM3)",
        "serial_host/1.0.0 (COM3; melted)",
        "serial_host/1.0.0 (COM3; available) more",
    ],
)
def test_other_forms_say_nothing(text: str) -> None:
    assert AccessServerSignature.parse(Signature(text)) is None
