"""The demo's story: each step does something and waits until it is seen to work."""

from __future__ import annotations

import termios
import time
from collections.abc import Callable
from dataclasses import dataclass

import serial

from tests.demo.scene import Event, Scene, Tone
from tests.demo.stage import PORT, SECOND_PORT, Stage
from tests.edgehub.broker import BrokerError

LINE = {"baudRate": 19200, "dataBits": 7, "parity": "even", "stopBits": 1}
"""What the twin asks of the second COM port."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a step went."""

    title: str
    outcome: str
    seconds: float
    worked: bool


class Script:
    """The steps in their order; `results` holds those that were done."""

    def __init__(
        self, stage: Stage, scene: Scene, announce: Callable[[Event], None] = lambda _: None
    ) -> None:
        """Call `announce` with each event."""
        self._stage = stage
        self._scene = scene
        self._announce = announce
        self.results: list[Result] = []

    @property
    def worked(self) -> bool:
        """Every step so far was seen to work."""
        return all(result.worked for result in self.results)

    def start(self) -> None:
        """From nothing to a client that gets its answers."""
        self._step("host with a simulated Modbus device", self._start_host)
        self._step("emulated edgeHub", self._start_hub)
        self._step("module with the real Azure SDK", self._start_module)
        self._step("virtual port connected", self._see_port)
        self._step("Modbus client polls through it", self._start_client)

    def show_outage(self, seconds: float) -> None:
        """Take the host away for a while."""
        self._step("OUTAGE, host killed", self._begin_outage)
        try:
            self._stage.sleep(seconds)
        finally:
            self._scene.outage_since = None
        self._step("the host is back", self._end_outage)

    def show_configuration(self) -> None:
        """Change the twin, live, and call a direct method."""
        self._step("direct method getStatus", self._call_method)
        self._step("second port in the twin", self._add_port)
        self._step("what that port is", self._try_kind)
        self._step("and out of it again", self._remove_port)

    def show_hub_outage(self) -> None:
        """Take edgeHub away for a while."""
        self._step("edgeHub is gone", self._take_hub_away)
        self._step("edgeHub is back", self._bring_hub_back)

    def stop(self) -> None:
        """Stop the module."""
        self._step("module stopped", self._stop_module)

    def _step(self, title: str, action: Callable[[], str]) -> None:
        start = time.monotonic()
        try:
            outcome = action()
        except (AssertionError, BrokerError) as error:
            self._done(title, str(error), start, worked=False)
            raise
        self._done(title, outcome, start, worked=True)

    def _done(self, title: str, outcome: str, start: float, *, worked: bool) -> None:
        self.results.append(Result(title, outcome, time.monotonic() - start, worked))
        tone: Tone = "bad" if not worked else "good" if self._scene.outage_since is None else "outage"
        self._announce(self._scene.happened(f"{title}: {outcome}", tone))

    # The steps.

    def _start_host(self) -> str:
        self._stage.start_host()
        return f"serves TCP port {self._scene.host_port}"

    def _start_hub(self) -> str:
        hub = self._stage.start_hub()
        return f"TLS on {hub.host}:8883, twin with a port"

    def _start_module(self) -> str:
        self._stage.start_module()
        hub = self._stage.hub
        self._stage.wait_for(lambda: hub.connected, "the module to log in at edgeHub")
        self._stage.wait_for(
            lambda: hub.reported.get("desiredVersion") == hub.desired_version, "the twin to be acted on"
        )
        return f"acts on desired version {hub.desired_version}"

    def _see_port(self) -> str:
        self._wait_until_reported("connected")
        return self._scene.link

    def _start_client(self) -> str:
        self._stage.start_client()
        self._wait_for_answers(10)
        assert self._scene.unanswered == 0, f"{self._scene.unanswered} polls were not answered"
        self._stage.wait_for(lambda: self._stage.port_reported().get("applicationOpen"), "applicationOpen")
        times = sorted(time for time in self._scene.latest(10)[0] if time is not None)
        return f"10 polls answered, median {times[len(times) // 2]:.1f} ms"

    def _begin_outage(self) -> str:
        self._scene.outage_since = self._scene.elapsed
        unanswered = self._scene.unanswered
        self._stage.kill_host()
        self._wait_until_reported("retrying")
        self._stage.wait_for(lambda: self._scene.unanswered > unanswered, "a poll without an answer")
        return f"reported retrying, {self._stage.port_reported()['lastError']['code']}"

    def _end_outage(self) -> str:
        answered = self._scene.answered
        self._stage.start_host()
        start = time.monotonic()
        self._stage.wait_for(lambda: self._scene.answered > answered, "the first answer")
        seconds = time.monotonic() - start
        self._wait_until_reported("connected")
        self._wait_for_answers(10)
        assert self._scene.opens == 1, f"the client had to open its port {self._scene.opens} times"
        return f"answers after {seconds:.1f} s, its port never reopened"

    def _call_method(self) -> str:
        status, answer = self._stage.hub.call_method("getStatus")
        assert status == 200, f"getStatus answered {status}: {answer}"
        port = answer["serialPorts"][PORT]
        assert port["state"] == "connected", f"getStatus says {port}"
        return f"200, {port['bytesToDevice']} bytes out, {port['bytesFromDevice']} back"

    def _add_port(self) -> str:
        connects = self._stage.port_reported()["connects"]
        tcp_port = self._stage.start_echo()
        start = time.monotonic()
        entry = self._stage.port_entry(tcp_port, protocol="rfc2217", line=LINE)
        self._stage.hub.patch_desired({"serialPorts": {SECOND_PORT: entry}})
        self._wait_until_reported("connected", SECOND_PORT)
        seconds = time.monotonic() - start
        actual = self._stage.port_reported(SECOND_PORT)["line"]
        assert actual.items() >= LINE.items(), f"the COM port has {actual}"
        with serial.Serial(str(self._stage.links / SECOND_PORT), timeout=30) as port:
            port.write(b"hello, COM port")
            answer = port.read(15)
        assert answer == b"hello, COM port", f"the echo answered {answer!r}"
        assert self._stage.port_reported()["connects"] == connects, f"{PORT} was disturbed"
        return f"RFC 2217, 19200 7E1, up after {seconds:.1f} s"

    def _try_kind(self) -> str:
        """Use what a pty cannot carry if the second port is a character device; say why it is none if not."""
        reported = self._stage.port_reported(SECOND_PORT)
        if reported["kind"] == "pty":
            return f"a pty, without modem lines: {reported['kindReason']}"
        with serial.Serial(str(self._stage.links / SECOND_PORT), 19200, 7, "E", timeout=30) as port:
            control = termios.tcgetattr(port.fileno())[2]
            assert control & termios.CSIZE == termios.CS7, "the application does not read 7 data bits back"
            assert control & termios.PARENB, "the application does not read its parity back"
            for raised in (False, True):
                port.dtr = raised
                self._stage.wait_for(lambda raised=raised: port.dsr is raised, "DSR to follow DTR")  # type: ignore[misc]
            port.write(b"drained")
            port.flush()
            answer = port.read(7)
        assert answer == b"drained", f"the echo answered {answer!r}"
        return "a character device: 7E1 is read back, DSR follows DTR, a drain waits for the host"

    def _remove_port(self) -> str:
        self._stage.hub.patch_desired({"serialPorts": {SECOND_PORT: None}})
        self._stage.wait_for(lambda: not self._stage.port_reported(SECOND_PORT), "the second port to go")
        assert not (self._stage.links / SECOND_PORT).is_symlink(), "its link is still there"
        return "link and report of it are gone"

    def _take_hub_away(self) -> str:
        unanswered = self._scene.unanswered
        self._stage.hub.go_away()
        self._wait_for_answers(20)
        assert self._scene.unanswered == unanswered, "a poll was not answered"
        return "20 polls answered all the same"

    def _bring_hub_back(self) -> str:
        hub = self._stage.hub
        hub.patch_desired({"reportIntervalSeconds": 600})
        hub.come_back()
        self._stage.wait_for(
            lambda: hub.reported.get("desiredVersion") == hub.desired_version,
            "the change made meanwhile to be acted on",
            timeout=60,
        )
        return f"acts on desired version {hub.desired_version}, set meanwhile"

    def _stop_module(self) -> str:
        seconds = self._stage.stop_module()
        left = [path.name for path in self._stage.links.rglob("*")]
        assert not left, f"{left} is left in the link directory"
        return f"after {seconds:.1f} s, and left no link"

    def _wait_until_reported(self, state: str, name: str = PORT) -> None:
        self._stage.wait_for(
            lambda: self._stage.port_reported(name).get("state") == state, f"{name} to be reported as {state}"
        )

    def _wait_for_answers(self, count: int) -> None:
        enough = self._scene.answered + count
        self._stage.wait_for(lambda: self._scene.answered >= enough, f"{count} answered polls")
