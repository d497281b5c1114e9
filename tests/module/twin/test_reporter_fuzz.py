"""Generated lives of a reporter: whatever happens to ports and to the hub, the newest state gets there in the end.

In both forms, that of IoT Plug and Play too, and whichever form the hub holds from before.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from serial_relay.status import (
    ActualLine,
    ConfigFault,
    Discarded,
    ErrorCode,
    ModemState,
    PortError,
    PortStatus,
    State,
)
from serial_relay.twin.plug_and_play import WRITABLE, outgoing, with_acknowledgements
from serial_relay.twin.reported import ModuleFacts, fit, render
from serial_relay.twin.reporter import Reporter
from tests.edgehub.twin import ModuleTwin

HOUR = 3600.0

moments = st.floats(0, 4e9).map(lambda moment: round(moment, 3))
counts = st.integers(0, 2**63)
texts = st.text(st.characters(exclude_categories=()), max_size=20) | st.just("x" * 500)
faults = st.builds(ConfigFault, texts, texts)
names = st.sampled_from(["a", "ttyVirtS0", "Waage-Süd", 'q"' * 32]) | st.text("abcü", min_size=1, max_size=3)
statuses = st.builds(
    PortStatus,
    st.sampled_from(State),
    moments,
    st.sampled_from(["", "/dev/a", "/dev/ttyVirtS0"]),
    remote_address=st.none() | st.just("10.0.0.1:5002"),
    application_open=st.booleans(),
    connects=counts,
    last_error=st.none() | st.builds(PortError, st.sampled_from(ErrorCode), texts, moments),
    config_error=st.none() | faults,
    bytes_to_device=counts,
    bytes_from_device=counts,
    discarded=st.builds(Discarded, counts, counts, counts, counts, counts),
    line=st.none()
    | st.builds(
        ActualLine,
        st.none() | st.just(9600),
        st.none() | st.just(8),
        st.none() | st.just("even"),
        st.none() | st.just(1.5),
    ),
    modem=st.none() | st.builds(ModemState, st.booleans(), st.booleans()),
)


values = (
    st.just("10.0.0.1")
    | st.just(900)
    | st.dictionaries(
        st.sampled_from(["a", "b", "verify"]), st.just("x") | st.just({"tcpPort": 5002}), max_size=2
    )
)
acknowledgements = st.dictionaries(
    st.sampled_from(WRITABLE),
    st.fixed_dictionaries(
        {"ac": st.sampled_from([200, 400]), "av": st.integers(0, 2**31)},
        optional={"value": values, "ad": st.text("aü", max_size=5)},
    ),
)


class Life(RuleBasedStateMachine):
    """One reporter, its ports, and an edgeHub that takes only what keeps its rules."""

    plug_and_play = False

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.facts = ModuleFacts("1.0.0", 0)
        self.reporter = Reporter(self.facts, plug_and_play=self.plug_and_play)
        self.ports: dict[str, PortStatus] = {}
        self.before: dict[str, PortStatus] = {}
        self.hub = ModuleTwin()
        self.under_way: dict[str, Any] | None = None

    @initialize(
        ports=st.dictionaries(names, statuses, max_size=3),
        there=st.booleans(),
        other_form=st.booleans(),
        of_before=st.none() | st.tuples(st.dictionaries(names, statuses, max_size=3), acknowledgements),
    )
    def the_module_starts(
        self,
        ports: dict[str, PortStatus],
        there: bool,
        other_form: bool,
        of_before: tuple[dict[str, PortStatus], dict[str, Any]] | None,
    ) -> None:
        self.ports = ports
        if of_before is not None:
            self.facts = replace(self.facts, acknowledgements=of_before[1])
            held = self.section(of_before[0], self.plug_and_play is not other_form)
            self.hub.patch_reported(json.dumps(held).encode())
            self.facts = replace(self.facts, acknowledgements={})
        if there or of_before is not None:
            self.reporter.resend_all(self.now, reported=self.hub.whole()["reported"])

    def section(self, ports: dict[str, PortStatus], plug_and_play: bool) -> dict[str, Any]:
        section = render(self.facts, ports)
        if not plug_and_play:
            return fit(section)[0]
        return outgoing(fit(with_acknowledgements(section, self.facts.acknowledgements))[0])

    @rule(name=names, status=statuses)
    def a_port_changes(self, name: str, status: PortStatus) -> None:
        self.before = copy.deepcopy(self.ports)
        self.ports[name] = status
        self.reporter.mark_changed(self.now)

    @rule()
    def all_is_as_it_was_before(self) -> None:
        self.ports = copy.deepcopy(self.before)
        self.reporter.mark_changed(self.now)

    @rule(name=names, count=counts)
    def bytes_pass_by(self, name: str, count: int) -> None:
        if name in self.ports:
            self.ports[name].bytes_from_device = count

    @rule(name=names)
    def a_port_goes(self, name: str) -> None:
        self.ports.pop(name, None)
        self.reporter.mark_changed(self.now)

    @rule(
        version=st.none() | st.integers(0, 2**40),
        found=st.lists(faults, max_size=12).map(tuple),
        interval=st.sampled_from([600.0, 3600.0]),
        acknowledged=acknowledgements,
    )
    def a_configuration_arrives(
        self,
        version: int | None,
        found: tuple[ConfigFault, ...],
        interval: float,
        acknowledged: dict[str, Any],
    ) -> None:
        self.facts = ModuleFacts("1.0.0", 0, "hub", version, found)
        if self.plug_and_play:
            self.facts = replace(self.facts, acknowledgements=acknowledged)
        self.reporter.configured(self.facts, interval, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0, 300.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(outcome=st.sampled_from(["stored", "stored", "stored, not told", "lost", "under way"]))
    def the_time_that_is_due_comes(self, outcome: str) -> None:
        if (due := self.reporter.next_due(self.now)) is not None:
            assert due >= self.now
            self.now = due
        self.a_patch_is_taken()
        if outcome != "under way":
            self.it_arrives_or_not(outcome)

    @rule()
    def a_patch_is_taken(self) -> None:
        patch = self.reporter.patch(self.ports, self.now)
        assert patch is None or self.under_way is None
        if patch is not None:
            assert patch
            self.under_way = copy.deepcopy(patch)

    @rule(outcome=st.sampled_from(["stored", "stored, not told", "lost"]))
    def it_arrives_or_not(self, outcome: str) -> None:
        if self.under_way is not None:
            if outcome != "lost":
                self.hub.patch_reported(json.dumps(self.under_way).encode())
            self.under_way = None
            if outcome == "stored":
                self.reporter.accepted()
            else:
                self.reporter.failed(self.now)

    @rule(shown=st.booleans(), lost=st.booleans())
    def the_other_side_is_back(self, shown: bool, lost: bool) -> None:
        if lost:
            self.hub = ModuleTwin()
        self.under_way = None
        self.reporter.resend_all(self.now, self.hub.whole()["reported"] if shown else None)

    @invariant()
    def the_hub_holds_no_more_than_it_takes(self) -> None:
        assert len(json.dumps(self.hub.reported, ensure_ascii=False).encode()) <= 40_000

    def teardown(self) -> None:
        """Wait until nothing more is due: the hub then holds the newest state, and the number of messages is bounded."""
        self.it_arrives_or_not("stored")
        if self.reporter.next_due(self.now) is None:  # the other side never was there
            self.reporter.resend_all(self.now)
        end = self.now + 1.5 * HOUR
        messages = 0
        while (due := self.reporter.next_due(self.now)) is not None and due <= end:
            self.now = due
            if (patch := self.reporter.patch(self.ports, self.now)) is not None:
                self.hub.patch_reported(json.dumps(patch).encode())
                self.reporter.accepted()
                messages += 1
        assert messages <= 3
        assert self.hub.reported == self.section(self.ports, self.plug_and_play)


class LifeWithPlugAndPlay(Life):
    """The same in the form of IoT Plug and Play."""

    plug_and_play = True


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None, derandomize=True)
LifeWithPlugAndPlay.TestCase.settings = Life.TestCase.settings
TestLife = Life.TestCase
TestLifeWithPlugAndPlay = LifeWithPlugAndPlay.TestCase
