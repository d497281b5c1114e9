"""The benchmark of the host in Windows Python works, with hardly any effort."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import SMOKE
from tests.benchmarks.windows_host import PEER, compare
from tests.windows.wine import Wine


@pytest.mark.windows
def test_the_host_and_its_peer_are_measured(tmp_path: Path, wine: Wine, program_folder: Path) -> None:
    with Bench(tmp_path) as bench:
        rows = compare(bench, SMOKE, wine, program_folder).rows
    assert [(row.measure, row.peer) for row in rows] == [
        ("request and response, p50", PEER),
        ("request and response, p99", PEER),
    ]
    assert all(row.ours > 0 for row in rows)
