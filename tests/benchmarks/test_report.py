"""The result as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.report import markdown, picture
from tests.benchmarks.rows import Row

SECTIONS = {
    "Module": [Row("p50", "µs", 50, "socat", 48, 1.04, at_most=1.0, of_ratio=True)],
    "Idle": [Row("p50", "µs", 40, "ser2net", 48, 0.83, at_most=1.0, of_ratio=True), Row("memory", "MB", 40)],
}


def test_markdown_has_a_table_for_each_section() -> None:
    lines = markdown(SECTIONS, quick=True).splitlines()
    assert "| p50 | 50 µs | 48 µs (socat) | 1.04 x | <= 1 x | MISSED |" in lines
    assert "| p50 | 40 µs | 48 µs (ser2net) | 0.83 x | <= 1 x | reached |" in lines
    assert [line for line in lines if line.startswith("## ")] == ["## Module", "## Idle"]
    assert any(line.endswith("quick run.") for line in lines)


def test_picture_shows_ways_and_targets_of_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.svg"
    picture(path, {"ours": [20, 30, 40], "socat": [25, 35, 45]}, SECTIONS)
    text = path.read_text()
    assert text.count(">p50  &lt;= 1 x<") == 2
    assert ">ours: p50 30 µs<" in text
    assert ">socat: p50 35 µs<" in text
