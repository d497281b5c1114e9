"""The benchmarks themselves work: each measurement is made once, with hardly any effort, and the page is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import measures as of_the_relay
from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import Effort
from tests.benchmarks.rows import Row, Section


def test_each_measurement_gives_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--smoke", "--output", str(tmp_path)])
    assert benchmarks.main() == 0
    page = (tmp_path / "README.md").read_text("utf-8")
    for measure in (
        "request and response, p99",
        "memory of the host, 4 ports",
        "a poll takes longer by",
        "ports refused",
        "request and response by TLS, p50",
    ):
        assert measure in page
    assert (tmp_path / "benchmarks.svg").stat().st_size > 1000
    assert (tmp_path / "modbus.svg").stat().st_size > 1000


def test_a_section_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_bench: Bench, _effort: Effort) -> Section:
        raise AssertionError("no peer here")

    def measures_nothing(_bench: Bench, _effort: Effort) -> Section:
        return Section([])

    def measures(_bench: Bench, _effort: Effort) -> Section:
        return Section([Row("memory", "MB", 40, at_most=50)])

    for name in ("relay_section", "chain_section", "host_section", "idle_section"):
        monkeypatch.setattr(of_the_relay, name, measures_nothing)
    for name in ("windows", "scale", "start_and_outage", "modbus", "watching", "recovery"):
        monkeypatch.setattr(benchmarks, f"{name}_section", measures_nothing)
    monkeypatch.setattr(benchmarks, "rfc2217_section", fails)
    monkeypatch.setattr(benchmarks, "tls_section", measures)
    monkeypatch.setattr("sys.argv", ["benchmarks", "--smoke", "--output", str(tmp_path)])
    assert benchmarks.main() == 1
    assert "no peer here" in capsys.readouterr().out
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "## TLS" in page
    assert "## RFC 2217" not in page
