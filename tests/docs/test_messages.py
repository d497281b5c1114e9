"""Every message that a user can meet has a row in docs/messages.md, and every code of `lastError` in the troubleshooting."""

from __future__ import annotations

import re

import pytest

from serial_relay.status import ErrorCode
from tests.docs.messages import ROOT, SOURCES, messages


def documented() -> set[str]:
    page = (ROOT / "docs/messages.md").read_text(encoding="utf-8")
    return {text.strip() for _, text in re.findall(r"^\| (`+)(.+?)\1 \|", page, re.MULTILINE)}


@pytest.mark.parametrize("end", SOURCES)
def test_every_message_has_a_row(end: str) -> None:
    missing = {text: str(file) for text, file in messages(end).items() if text not in documented()}
    assert not missing, f"add rows to docs/messages.md: {missing}"


def test_every_row_is_a_message() -> None:
    said = {text for end in SOURCES for text in messages(end)}
    assert len(said) > 100
    stale = documented() - said
    assert not stale, f"no message is like these rows of docs/messages.md: {stale}"


def test_every_code_of_an_error_is_explained() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", page, re.MULTILINE))))
    assert {code.value for code in ErrorCode} <= explained
