"""Direct methods: what the cloud may ask of the running module, beside its configuration.

Each answer is a status with HTTP's meaning and a JSON object; `{"error": …}` with a status of 400 and more. What was
asked is checked here, what a port can do at the moment is the port's to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from serial_relay.plumbing.log import LEVELS, known_level, set_level
from serial_relay.plumbing.text import escaped, shown
from serial_relay.status import NotSupportedError, PortStatus
from serial_relay.twin.desired_syntax import whole_number
from serial_tls.errors import IdentityError

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, Any]]

Diagnose = Callable[[str, bool], Awaitable[list[dict[str, Any]]]]
"""Takes the steps of the diagnosis of a configured port, all of them or those that cost little; never raises."""

_TELLING = ("failed", "warning")
_LONGEST_FOUND = 200
"""Limit in characters of what was found, if the steps of all ports are asked for."""


class Ports(Protocol):
    """The functions of the running ports that the methods need."""

    def statuses(self) -> Mapping[str, PortStatus]:
        """The status of each configured port."""

    def restart(self, name: str) -> None:
        """Make the connection of a port again.

        Raises:
            LookupError: no such port is running.
        """

    async def set_modem_lines(self, name: str, dtr: bool | None, rts: bool | None) -> None:  # noqa: FBT001 - line states
        """Set the modem lines of the real port; None leaves a line as it is.

        Raises:
            LookupError: no such port is running.
            NotSupportedError: its connection cannot carry modem lines (now); the text says why.
        """

    async def send_break(self, name: str, milliseconds: int) -> None:
        """Send a break on the real port and return when it is over.

        Raises:
            LookupError, NotSupportedError: as with `set_modem_lines`.
        """

    def capture(self, name: str, token: str | None) -> Mapping[str, Any]:
        """Return a piece of what passed the port lately.

        Raises:
            LookupError: no such port is running.
            NotSupportedError: nothing is kept; the text says why.
            ValueError: the token was not given out by the port.
        """


class OwnIdentity(Protocol):
    """The functions of the module's own identity that the methods need."""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the present one, from its first use."""

    @property
    def next_fingerprint(self) -> str | None:
        """The fingerprint of the one that waits to be activated, if there is one."""

    async def prepare(self) -> None:
        """Make the next one, which waits to be activated.

        Raises:
            IdentityError: that is not possible; the text says why.
        """

    async def activate(self) -> None:
        """Use the next one for new connections.

        Raises:
            IdentityError: there is none, or it cannot be used; the text says which.
        """


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Port(_Payload):
    port: StrictStr = Field(description="the name of a port", examples=["ttyVirtS0"])


_ANY_CASE = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in level) for level in LEVELS)
_LEVEL_SPELLINGS: list[dict[str, Any]] = [{"enum": list(LEVELS)}, {"pattern": rf"^(?:{_ANY_CASE})$(?!\n)"}]
"""The levels as an editor proposes them, and in any case."""


class _Level(_Payload):
    level: Annotated[
        StrictStr, AfterValidator(known_level), WithJsonSchema({"type": "string", "anyOf": _LEVEL_SPELLINGS})
    ] = Field(description=f"one of {', '.join(LEVELS)}", examples=["debug"])


class _ModemLines(_Port):
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [line], "properties": {line: {"type": "boolean"}}} for line in ("dtr", "rts")
            ]
        }
    )

    dtr: StrictBool | None = Field(default=None, description="true or false", examples=[True])
    rts: StrictBool | None = Field(default=None, description="true or false", examples=[False])


class _Break(_Port):
    milliseconds: Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=5000)] = Field(
        default=250, description="a number of milliseconds, 1-5000", examples=[250]
    )


