"""The steps of a diagnosis, and how they are shown: the same at both ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_INDENT = " " * 10


class Verdict(StrEnum):
    """The result of a step."""

    OK = "ok"
    WARNING = "warning"
    """The port works, but something will hinder somebody."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It does not apply here, or a step before it failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was checked."""

    name: str
    verdict: Verdict
    found: str
    """What was found, a sentence for people."""
    next: str = ""
    """What to do about it; empty if there is nothing to do."""
    milliseconds: float | None = None
    """The time that the step took; None if the result was known already."""

    def as_json(self) -> dict[str, Any]:
        """Return the step for programs; keys without a value are left out."""
        step: dict[str, Any] = {"step": self.name, "verdict": self.verdict.value, "found": self.found}
        if self.next:
            step["next"] = self.next
        if self.milliseconds is not None:
            step["milliseconds"] = round(self.milliseconds, 1)
        return step


class Steps:
    """The steps of one diagnosis, in the order in which they were taken."""

    def __init__(self) -> None:
        self.taken: list[Step] = []
        self._started: float | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the time of the steps that are added in the block.

        A step takes the time since the step before it, or since the beginning of the block.
        """
        self._started = time.monotonic()
        try:
            yield
        finally:
            self._started = None

    def ok(self, name: str, found: str, milliseconds: float | None = None) -> None:
        """Add a step that found what should be; `milliseconds` is its time if it was measured already."""
        self._add(name, Verdict.OK, found, "", milliseconds)

    def warning(self, name: str, found: str, next_: str) -> None:
        """Add a step that found something that works, and will hinder somebody."""
        self._add(name, Verdict.WARNING, found, next_)

    def failed(self, name: str, found: str, next_: str) -> None:
        """Add a step that found the fault."""
        self._add(name, Verdict.FAILED, found, next_)

    def skipped(self, name: str, found: str, next_: str = "") -> None:
        """Add a step that was not taken; `found` says why."""
        self._add(name, Verdict.SKIPPED, found, next_)

    def _add(
        self, name: str, verdict: Verdict, found: str, next_: str, milliseconds: float | None = None
    ) -> None:
        if milliseconds is None and self._started is not None and verdict is not Verdict.SKIPPED:
            now = time.monotonic()
            milliseconds, self._started = (now - self._started) * 1000, now
        self.taken.append(Step(name, verdict, found, next_, milliseconds))


def worst(steps: Iterable[Mapping[str, Any]]) -> Verdict:
    """Return the verdict on all steps (as `Step.as_json` returns them): the worst of theirs."""
    verdicts = {step["verdict"] for step in steps}
    return next(
        (verdict for verdict in (Verdict.FAILED, Verdict.WARNING) if verdict.value in verdicts), Verdict.OK
    )


def rendered(title: str, steps: Iterable[Mapping[str, Any]]) -> str:
    """Lay the steps (as `Step.as_json` returns them) out for people."""
    lines = [title]
    for step in steps:
        elapsed = "" if step.get("milliseconds") is None else f" ({step['milliseconds']:g} ms)"
        lines.append(f"  {step['verdict']:<8}{step['step']}{elapsed}: {step['found']}")
        if step.get("next"):
            lines.append(f"{_INDENT}-> {step['next']}")
    return "\n".join(lines)
