"""The own tests of libraries on character devices: pyserial's with a loopback plug, serialx's over a null-modem cable.

What cannot pass stands in docs/tty.md, with the reason, and is read there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.system.processes import ROOT
from tests.tty.relay_end import RelayEnd
from tests.tty.suites import suite

pytestmark = pytest.mark.tty

Outcomes = dict[str, str]
"""By the name of a test: "passed", "skipped", or what went wrong."""

LIMIT = 400
"""Seconds for one run of a suite."""


def cannot_pass(library: str) -> set[str]:
    """Return the tests of a library that cannot pass, as the page says."""
    page = (ROOT / "docs" / "tty.md").read_text(encoding="utf-8")
    rows = page.split("| test that cannot pass |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert all(why for _, _, _, why, _ in cells), "each has its reason"
    return {name for _, names, of, _, _ in cells if of == library for name in re.findall(r"`([^`]+)`", names)}


def check(library: str, run: Callable[[list[str]], Outcomes], least: int, passed: set[str]) -> None:
    """Run a suite: just those fail that cannot pass, and these are not left out.

    One that fails unexpectedly is run again alone: some look at times, which a busy machine does not keep.
    """
    if not suite(library).is_dir():
        pytest.skip(f"the tests of {library} are not here: python -m tests.tty.suites fetches them")
    outcomes = run([])
    assert len(outcomes) >= least, "these are not all"
    assert all(outcomes[name] != "skipped" for name in passed), "it leaves out what this is about"
    for _ in range(5):
        failed = {name: what for name, what in outcomes.items() if what not in ("passed", "skipped")}
        unexpected = {name: what for name, what in failed.items() if name not in cannot_pass(library)}
        assert cannot_pass(library) <= failed.keys(), "the page names a test that can pass"
        if not unexpected:
            return
        outcomes |= run(sorted(unexpected))
    raise AssertionError(f"again and again: {unexpected}")


PYSERIAL = """
import importlib, json, pathlib, sys, unittest

folder, port, *only = sys.argv[1:]
sys.path.insert(0, folder)
outcomes = {}

class Result(unittest.TestResult):
    def addSuccess(self, test):
        outcomes[test.id()] = "passed"
    def addSkip(self, test, reason):
        outcomes[test.id()] = "skipped"
    def addFailure(self, test, error):
        outcomes[test.id()] = self._exc_info_to_string(error, test)
    addError = addFailure

def run(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            run(test)
        elif not only or test.id() in only:
            test.run(Result())

for path in sorted(pathlib.Path(folder).glob("test*.py")):
    module = importlib.import_module(path.stem)
    module.PORT = port
    run(unittest.defaultTestLoader.loadTestsFromModule(module))
print(json.dumps(outcomes))
"""


def test_pyserials_own_tests_pass(plugged: RelayEnd) -> None:
    def run(only: list[str]) -> Outcomes:
        done = subprocess.run(
            [sys.executable, "-c", PYSERIAL, suite("pyserial"), str(plugged.node), *only],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stderr
        outcomes: Outcomes = json.loads(done.stdout.splitlines()[-1])
        return outcomes

    lines = {f"test.Test0_DataWires.{name}" for name in ("test1_RTS", "test2_DTR", "test3_RI")}
    check("pyserial", run, 60, lines)


def test_the_tests_of_serialx_pass_that_take_a_device(
    joined: tuple[RelayEnd, RelayEnd], tmp_path: Path
) -> None:
    one, other = joined
    report = tmp_path / "report.xml"
    files = ("test_sync_transports.py", "test_async_transports.py")

    def run(only: list[str]) -> Outcomes:
        names = f" and ({' or '.join(only)})" if only else ""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
                *("-o", "asyncio_mode=auto", "--timeout=60", "--tb=short", f"--junitxml={report}"),
                *(f"--adapter-pair={one.node},{other.node}", "-k", f"ADAPTER and not posix{names}"),
                *(f"tests/{file}" for file in files),
            ],
            cwd=suite("serialx").parent,
            # Without a path it finds no socat and no ser2net, so that it takes only the devices that it was told.
            env={**os.environ, "PATH": "/nonexistent", "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        outcomes: Outcomes = {}
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has written it
            name = case.attrib["name"].partition("[")[0]
            bad = [child.attrib["message"] for child in case if child.tag in ("failure", "error")]
            outcome = bad[0] if bad else "skipped" if case.find("skipped") is not None else "passed"
            if outcomes.get(name) in (None, "skipped") or bad:  # of several parameters a failed one counts
                outcomes[name] = outcome
        return outcomes

    lines = {"test_rts_cts", "test_dtr_dsr", "test_sync_valid_parity", "test_async_valid_parity"}
    check("serialx", run, 120, lines)
