from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serial_relay.plumbing import log as log_format
from serial_relay.status import NotSupportedError, PortStatus, State
from serial_relay.twin.methods import METHOD_NAMES, REQUESTS, Methods
from tests.module.fake_identity import FakeIdentity
from tests.module.statuses import MOMENT, connected

WITHOUT_PAYLOAD = {name for name, model in REQUESTS.items() if model is None}
SECTION = {"status": "ok", "serialPorts": {"scale": {"state": "connected"}}}


class FakePorts:
    """Stands in for the supervisor: remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self._statuses = {
            "scale": connected("scale"),
            "raw": connected("raw"),
            "off": PortStatus(State.DISABLED, MOMENT, "/dev/off"),
        }

    def statuses(self) -> Mapping[str, PortStatus]:
        return self._statuses

    def restart(self, name: str) -> None:
        self._take("restart", name)

    async def set_modem_lines(self, name: str, dtr: bool | None, rts: bool | None) -> None:
        self._take("set_modem_lines", name, dtr, rts)

    async def send_break(self, name: str, milliseconds: int) -> None:
        self._take("send_break", name, milliseconds)

    def capture(self, name: str, token: str | None) -> Mapping[str, Any]:
        self._take("capture", name, token)
        if token is not None:
            raise ValueError(token)
        return {"captureSeconds": 60, "records": [], "lost": 0, "next": None}

    def _take(self, what: str, name: str, *values: object) -> None:
        if self.failure:
            raise self.failure
        if self._statuses[name].state is State.DISABLED:
            raise LookupError(name)
        if name == "raw" and what != "restart":
            raise NotSupportedError(
                "raw carries bytes alone; the protocol rfc2217 carries modem lines and breaks"
            )
        self.asked.append((what, name, *values))


async def steps_of(name: str, whole: bool) -> list[dict[str, Any]]:
    return [
        {"step": "route", "verdict": "ok", "found": name},
        {"step": "line", "verdict": "warning", "found": name},
        {
            "step": "device",
            "verdict": "failed",
            "found": f"{name} {whole} " + "x" * 500,
            "next": "plug it in",
        },
    ]


@pytest.fixture
def ports() -> FakePorts:
    return FakePorts()


@pytest.fixture
def methods(ports: FakePorts) -> Methods:
    return Methods(ports, lambda: SECTION, diagnose=steps_of, identity=FakeIdentity())


async def test_get_status_gives_the_whole_section_whatever_the_payload(methods: Methods) -> None:
    for payload in (None, {}, "x", [1], {"a": 1}):
        assert await methods.call("getStatus", payload) == (200, SECTION)


async def test_diagnose_gives_all_steps_of_one_port_and_of_all_ports_what_fails_in_short(
    methods: Methods,
) -> None:
    status, answer = await methods.call("diagnose", {"port": "scale"})
    assert status == 200
    assert [step["step"] for step in answer["ports"]["scale"]] == ["route", "line", "device"]

    status, answer = await methods.call("diagnose", None)
    assert status == 200
    assert answer["ports"].keys() == {"scale", "raw", "off"}
    for name, [step] in answer["ports"].items():
        assert (step["step"], step["verdict"]) == ("device", "failed")
        assert step["found"].startswith(f"{name} False x")
        assert len(step["found"]) < 210


async def test_an_identity_is_prepared_once_and_then_activated(methods: Methods) -> None:
    status, answer = await methods.call("activateIdentity", None)
    assert (status, answer["error"][:30]) == (409, "no new identity is prepared: r")
    both = {"fingerprint": f"sha256:{1:064}", "nextFingerprint": f"sha256:{2:064}"}
    payloads: tuple[object, ...] = (None, {}, "x")
    for payload in payloads:
        assert await methods.call("renewIdentity", payload) == (200, both)
    new = {"fingerprint": both["nextFingerprint"], "nextFingerprint": None}
    assert await methods.call("activateIdentity", {}) == (200, new)


async def test_diagnose_knows_the_ports(methods: Methods) -> None:
    assert await methods.call("diagnose", {"port": "nowhere"}) == (
        404,
        {"error": 'there is no port "nowhere"; there are off, raw, scale'},
    )


@pytest.mark.parametrize(
    ("name", "payload", "answer", "asked"),
    [
        ("restartPort", {"port": "scale"}, {"port": "scale"}, ("restart", "scale")),
        ("restartPort", {"port": "raw"}, {"port": "raw"}, ("restart", "raw")),
        (
            "setModemLines",
            {"port": "scale", "dtr": True, "rts": False},
            {"port": "scale", "dtr": True, "rts": False},
            ("set_modem_lines", "scale", True, False),
        ),
        (
            "setModemLines",
            {"port": "scale", "rts": True},
            {"port": "scale", "rts": True},
            ("set_modem_lines", "scale", None, True),
        ),
        (
            "sendBreak",
            {"port": "scale", "milliseconds": 100},
            {"port": "scale", "milliseconds": 100},
            ("send_break", "scale", 100),
        ),
        (
            "sendBreak",
            {"port": "scale"},
            {"port": "scale", "milliseconds": 250},
            ("send_break", "scale", 250),
        ),
    ],
)
async def test_a_method_is_carried_out(
    methods: Methods, ports: FakePorts, name: str, payload: object, answer: object, asked: tuple[Any, ...]
) -> None:
    assert await methods.call(name, payload) == (200, answer)
    assert ports.asked == [asked]


@pytest.mark.parametrize(
    ("name", "payload", "status", "error"),
    [
        ("restartPort", None, 400, "the payload must be a JSON object, not null"),
        ("restartPort", "scale", 400, 'the payload must be a JSON object, not "scale"'),
        ("restartPort", ["scale"], 400, "the payload must be a JSON object, not an array"),
        ("restartPort", {}, 400, "port must be the name of a port"),
        ("restartPort", {"port": 5}, 400, "port must be the name of a port, not 5"),
        ("restartPort", {"port": "scale", "prot": 1}, 400, "prot is not known"),
        ("restartPort", {"port": "other"}, 404, 'there is no port "other"; there are off, raw, scale'),
        ("restartPort", {"port": "off"}, 409, "the port off is disabled: it does not run"),
        ("setLogLevel", {"level": 7}, 400, None),
        ("setLogLevel", {"level": "loud"}, 400, None),
        ("setModemLines", {"port": "scale"}, 400, "dtr or rts, or both, must be given as true or false"),
        ("setModemLines", {"port": "scale", "dtr": 1}, 400, "dtr must be true or false, not 1"),
        ("setModemLines", {"port": "other", "dtr": True}, 404, None),
        (
            "setModemLines",
            {"port": "raw", "dtr": True},
            409,
            "raw carries bytes alone; the protocol rfc2217 carries modem lines and breaks",
        ),
        ("setModemLines", {"port": "off", "dtr": True}, 409, None),
        (
            "sendBreak",
            {"port": "scale", "milliseconds": 0},
            400,
            "milliseconds must be a number of milliseconds, 1-5000, not 0",
        ),
        ("sendBreak", {"port": "scale", "milliseconds": True}, 400, None),
        ("sendBreak", {"port": "raw"}, 409, None),
        (
            "reboot",
            {},
            501,
            'there is no method "reboot"; there are activateIdentity, capture, diagnose, getStatus, renewIdentity, restartPort, sendBreak, setLogLevel, setModemLines',
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(
    methods: Methods, ports: FakePorts, name: str, payload: object, status: int, error: str | None
) -> None:
    answered, answer = await methods.call(name, payload)
    assert answered == status
    assert isinstance(answer["error"], str)
    if error is not None:
        assert answer == {"error": error}
    assert ports.asked == []


async def test_a_method_that_is_switched_off_is_refused(ports: FakePorts) -> None:
    methods = Methods(
        ports, lambda: SECTION, frozenset({"getStatus"}), diagnose=steps_of, identity=FakeIdentity()
    )
    assert (await methods.call("getStatus", None))[0] == 200
    assert await methods.call("restartPort", {"port": "scale"}) == (
        403,
        {"error": "restartPort is switched off by ALLOWED_METHODS in the module's environment"},
    )
    assert ports.asked == []


async def test_with_all_methods_switched_off_none_is_listed(ports: FakePorts) -> None:
    methods = Methods(ports, lambda: SECTION, frozenset(), diagnose=steps_of, identity=FakeIdentity())
    assert await methods.call("reboot", None) == (
        501,
        {"error": 'there is no method "reboot"; there are none'},
    )


async def test_the_log_level_is_set(methods: Methods) -> None:
    before = logging.getLogger().level
    try:
        assert await methods.call("setLogLevel", {"level": "Debug"}) == (200, {"level": "debug"})
        assert logging.getLogger().level == logging.DEBUG
    finally:
        logging.getLogger().setLevel(before)
        for name in log_format._TALKATIVE:
            logging.getLogger(name).setLevel(logging.NOTSET)


async def test_a_defect_is_answered_and_logged(
    methods: Methods, ports: FakePorts, caplog: pytest.LogCaptureFixture
) -> None:
    ports.failure = RuntimeError("defect")
    assert await methods.call("restartPort", {"port": "scale"}) == (
        500,
        {"error": "unexpected error; the module's log says more"},
    )
    assert caplog.records[0].exc_info


async def test_each_call_is_one_line_of_the_log(methods: Methods, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await methods.call("restartPort", {"port": "scale"})
        await methods.call("restartPort", {"port": "other"})
    assert [record.getMessage() for record in caplog.records] == [
        "method restartPort: 200",
        'method restartPort: 404, there is no port "other"; there are off, raw, scale',
    ]


payloads = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["port", "level", "dtr", "rts", "milliseconds"]) | st.text(max_size=4), inner
        )
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(METHOD_NAMES)) | st.text(st.characters(exclude_categories=()), max_size=9),
    payloads,
)
async def test_any_payload_is_answered(name: str, payload: object) -> None:
    methods = Methods(FakePorts(), lambda: SECTION, diagnose=steps_of, identity=FakeIdentity())
    status, answer = await methods.call(name, payload)
    assert status in ({200, 409} if name in WITHOUT_PAYLOAD else {200, 400, 404, 501})
    text = json.dumps(answer, ensure_ascii=False)
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize(
    "text",
    ["\ud800", "\udcff x", "\0", "a\nb <0> [FTL] -", "\x1b[2J", "\u2028", "x" * 100_000, "\u202e", "\u0130"],
)
async def test_hostile_payloads_make_one_short_line_each(
    ports: FakePorts, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    methods = Methods(ports, lambda: SECTION, diagnose=steps_of, identity=FakeIdentity())
    for name in (*sorted(METHOD_NAMES - WITHOUT_PAYLOAD), text):
        payloads = [text, {text: text}, {"port": text}, {"level": text}, {"port": "scale", text: 1}]
        payloads += [{"port": "scale", key: text} for key in ("dtr", "rts", "milliseconds")]
        for payload in payloads:
            caplog.clear()
            status, answer = await methods.call(name, payload)
            if (name, payload) != ("restartPort", {"port": "scale"}):
                assert 400 <= status < 502, (name, payload, answer)
                assert status != 500
            json.dumps(answer).encode()
            assert len(caplog.records) <= 1
            for record in caplog.records:
                line = log_format.RuntimeFormatter().format(record)
                assert line.isprintable()
                assert len(line) < 1000
                assert "Traceback" not in line
