"""Prints the table of the installer's sweep and the times with the real server at the end of a run."""

from __future__ import annotations

import pytest

_ROW = "{:16}{:>6}{:>6}  {}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])
    ]
    rows = [value for report in reports for name, value in report.user_properties if name == "sweep"]
    times = [value for report in reports for name, value in report.user_properties if name == "seconds"]
    if times:
        terminalreporter.section("the installer with the real server")
        for what, seconds in times:
            terminalreporter.line(f"{what:20} {seconds:6.1f} s")
    if rows:
        terminalreporter.section("the installer, with a fault at each call of a Windows command")
        terminalreporter.line(_ROW.format("scenario", "calls", "cases", "what became of it"))
        for row in sorted(rows):
            terminalreporter.line(_ROW.format(*row))