class _Capture(_Port):
    next: Annotated[StrictStr, StringConstraints(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$")] | None = Field(
        default=None, description="the `next` of the previous answer", examples=["120-345"]
    )


class _Diagnosis(_Payload):
    model_config = ConfigDict(json_schema_extra={"type": ["object", "null"]})

    port: StrictStr | None = Field(default=None, description="the name of a port", examples=["ttyVirtS0"])


REQUESTS: Mapping[str, type[BaseModel] | None] = {
    "getStatus": None,
    "restartPort": _Port,
    "setLogLevel": _Level,
    "setModemLines": _ModemLines,
    "sendBreak": _Break,
    "capture": _Capture,
    "diagnose": _Diagnosis,
    "renewIdentity": None,
    "activateIdentity": None,
}
"""The payload that each method expects; None means that the payload is ignored."""

METHOD_NAMES = frozenset(REQUESTS)


class Methods:
    """Carries out direct methods on the running ports."""

    def __init__(
        self,
        ports: Ports,
        report: Callable[[], Mapping[str, Any]],
        allowed: frozenset[str] = METHOD_NAMES,
        *,
        diagnose: Diagnose,
        identity: OwnIdentity,
        quiet: frozenset[str] = frozenset(),
    ) -> None:
        """`report` gives the whole reported section; methods that are not in `allowed` are refused.

        `diagnose` takes the steps of a port's diagnosis; `identity` is the module's own one.

        Calls of `quiet` methods, which somebody makes each second, are logged only for debugging.
        """
        self._diagnose_port = diagnose
        self._identity = identity
        self._quiet = quiet
        self._ports = ports
        self._report = report
        self._allowed = allowed
        self._methods: Mapping[str, Callable[[object], Awaitable[Answer]]] = {
            "getStatus": self._get_status,
            "restartPort": self._restart_port,
            "setLogLevel": self._set_log_level,
            "setModemLines": self._set_modem_lines,
            "sendBreak": self._send_break,
            "capture": self._capture,
            "diagnose": self._diagnose,
            "renewIdentity": self._renew_identity,
            "activateIdentity": self._activate_identity,
        }

    async def call(self, name: str, payload: object) -> Answer:
        """Carry out a method and return its status and answer; never raises.

        400: the payload is not what the method expects; 403: `ALLOWED_METHODS` leaves it out; 404: no such port;
        409: the port cannot do it, or not now; 500: a defect; 501: no such method.
        """
        try:
            answer = await self._call(name, payload)
        except Exception:
            log.exception("method %s failed", escaped(name))
            answer = _refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error; the module's log says more"
            )
        log.log(
            logging.DEBUG if name in self._quiet else logging.INFO,
            "method %s: %d%s",
            escaped(name),
            answer[0],
            f", {answer[1]['error']}" if answer[0] >= 400 else "",
        )
        return int(answer[0]), answer[1]

    async def _call(self, name: str, payload: object) -> Answer:
        method = self._methods.get(name)
        if method is None:
            return _refusal(
                HTTPStatus.NOT_IMPLEMENTED,
                f"there is no method {shown(name)}; there are {', '.join(sorted(self._allowed)) or 'none'}",
            )
        if name not in self._allowed:
            return _refusal(
                HTTPStatus.FORBIDDEN, f"{name} is switched off by ALLOWED_METHODS in the module's environment"
            )
        try:
            return await method(payload)
        except ValidationError as invalid:
            return _refusal(HTTPStatus.BAD_REQUEST, _complaint(invalid))
        except _UnknownPortError as error:
            ports = ", ".join(sorted(self._ports.statuses())) or "none"
            return _refusal(HTTPStatus.NOT_FOUND, f"there is no port {shown(str(error))}; there are {ports}")
        except (NotSupportedError, IdentityError) as error:
            return _refusal(HTTPStatus.CONFLICT, str(error))

    async def _get_status(self, _payload: object) -> Answer:
        return HTTPStatus.OK, dict(self._report())

    async def _restart_port(self, payload: object) -> Answer:
        asked = _Port.model_validate(payload)
        with self._running(asked.port):
            self._ports.restart(asked.port)
        return HTTPStatus.OK, asked.model_dump()

    async def _set_log_level(self, payload: object) -> Answer:
        asked = _Level.model_validate(payload)
        set_level(asked.level)
        return HTTPStatus.OK, asked.model_dump()

    async def _set_modem_lines(self, payload: object) -> Answer:
        asked = _ModemLines.model_validate(payload)
        if asked.dtr is None and asked.rts is None:
            return _refusal(HTTPStatus.BAD_REQUEST, "dtr or rts, or both, must be given as true or false")
        with self._running(asked.port):
            await self._ports.set_modem_lines(asked.port, asked.dtr, asked.rts)
        return HTTPStatus.OK, asked.model_dump(exclude_none=True)

    async def _send_break(self, payload: object) -> Answer:
        asked = _Break.model_validate(payload)
        with self._running(asked.port):
            await self._ports.send_break(asked.port, asked.milliseconds)
        return HTTPStatus.OK, asked.model_dump()

    async def _capture(self, payload: object) -> Answer:
        asked = _Capture.model_validate(payload)
        try:
            with self._running(asked.port):
                return HTTPStatus.OK, {"port": asked.port, **self._ports.capture(asked.port, asked.next)}
        except ValueError:
            return _refusal(
                HTTPStatus.BAD_REQUEST, f"next must be {_Capture.model_fields['next'].description}"
            )

    async def _diagnose(self, payload: object) -> Answer:
        asked = _Diagnosis.model_validate({} if payload is None else payload)
        names = list(self._ports.statuses()) if asked.port is None else [asked.port]
        if asked.port is not None and asked.port not in self._ports.statuses():
            raise _UnknownPortError(asked.port)
        whole = asked.port is not None
        found = await asyncio.gather(*(self._diagnose_port(name, whole) for name in names))
        if not whole:
            # All steps of hundreds of ports are more than a method may answer (128 KB).
            found = [_most_telling(steps) for steps in found]
        return HTTPStatus.OK, {"ports": dict(zip(names, found, strict=True))}

    async def _renew_identity(self, _payload: object) -> Answer:
        await self._identity.prepare()
        return HTTPStatus.OK, self._fingerprints()

    async def _activate_identity(self, _payload: object) -> Answer:
        await self._identity.activate()
        return HTTPStatus.OK, self._fingerprints()

    def _fingerprints(self) -> dict[str, Any]:
        return {"fingerprint": self._identity.fingerprint, "nextFingerprint": self._identity.next_fingerprint}

    @contextmanager
    def _running(self, name: str) -> Iterator[None]:
        status = self._ports.statuses().get(name)
        if status is None:
            raise _UnknownPortError(name)
        try:
            yield
        except LookupError:
            raise NotSupportedError(f"the port {name} is {status.state.value}: it does not run") from None


class _UnknownPortError(Exception):
    """Its text is the name that was asked for."""


def _most_telling(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first step that failed, or else the first warning, in short; nothing if all is well."""
    for verdict in _TELLING:
        for step in steps:
            if step["verdict"] == verdict:
                return [
                    {
                        "step": step["step"],
                        "verdict": verdict,
                        "found": escaped(step["found"], _LONGEST_FOUND),
                    }
                ]
    return []


def _refusal(status: HTTPStatus, reason: str) -> Answer:
    return status, {"error": reason}


def _complaint(invalid: ValidationError) -> str:
    error = invalid.errors(include_url=False)[0]
    if not error["loc"]:
        return f"the payload must be a JSON object, not {shown(error['input'])}"
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{escaped(key)} is not known"
    model = next(model for model in REQUESTS.values() if model and model.__name__ == invalid.title)
    expected = f"{key} must be {model.model_fields[key].description}"
    return expected if error["type"] == "missing" else f"{expected}, not {shown(error['input'])}"
