"""Direct methods: what the cloud may ask of the running module, beside its configuration.

Each answer is a status with HTTP's meaning and a JSON object; `{"error": …}` with a status of 400 and more. What was
asked is checked here, what a port can do at the moment is the port's to say.
"""

from __future__ import annotations

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
    ValidationError,
)

from serial_relay.plumbing.log import LEVELS, known_level, set_level
from serial_relay.plumbing.text import escaped, shown
from serial_relay.status import NotSupportedError, PortStatus
from serial_relay.twin.desired_syntax import whole_number

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, Any]]


class Ports(Protocol):
    """What the methods need of the running ports."""

    def statuses(self) -> Mapping[str, PortStatus]:
        """The status of each configured port."""

    def restart(self, name: str) -> None:
        """Connect a port anew.

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


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Port(_Payload):
    port: StrictStr = Field(description="the name of a port")


class _Level(_Payload):
    level: Annotated[StrictStr, AfterValidator(known_level)] = Field(
        description=f"one of {', '.join(LEVELS)}"
    )


class _ModemLines(_Port):
    dtr: StrictBool | None = Field(default=None, description="true or false")
    rts: StrictBool | None = Field(default=None, description="true or false")


class _Break(_Port):
    milliseconds: Annotated[int, BeforeValidator(whole_number), Field(strict=True, ge=1, le=5000)] = Field(
        default=250, description="a number of milliseconds, 1-5000"
    )


METHOD_NAMES = frozenset({"getStatus", "restartPort", "setLogLevel", "setModemLines", "sendBreak"})


class Methods:
    """Carries out direct methods on the running ports."""

    def __init__(
        self, ports: Ports, report: Callable[[], Mapping[str, Any]], allowed: frozenset[str] = METHOD_NAMES
    ) -> None:
        """`report` gives the whole reported section; methods that are not in `allowed` are refused."""
        self._ports = ports
        self._report = report
        self._allowed = allowed
        self._methods: Mapping[str, Callable[[object], Awaitable[Answer]]] = {
            "getStatus": self._get_status,
            "restartPort": self._restart_port,
            "setLogLevel": self._set_log_level,
            "setModemLines": self._set_modem_lines,
            "sendBreak": self._send_break,
        }

    async def call(self, name: str, payload: object) -> Answer:
        """Carry out a method and give its status and answer; never raises.

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
        log.info(
            "method %s: %d%s", escaped(name), answer[0], f", {answer[1]['error']}" if answer[0] >= 400 else ""
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
        except NotSupportedError as error:
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
            return _refusal(HTTPStatus.BAD_REQUEST, "dtr or rts must be there, true or false")
        with self._running(asked.port):
            await self._ports.set_modem_lines(asked.port, asked.dtr, asked.rts)
        return HTTPStatus.OK, asked.model_dump(exclude_none=True)

    async def _send_break(self, payload: object) -> Answer:
        asked = _Break.model_validate(payload)
        with self._running(asked.port):
            await self._ports.send_break(asked.port, asked.milliseconds)
        return HTTPStatus.OK, asked.model_dump()

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


def _refusal(status: HTTPStatus, reason: str) -> Answer:
    return status, {"error": reason}


def _complaint(invalid: ValidationError) -> str:
    error = invalid.errors(include_url=False)[0]
    if not error["loc"]:
        return f"the payload must be a JSON object, not {shown(error['input'])}"
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{escaped(key)} is not known"
    model = next(model for model in (_Port, _Level, _ModemLines, _Break) if model.__name__ == invalid.title)
    expected = f"{key} must be {model.model_fields[key].description}"
    return expected if error["type"] == "missing" else f"{expected}, not {shown(error['input'])}"
