"""One line of the result: what was measured of us and of a peer, what was to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """A measure with its target.

    `judged` is the number that the target speaks of: the ratio to the peer, or our own number where the target is
    absolute.
    """

    measure: str
    unit: str
    ours: float
    peer: str | None = None
    theirs: float | None = None
    """None with a named peer: the peer never got there."""
    ratio: float | None = None
    """Ours to theirs; the median of the ratios within each round where there were rounds."""
    at_most: float | None = None
    at_least: float | None = None
    of_ratio: bool = False
    spread: tuple[float, float] | None = None
    """Between these two lie the ratios of half of the rounds."""

    @property
    def judged(self) -> float | None:
        return self.ratio if self.of_ratio else self.ours

    @property
    def target(self) -> str:
        unit = "x" if self.of_ratio else self.unit
        if self.at_most is not None:
            return f"<= {number(self.at_most)} {unit}"
        if self.at_least is not None:
            return f">= {number(self.at_least)} {unit}"
        return ""

    @property
    def reached(self) -> bool | None:
        """None where nothing was to be reached."""
        if self.judged is None:
            return None
        if self.at_most is not None:
            return self.judged <= self.at_most
        if self.at_least is not None:
            return self.judged >= self.at_least
        return None

    def cells(self) -> Sequence[str]:
        """The line of the table: measure, ours, peer's, ratio, target, verdict."""
        peer = ""
        if self.peer is not None:
            peer = f"{number(self.theirs)} {self.unit}" if self.theirs is not None else "never"
            peer = f"{peer} ({self.peer})"
        ratio = "" if self.ratio is None else f"{number(self.ratio)} x"
        if self.spread is not None:
            ratio += f" ({number(self.spread[0])} to {number(self.spread[1])})"
        verdict = {True: "reached", False: "MISSED", None: ""}[self.reached]
        return (self.measure, f"{number(self.ours)} {self.unit}", peer, ratio, self.target, verdict)


@dataclass(frozen=True, slots=True)
class Section:
    """What one measurement gives."""

    rows: Sequence[Row]
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Microseconds of single requests by the name of the way they took, for the picture."""
    added: Mapping[str, float] = field(default_factory=dict)
    """Microseconds that each way adds to a Modbus poll, for the picture of it."""


HEADINGS = ("measure", "ours", "peer", "ratio", "target", "verdict")


def number(value: float) -> str:
    """Three significant digits, without exponents: 0.0123, 1.05, 44.1, 812, 12400."""
    if value == 0:
        return "0"
    digits = f"{value:.3g}"
    return f"{float(digits):.0f}" if "e" in digits else digits
