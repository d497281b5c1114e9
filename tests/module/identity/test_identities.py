"""Who the module is: an own key in a file, and certificates of an emulated workload API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from serial_relay.config import TlsIdentity
from serial_relay.identity import identities
from serial_relay.identity.identities import Identities
from serial_tls.errors import IdentityError
from serial_tls.identity import Identity
from serial_tls.names import wrong_module
from tests.edgehub import certificates
from tests.edgehub.workload import WorkloadApi
from tests.module.conditions import until


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[WorkloadApi]:
    files = certificates.issue("127.0.0.1", tmp_path)
    api = WorkloadApi(
        tmp_path / "workload.sock",
        files.authority,
        "relay",
        "7",
        lambda life: certificates.issue_identity(files, "plc", "relay", life),
    )
    api.start()
    yield api
    api.stop()


def client(workload: WorkloadApi) -> dict[str, str]:
    return {
        "IOTEDGE_WORKLOADURI": f"unix://{workload.socket_path}",
        "IOTEDGE_MODULEID": "relay",
        "IOTEDGE_MODULEGENERATIONID": "7",
    }


async def test_an_own_identity_is_made_at_first_use_and_kept(tmp_path: Path) -> None:
    changes: list[None] = []
    first = Identities(tmp_path, None, lambda: changes.append(None))
    assert first.fingerprint is None
    made = await first.get(TlsIdentity.OWN)
    assert first.fingerprint == made.fingerprint
    assert len(changes) == 1
    assert (await Identities(tmp_path).get(TlsIdentity.OWN)).fingerprint == made.fingerprint


async def test_without_its_file_a_new_identity_is_made(tmp_path: Path) -> None:
    old = await Identities(tmp_path).get(TlsIdentity.OWN)
    (tmp_path / "identity.pem").unlink()
    assert (await Identities(tmp_path).get(TlsIdentity.OWN)).fingerprint != old.fingerprint


async def test_an_own_identity_is_renewed_in_two_steps(tmp_path: Path) -> None:
    changes: list[None] = []
    identities = Identities(tmp_path, None, lambda: changes.append(None))
    old = await identities.get(TlsIdentity.OWN)
    await identities.prepare()
    following = identities.next_fingerprint
    assert following not in {None, old.fingerprint}
    assert identities.fingerprint == old.fingerprint
    await identities.prepare()
    assert identities.next_fingerprint == following

    restarted = Identities(tmp_path)
    assert (await restarted.get(TlsIdentity.OWN)).fingerprint == old.fingerprint
    assert restarted.next_fingerprint == following

    before = len(changes)
    await identities.activate()
    assert identities.fingerprint == following
    assert identities.next_fingerprint is None
    assert len(changes) == before + 1
    assert (await identities.get(TlsIdentity.OWN)).fingerprint == following
    assert (await Identities(tmp_path).get(TlsIdentity.OWN)).fingerprint == following
    with pytest.raises(IdentityError, match="run 'identity --renew' first"):
        await identities.activate()


async def test_an_identity_is_prepared_before_any_port_uses_tls(tmp_path: Path) -> None:
    identities = Identities(tmp_path)
    assert not identities.has_own()
    await identities.prepare()
    assert identities.has_own()
    assert None not in {identities.fingerprint, identities.next_fingerprint}
    with pytest.raises(IdentityError, match="set STATE_DIR"):
        await Identities().prepare()


async def test_a_damaged_next_identity_stops_no_port_and_is_told_to_who_renews(tmp_path: Path) -> None:
    old = await Identities(tmp_path).get(TlsIdentity.OWN)
    (tmp_path / "next.pem").write_text("not PEM")
    identities = Identities(tmp_path)
    assert (await identities.get(TlsIdentity.OWN)).fingerprint == old.fingerprint
    for change in (identities.prepare, identities.activate):
        with pytest.raises(IdentityError, match=r"next\.pem: .*remove the file"):
            await change()
    assert (await identities.get(TlsIdentity.OWN)).fingerprint == old.fingerprint


async def test_without_a_place_for_the_key_there_is_no_own_identity() -> None:
    with pytest.raises(IdentityError, match="set STATE_DIR"):
        await Identities().get(TlsIdentity.OWN)


async def test_without_iot_edge_there_is_no_identity_of_it(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match='set `identity` to "own"'):
        await Identities(tmp_path).get(TlsIdentity.EDGE)


async def test_iot_edge_names_the_module_in_its_certificate(workload: WorkloadApi) -> None:
    edge = Identities(None, client(workload))
    identity = await edge.get(TlsIdentity.EDGE)
    assert wrong_module(identity.chain[0], {"plc/relay"}) is None
    assert len(identity.chain) == 2
    assert await edge.get(TlsIdentity.EDGE) is identity
    assert workload.certificates == 1
    await edge.stop()


async def test_a_certificate_of_iot_edge_is_renewed_before_it_expires(
    workload: WorkloadApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "_RETRY", 0.01)
    workload.certificate_life = timedelta(seconds=1)
    edge = Identities(None, client(workload))
    first = await edge.get(TlsIdentity.EDGE)
    await until(lambda: workload.certificates >= 2)
    workload.stop()
    await asyncio.sleep(0)
    workload.start()
    await until(lambda: workload.certificates >= 3)
    assert (await edge.get(TlsIdentity.EDGE)).fingerprint != first.fingerprint
    await edge.stop()


async def test_a_workload_api_that_is_away_is_an_error_with_its_place(workload: WorkloadApi) -> None:
    workload.stop()
    edge = Identities(None, client(workload))
    with pytest.raises(IdentityError, match=r"workload\.sock does not answer"):
        await edge.get(TlsIdentity.EDGE)
    workload.start()
    assert len((await edge.get(TlsIdentity.EDGE)).chain) == 2
    await edge.stop()


async def test_all_ports_wait_for_one_answer_of_the_workload_api_and_others_for_none(
    workload: WorkloadApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    answers = threading.Event()

    def hang(_self: object) -> Identity:
        asked.append(None)
        assert answers.wait(30)
        raise IdentityError("the workload API does not answer")

    monkeypatch.setattr("serial_relay.identity.workload.WorkloadApi.new_identity", hang)
    identities = Identities(tmp_path, client(workload))
    ports = [asyncio.create_task(identities.get(TlsIdentity.EDGE)) for _ in range(8)]
    await until(lambda: asked)
    assert (await identities.get(TlsIdentity.OWN)).fingerprint == identities.fingerprint
    ports.pop().cancel()  # a port that is switched off leaves the others theirs
    answers.set()
    for port in ports:
        with pytest.raises(IdentityError, match="does not answer"):
            await port
    assert len(asked) == 1
    monkeypatch.undo()
    assert len((await identities.get(TlsIdentity.EDGE)).chain) == 2
    await identities.stop()


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"certificate": "x", "privateKey": {"bytes": "y"}}', b"\xff", b"[" * 60000],
)
async def test_an_answer_that_is_no_certificate_is_an_error(
    workload: WorkloadApi, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "_new_certificate", lambda _issue: answer)
    with pytest.raises(IdentityError, match="the workload API returned"):
        await Identities(None, client(workload)).get(TlsIdentity.EDGE)
