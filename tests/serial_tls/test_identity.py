"""Identities in files, fingerprints as people write them."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serial_tls.errors import IdentityError
from serial_tls.fingerprints import parse_fingerprint
from serial_tls.identity import (
    load_identity,
    make_identity,
    own_identity,
    parse_certificates,
    parse_identity,
)
from tests.serial_tls.authority import TestAuthority, pem_of


def test_an_identity_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "tls" / "identity.pem"
    made = own_identity(path, "relay")
    again = own_identity(path, "relay")
    assert again.fingerprint == made.fingerprint
    assert [entry.name for entry in path.parent.iterdir()] == ["identity.pem"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="needs openssl")
def test_the_fingerprint_is_the_one_of_openssl(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    made = own_identity(path, "relay")
    said = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert parse_fingerprint(said.partition("=")[2]) == made.fingerprint


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha1:" + "0" * 40, "sha256:" + "0" * 63, "sha256:" + "g" * 64, "0" * 65]
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="64 hexadecimal digits"):
        parse_fingerprint(text)


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_text("not PEM")
    with pytest.raises(IdentityError, match=r"identity\.pem"):
        own_identity(path, "relay")
    assert path.read_text() == "not PEM"


def test_a_place_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="file"):
        own_identity(tmp_path / "file" / "identity.pem", "relay")


def test_a_key_of_another_certificate_is_refused() -> None:
    chain, _ = pem_of(make_identity("one"))
    _, key = pem_of(make_identity("other"))
    with pytest.raises(IdentityError, match="does not belong"):
        parse_identity(chain, key)


def test_a_chain_keeps_its_order(tmp_path: Path) -> None:
    authority = TestAuthority()
    issued = authority.issue()
    chain, key = pem_of(issued)
    both = parse_identity(chain + authority.pem, key)
    assert both.fingerprint == issued.fingerprint
    assert both.chain[1] == authority.certificate


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "\u00e9"]
)
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="PEM"):
        parse_certificates(text)


def test_nothing_is_left_of_a_load_that_finds_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_identity(tmp_path / "identity.pem")
    assert not list(tmp_path.iterdir())
