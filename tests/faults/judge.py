"""What a fault cost, and whether it may have cost that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.faults.kinds import Kind, Spoils
from tests.faults.lines import Line
from tests.faults.stage import Accounts, Stage

UNKNOWABLE = 32_768
"""Bytes of one way of a line that may die uncounted in the kernels' and programs' buffers when a fault spoils it."""


@dataclass(slots=True)
class Cost:
    """Of one fault, or of several of a kind."""

    times: int = 0
    records: int = 0
    """That arrived while it happened, on all lines."""
    lost: int = 0
    """Bytes."""
    counted: int = 0
    """Bytes that were reported as discarded."""
    seconds: float = 0.0
    """The longest time from its end until all lines carried bytes both ways again."""
    violations: list[str] = field(default_factory=list)

    def add(self, other: Cost) -> None:
        """Add up."""
        self.times += other.times
        self.records += other.records
        self.lost += other.lost
        self.counted += other.counted
        self.seconds = max(self.seconds, other.seconds)
        self.violations += other.violations


class Judge:
    """Compares the accounts of a stage's lines from fault to fault."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._accounts = stage.settle()
        self._of_lines: dict[str, dict[str, int]] = {}
        self._records = self.records

    @property
    def records(self) -> int:
        """Records that arrived on all lines so far."""
        return sum(end.receiver.arrived.records for line in self._stage.lines for end in line.ends)

    def cost(self, kind: Kind, victim: Line, seconds: float, after: Mapping[str, Accounts]) -> Cost:
        """Return what a fault cost, after which the stage was settled with these accounts."""
        before, self._accounts = self._accounts, dict(after)
        records, self._records = self._records, self.records
        cost = Cost(1, self._records - records, seconds=seconds)
        for line in self._stage.lines:
            spoilt = kind.spoils is Spoils.EVERYTHING or (
                kind.spoils is not Spoils.NOTHING and line is victim
            )
            connection_spoilt = spoilt and kind.spoils is not Spoils.BYTES
            for way, account in after[line.name].ways.items():
                change = account - before[line.name].ways[way]
                cost.lost += change.lost
                cost.counted += change.counted
                cost.violations += self._of_loss(
                    kind, f"{line.name} {way}", change.lost, change.counted, spoilt
                )
            if not connection_spoilt and after[line.name].connects != before[line.name].connects:
                cost.violations.append(f"{kind.name}: {line.name} lost its connection")
            cost.violations += (f"{kind.name}: {line.name} {what}" for what in self._of_order(line))
        return cost

    def _of_loss(self, kind: Kind, way: str, lost: int, counted: int, spoilt: bool) -> Iterator[str]:
        if not spoilt and (lost or counted):
            yield f"{kind.name}: {way} lost {lost} bytes, of which {counted} are counted"
        if spoilt and abs(lost - counted) > (0 if kind.exact else UNKNOWABLE):
            yield f"{kind.name}: {way} lost {lost} bytes, but {counted} are counted"

    def _of_order(self, line: Line) -> Iterator[str]:
        arrived = [end.receiver.arrived for end in line.ends]
        now = {
            "duplicates": sum(one.duplicates for one in arrived),
            "reordered records": sum(one.reordered for one in arrived),
            "foreign bytes": sum(one.foreign for one in arrived),
        }
        before, self._of_lines[line.name] = self._of_lines.get(line.name, {}), now
        examples = [end.receiver.example for end in line.ends if end.receiver.example]
        for what, count in now.items():
            if more := count - before.get(what, 0):
                yield f"has {more} more {what}{f', such as {examples}' if what == 'foreign bytes' else ''}"
