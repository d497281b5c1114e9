"""The benchmarks themselves work: each measurement is made once, with hardly any effort, and the page is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks


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
