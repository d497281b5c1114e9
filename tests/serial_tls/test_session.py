"""Real handshakes between two sessions in memory, and each refusal at each end."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from serial_tls.endpoint import Authority, Endpoint, Pins, Trust
from serial_tls.errors import Reason, TlsError
from serial_tls.identity import Identity, fingerprint, make_identity
from serial_tls.names import wrong_host, wrong_module
from serial_tls.records import looks_like_alert, looks_like_client_hello
from serial_tls.session import Role, Session
from tests.serial_tls.authority import TestAuthority, module_name

CLIENT, SERVER = make_identity("client"), make_identity("server")


def pins(*identities: Identity) -> Pins:
    return Pins({identity.fingerprint for identity in identities}.__contains__)


def end(role: Role, identity: Identity, trust: Trust) -> Endpoint:
    return Endpoint(role, identity, trust)


class Pair:
    """A client and a server that exchange all they have to say; what ends them is kept."""

    def __init__(self, client: Session, server: Session) -> None:
        self.sessions = {Role.CLIENT: client, Role.SERVER: server}
        self.errors: dict[Role, TlsError] = {}
        self.done = dict.fromkeys(Role, False)
        self.received = dict.fromkeys(Role, b"")
        self.said_last = dict.fromkeys(Role, b"")
        """What each said since its part of the handshake was done."""

    def run(self) -> None:
        moved = True
        while moved:
            moved = False
            for role, other in ((Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)):
                self._step(role)
                if output := self.sessions[role].output():
                    moved = True
                    if self.done[role]:
                        self.said_last[role] += output
                    if other not in self.errors:
                        self._receive(other, output)

    def _receive(self, role: Role, data: bytes) -> None:
        try:
            self.sessions[role].receive(data)
        except TlsError as error:
            self.errors[role] = error

    def _step(self, role: Role) -> None:
        session = self.sessions[role]
        if role in self.errors:
            return
        try:
            if not self.done[role]:
                self.done[role] = session.shake_hands()
            if self.done[role]:
                while data := session.read(4096):
                    self.received[role] += data
        except TlsError as error:
            self.errors[role] = error


def shaken(client: Endpoint, server: Endpoint) -> Pair:
    pair = Pair(client.session(), server.session())
    pair.run()
    return pair


def good() -> Pair:
    pair = shaken(end(Role.CLIENT, CLIENT, pins(SERVER)), end(Role.SERVER, SERVER, pins(CLIENT)))
    assert not pair.errors
    return pair


def test_two_that_know_each_other_talk_by_tls_1_3() -> None:
    pair = good()
    client, server = pair.sessions[Role.CLIENT], pair.sessions[Role.SERVER]
    assert client.version == server.version == "TLSv1.3"
    assert client.peer_fingerprint == SERVER.fingerprint
    assert server.peer_fingerprint == CLIENT.fingerprint
    server.receive(client.write(b"to the device"))
    client.receive(server.write(bytes(range(256)) * 200))
    pair.run()
    assert pair.received == {Role.SERVER: b"to the device", Role.CLIENT: bytes(range(256)) * 200}


def test_what_is_read_in_small_pieces_waits_in_the_session() -> None:
    pair = good()
    client, server = pair.sessions[Role.CLIENT], pair.sessions[Role.SERVER]
    server.receive(client.write(b"0123456789"))
    assert [server.read(4), server.read(4), server.read(4), server.read(4)] == [b"0123", b"4567", b"89", b""]


def test_an_end_is_told() -> None:
    pair = good()
    client, server = pair.sessions[Role.CLIENT], pair.sessions[Role.SERVER]
    server.receive(client.write(b"last") + client.close())
    assert (server.read(99), server.ended) == (b"last", False)
    assert (server.read(99), server.ended) == (b"", True)


def test_changed_bytes_end_the_connection_at_both_ends() -> None:
    pair = good()
    record = bytearray(pair.sessions[Role.CLIENT].write(b"9600 8N1"))
    record[-1] ^= 1
    pair.sessions[Role.SERVER].receive(bytes(record))
    pair.run()
    assert pair.errors[Role.SERVER].reason is Reason.BROKEN
    assert pair.errors[Role.CLIENT].reason is Reason.REFUSED
    assert pair.received == {Role.SERVER: b"", Role.CLIENT: b""}


def test_a_client_that_is_not_known_is_refused_and_both_learn_it() -> None:
    pair = shaken(
        end(Role.CLIENT, make_identity("other"), pins(SERVER)), end(Role.SERVER, SERVER, pins(CLIENT))
    )
    assert pair.errors[Role.SERVER].reason is Reason.UNKNOWN_PIN
    assert pair.errors[Role.SERVER].fingerprint == pair.sessions[Role.SERVER].peer_fingerprint
    assert pair.errors[Role.CLIENT].reason is Reason.REFUSED_UNKNOWN


def test_a_server_that_is_not_known_is_refused_and_both_learn_it() -> None:
    pair = shaken(end(Role.CLIENT, CLIENT, pins()), end(Role.SERVER, SERVER, Pins(lambda _: True)))
    assert pair.errors[Role.CLIENT].reason is Reason.UNKNOWN_PIN
    assert pair.errors[Role.CLIENT].fingerprint == SERVER.fingerprint
    assert pair.errors[Role.SERVER].reason is Reason.REFUSED_UNKNOWN


AUTHORITY, OTHER_AUTHORITY = TestAuthority(), TestAuthority("other authority")
HOST = x509.IPAddress(ip_address("172.18.240.1"))
MODULE = module_name("device", "relay")


def by_authority(client: Identity, server: Identity, host: str = "172.18.240.1") -> Pair:
    trust_of_client = Authority((AUTHORITY.certificate,), lambda found: wrong_host(found, host))
    trust_of_server = Authority((AUTHORITY.certificate,), lambda found: wrong_module(found, {"device/relay"}))
    return shaken(end(Role.CLIENT, client, trust_of_client), end(Role.SERVER, server, trust_of_server))


def test_certificates_of_an_authority_are_enough() -> None:
    assert not by_authority(AUTHORITY.issue(MODULE), AUTHORITY.issue(HOST)).errors


@pytest.mark.parametrize(
    ("client", "found", "told"),
    [
        (AUTHORITY.issue(MODULE, begin=-3, end=-1), Reason.EXPIRED, Reason.REFUSED_DATES),
        (AUTHORITY.issue(MODULE, begin=1, end=3), Reason.NOT_YET_VALID, Reason.REFUSED_UNKNOWN),
        (AUTHORITY.issue(module_name("device", "x")), Reason.WRONG_NAME, Reason.REFUSED_UNKNOWN),
        (AUTHORITY.issue(), Reason.WRONG_NAME, Reason.REFUSED_UNKNOWN),
        (OTHER_AUTHORITY.issue(MODULE), Reason.WRONG_AUTHORITY, Reason.REFUSED_UNKNOWN),
        (CLIENT, Reason.WRONG_AUTHORITY, Reason.REFUSED_UNKNOWN),
    ],
)
def test_a_server_refuses(client: Identity, found: Reason, told: Reason) -> None:
    pair = by_authority(client, AUTHORITY.issue(HOST))
    assert pair.errors[Role.SERVER].reason is found
    assert pair.errors[Role.SERVER].fingerprint == client.fingerprint
    assert pair.errors[Role.CLIENT].reason is told


@pytest.mark.parametrize(
    ("server", "found", "told"),
    [
        (AUTHORITY.issue(HOST, begin=-3, end=-1), Reason.EXPIRED, Reason.REFUSED_DATES),
        (AUTHORITY.issue(HOST, begin=1, end=3), Reason.NOT_YET_VALID, Reason.REFUSED_UNKNOWN),
        (AUTHORITY.issue(x509.DNSName("other")), Reason.WRONG_NAME, Reason.REFUSED_UNKNOWN),
        (OTHER_AUTHORITY.issue(HOST), Reason.WRONG_AUTHORITY, Reason.REFUSED_UNKNOWN),
    ],
)
def test_a_client_refuses(server: Identity, found: Reason, told: Reason) -> None:
    pair = by_authority(AUTHORITY.issue(MODULE), server)
    assert pair.errors[Role.CLIENT].reason is found
    assert pair.errors[Role.SERVER].reason is told


INTERMEDIATE = TestAuthority("intermediate", AUTHORITY)


def with_above(identity: Identity, *above: x509.Certificate) -> Identity:
    return Identity((identity.chain[0], *above), identity.key)


KNOWN = make_identity("known")
UNKNOWN_BELOW_TRUSTED = {
    "issued by it": (AUTHORITY.certificate, with_above(AUTHORITY.issue(MODULE, HOST), AUTHORITY.certificate)),
    "issued by an intermediate": (INTERMEDIATE.certificate, INTERMEDIATE.issue(MODULE, HOST)),
    "two below it": (
        AUTHORITY.certificate,
        with_above(INTERMEDIATE.issue(MODULE, HOST), INTERMEDIATE.certificate, AUTHORITY.certificate),
    ),
    "shown with a certificate of another": (
        KNOWN.chain[0],
        with_above(make_identity("unknown"), KNOWN.chain[0]),
    ),
    "issued by one who may not": (KNOWN.chain[0], TestAuthority.of(KNOWN).issue(MODULE, HOST)),
}


@pytest.mark.parametrize("refuses", list(Role))
@pytest.mark.parametrize("case", UNKNOWN_BELOW_TRUSTED)
def test_a_pin_of_a_certificate_above_trusts_none_below_it(case: str, refuses: Role) -> None:
    pinned, shown = UNKNOWN_BELOW_TRUSTED[case]
    trust = Pins({fingerprint(pinned)}.__contains__)
    anybody = Pins(lambda _: True)
    if refuses is Role.SERVER:
        pair = shaken(end(Role.CLIENT, shown, anybody), end(Role.SERVER, SERVER, trust))
    else:
        pair = shaken(end(Role.CLIENT, CLIENT, trust), end(Role.SERVER, shown, anybody))
    assert pair.errors[refuses].reason is Reason.UNKNOWN_PIN
    assert pair.errors[refuses].fingerprint == shown.fingerprint
    assert not pair.done[refuses]


def test_a_chain_to_the_authority_is_enough_with_the_right_names() -> None:
    pair = by_authority(INTERMEDIATE.issue(MODULE), INTERMEDIATE.issue(HOST))
    assert not pair.errors
    pair = by_authority(INTERMEDIATE.issue(MODULE), INTERMEDIATE.issue(HOST), "172.18.240.2")
    assert pair.errors[Role.CLIENT].reason is Reason.WRONG_NAME
    pair = by_authority(INTERMEDIATE.issue(module_name("device", "other")), INTERMEDIATE.issue(HOST))
    assert pair.errors[Role.SERVER].reason is Reason.WRONG_NAME


def test_who_has_a_certificate_of_the_authority_issues_none() -> None:
    module, host = AUTHORITY.issue(MODULE), AUTHORITY.issue(HOST)
    forged = TestAuthority.of(module).issue(MODULE, HOST)
    assert by_authority(forged, host).errors[Role.SERVER].reason is Reason.BAD_CERTIFICATE
    assert by_authority(module, forged).errors[Role.CLIENT].reason is Reason.BAD_CERTIFICATE


def test_a_certificate_for_the_other_end_is_refused() -> None:
    """IoT Edge gives modules certificates of clients, with which none of them can be a host."""
    client = AUTHORITY.issue(MODULE, HOST, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    server = AUTHORITY.issue(MODULE, HOST, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    assert not by_authority(client, server).errors
    assert by_authority(client, client).errors[Role.CLIENT].reason is Reason.BAD_CERTIFICATE
    assert by_authority(server, server).errors[Role.SERVER].reason is Reason.BAD_CERTIFICATE


def test_a_chain_without_its_middle_is_refused() -> None:
    bare = with_above(INTERMEDIATE.issue(MODULE, HOST))
    assert by_authority(bare, AUTHORITY.issue(HOST)).errors[Role.SERVER].reason is Reason.WRONG_AUTHORITY
    assert by_authority(AUTHORITY.issue(MODULE), bare).errors[Role.CLIENT].reason is Reason.WRONG_AUTHORITY


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL X509 objects")
@pytest.mark.parametrize("refuses", list(Role))
def test_a_certificate_that_cannot_be_read_is_refused(refuses: Role) -> None:
    """Its version is one that does not exist, which OpenSSL itself takes."""
    der = CLIENT.chain[0].public_bytes(serialization.Encoding.DER)
    odd = crypto.load_certificate(
        crypto.FILETYPE_ASN1, der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)
    )
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(odd)
    context.use_privatekey(CLIENT.key)
    anybody = Pins(lambda _: True)
    if refuses is Role.SERVER:
        pair = Pair(Session(context, Role.CLIENT, None), end(Role.SERVER, SERVER, anybody).session())
    else:
        pair = Pair(end(Role.CLIENT, SERVER, anybody).session(), Session(context, Role.SERVER, None))
    pair.run()
    assert pair.errors[refuses].reason is Reason.BAD_CERTIFICATE
    assert "cannot be read" in pair.errors[refuses].detail


def test_dates_say_what_time_it_is() -> None:
    error = by_authority(AUTHORITY.issue(MODULE, begin=1, end=3), AUTHORITY.issue(HOST)).errors[Role.SERVER]
    assert "valid from 20" in error.detail
    assert "now it is 20" in error.detail


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("plc.example.com", True),
        ("PLC.example.com.", True),
        ("other.example.com", False),
        ("a.wild.example.com", True),
        ("a.b.wild.example.com", False),
        ("wild.example.com", False),
        ("172.18.240.1", True),
        ("172.18.240.2", False),
        ("com", False),
    ],
)
def test_names_of_hosts(host: str, fits: bool) -> None:
    names = (x509.DNSName("plc.example.com"), x509.DNSName("*.wild.example.com"), x509.DNSName("*.com"), HOST)
    assert (wrong_host(AUTHORITY.issue(*names).chain[0], host) is None) is fits


def test_an_address_of_one_link_is_the_same_on_each_interface() -> None:
    certificate = AUTHORITY.issue(x509.IPAddress(ip_address("fe80::1"))).chain[0]
    assert wrong_host(certificate, "fe80::1%eth0") is None
    assert wrong_host(certificate, "fe80::2%eth0") == "fe80::1"


def test_a_client_without_a_certificate_is_refused_and_both_learn_it() -> None:
    bare = SSL.Context(SSL.TLS_METHOD)
    pair = Pair(Session(bare, Role.CLIENT, None), end(Role.SERVER, SERVER, pins(CLIENT)).session())
    pair.run()
    assert pair.errors[Role.SERVER].reason is Reason.NO_CERTIFICATE
    assert pair.errors[Role.CLIENT].reason is Reason.REFUSED_NO_CERTIFICATE


@pytest.mark.parametrize("old", list(Role))
def test_tls_1_1_is_refused_and_both_learn_it(old: Role) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_1_VERSION)
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.use_certificate(SERVER.chain[0])
    context.use_privatekey(SERVER.key)
    if old is Role.CLIENT:
        pair = Pair(Session(context, old, None), end(Role.SERVER, SERVER, pins(CLIENT)).session())
    else:
        pair = Pair(end(Role.CLIENT, CLIENT, pins(SERVER)).session(), Session(context, old, None))
    pair.run()
    reasons = {role: error.reason for role, error in pair.errors.items()}
    assert reasons[Role.SERVER] is Reason.OLD_VERSION
    assert reasons[Role.CLIENT] is Reason.REFUSED_VERSION


def test_tls_1_2_is_taken_with_whole_ciphers() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(CLIENT.chain[0])
    context.use_privatekey(CLIENT.key)
    pair = Pair(Session(context, Role.CLIENT, None), end(Role.SERVER, SERVER, pins(CLIENT)).session())
    pair.run()
    assert not pair.errors
    assert pair.sessions[Role.SERVER].version == "TLSv1.2"


def test_a_renegotiation_is_refused() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(CLIENT.chain[0])
    context.use_privatekey(CLIENT.key)
    client = Session(context, Role.CLIENT, None)
    pair = Pair(client, end(Role.SERVER, SERVER, pins(CLIENT)).session())
    pair.run()
    assert client._connection.renegotiate()
    pair.done[Role.CLIENT] = False
    pair.run()
    assert pair.errors or not pair.done[Role.CLIENT]
    assert pair.sessions[Role.SERVER].peer_fingerprint == CLIENT.fingerprint


@pytest.mark.parametrize("role", list(Role))
def test_bytes_that_are_no_tls_are_told_from_broken_tls(role: Role) -> None:
    session = end(role, SERVER, pins(CLIENT)).session()
    with pytest.raises(TlsError) as raised:
        session.receive(b"\xff\xfb\x2c")
    assert raised.value.reason is Reason.NOT_TLS
    session = end(role, SERVER, pins(CLIENT)).session()
    session.shake_hands()
    session.receive(b"\x16\x03\x01\x00\x05\x09\x00\x00\x01\x00")
    with pytest.raises(TlsError) as raised:
        session.shake_hands()
    assert raised.value.reason is Reason.BROKEN


def test_a_first_message_is_known_by_its_bytes() -> None:
    hello = end(Role.CLIENT, CLIENT, pins()).session()
    hello.shake_hands()
    assert looks_like_client_hello(hello.output())
    assert not looks_like_client_hello(b"\x16\x03")
    assert not looks_like_client_hello(b"\x01\x03\x00\x00\x00\x0a\xc5\xcd")  # Modbus RTU
    assert looks_like_alert(b"\x15\x03\x03\0\2\2\x46")
    assert not looks_like_alert(b"\x15\x03\x03")


def test_a_ticket_tells_a_client_that_it_is_accepted_and_resumes_nothing() -> None:
    client, server = end(Role.CLIENT, CLIENT, pins(SERVER)), end(Role.SERVER, SERVER, pins(CLIENT))
    first = Pair(client.session(), server.session())
    first.run()
    assert first.said_last[Role.SERVER]  # `remote.secure` of the module waits for it
    again = Pair(client.session(), server.session())
    kept = first.sessions[Role.CLIENT]._connection.get_session()
    assert kept is not None
    again.sessions[Role.CLIENT]._connection.set_session(kept)
    again.run()
    assert not again.errors
    assert again.sessions[Role.SERVER].peer_fingerprint == CLIENT.fingerprint  # it was asked for again
    assert again.sessions[Role.CLIENT].peer_fingerprint == SERVER.fingerprint
