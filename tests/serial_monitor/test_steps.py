"""The steps of a diagnosis, and how they are shown."""

from __future__ import annotations

import pytest

from serial_monitor.steps import Steps, Verdict, rendered, worst


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([], Verdict.OK),
        ([Verdict.SKIPPED, Verdict.OK], Verdict.OK),
        ([Verdict.WARNING, Verdict.OK], Verdict.WARNING),
        ([Verdict.WARNING, Verdict.FAILED, Verdict.OK], Verdict.FAILED),
    ],
)
def test_the_worst_step_is_the_verdict(verdicts: list[Verdict], verdict: Verdict) -> None:
    assert worst([{"verdict": verdict.value} for verdict in verdicts]) is verdict


def test_steps_are_laid_out_with_what_to_do() -> None:
    steps = Steps()
    steps.ok("route", "from 10.0.0.1", milliseconds=0.25)
    steps.failed("TCP connection", "refused", "start the server")
    text = rendered("scale: failed", [step.as_json() for step in steps.taken])
    assert text.splitlines() == [
        "scale: failed",
        "  ok      route (0.2 ms): from 10.0.0.1",
        "  failed  TCP connection: refused",
        "          -> start the server",
    ]


def test_only_what_was_looked_at_has_a_time() -> None:
    steps = Steps()
    with steps.timed():
        steps.ok("one", "found")
        steps.skipped("two", "not looked at")
    steps.warning("three", "found", "do something")
    one, two, three = (step.as_json() for step in steps.taken)
    assert one["milliseconds"] >= 0
    assert "milliseconds" not in two
    assert "milliseconds" not in three
    assert "next" not in one
