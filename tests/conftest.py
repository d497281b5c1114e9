"""In CI nothing passes by being skipped: a skipped test fails the run, unless it needs what CI cannot have."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

NOT_TO_BE_HAD = (
    "the published IoT Edge schemas are not at",
    "PowerShell 7 is not at hand",
    "serialcheck is not at hand",
)
"""How the reasons begin that are good in CI too: those schemas are not this project's to hand on, and neither Debian nor
the Python index has PowerShell or a .NET program."""

ENFORCED = bool(os.environ.get("CI")) and sys.platform != "win32"
"""Not on Windows' Python, where ptys and signals are lacking: what is skipped there, tests/windows prints."""

with contextlib.suppress(ImportError):  # Windows' Python under wine and the arm64 image have no hypothesis
    from hypothesis import HealthCheck, settings

    # An example that takes long on a busy machine is no fault.
    settings.register_profile(
        "untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and every program that a test starts would ignore Ctrl+C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if not reason.startswith(NOT_TO_BE_HAD):
        _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and ENFORCED and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and ENFORCED:
        terminalreporter.section("skipped, which CI does not allow", red=True)
        for line in _skipped:
            terminalreporter.line(line)
