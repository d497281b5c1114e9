"""The result of a run as a table on the terminal, as Markdown and as a picture."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.rows import HEADINGS, Row

_INCHES_A_LINE = 0.16

Distributions = Mapping[str, Sequence[float]]
"""Microseconds of single requests, by the name of the way they took."""


def machine() -> str:
    """One line on where the numbers come from."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    today = dt.datetime.now(tz=dt.UTC).date()
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{today}, Linux {kernel}, {os.cpu_count()} x {model}, Python {platform.python_version()}"


def table(title: str, rows: Sequence[Row]) -> Table:
    """A section for the terminal."""
    result = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for heading in HEADINGS:
        result.add_column(heading, justify="right" if heading in {"ours", "ratio", "target"} else "left")
    colours = {True: "green", False: "bold red", None: ""}
    for row in rows:
        *cells, verdict = row.cells()
        result.add_row(*cells, f"[{colours[row.reached]}]{verdict}[/]" if verdict else "")
    return result


def print_section(console: Console, title: str, rows: Sequence[Row]) -> None:
    console.print()
    console.print(table(title, rows))


def markdown(sections: Mapping[str, Sequence[Row]], *, quick: bool) -> str:
    """The whole result as a Markdown document."""
    lines = ["# Benchmarks", "", f"{machine()}{', quick run' if quick else ''}.", ""]
    lines += [
        "All peers run on the same machine at the same time and are measured in turns; ratios are medians over the",
        "rounds, and half of the rounds lie between the two numbers in brackets. Two ways of our own that differ by",
        "little are compared on one core, since where the kernel places the processes of each would differ more.",
        "`make bench` writes this page anew.",
        "",
        "![The result as a picture](benchmarks.svg)",
        "",
        "What the way to the device adds to a poll of ten registers of a Modbus RTU device:",
        "",
        "![One poll at 9600 and at 115200 baud](modbus.svg)",
    ]
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", f"| {' | '.join(HEADINGS)} |", "|---|--:|---|--:|--:|---|"]
        lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines) + "\n"


def picture(path: Path, distributions: Distributions, sections: Mapping[str, Sequence[Row]]) -> None:
    """Draw the latencies of single requests and each ratio beside its target, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    lines = sum(1 + len(rows) for rows in sections.values())
    figure, (left, right) = plt.subplots(
        ncols=2, figsize=(13, max(6.0, _INCHES_A_LINE * lines)), width_ratios=(1.15, 1), layout="constrained"
    )
    for name, times in distributions.items():
        ordered = sorted(times)
        shares = [(index + 1) / len(ordered) for index in range(len(ordered))]
        step = max(1, len(ordered) // 400)
        left.plot(
            ordered[::step],
            shares[::step],
            label=f"{name}: p50 {statistics.median(ordered):.0f} µs",
            linestyle="-" if name.startswith("ours") else "--",
        )
    left.set(
        xscale="log",
        xlabel="8-byte request to the end of its answer, µs",
        ylabel="share of requests answered by then",
        ylim=(0, 1),
        title="Request and response",
    )
    left.set_xticks([25, 50, 100, 200, 400, 800], ["25", "50", "100", "200", "400", "800"])
    left.minorticks_off()
    left.grid(visible=True, alpha=0.3)
    left.legend(loc="lower right", fontsize=8)

    labels: list[str] = []
    for title, rows in sections.items():
        judged = [row for row in rows if row.reached is not None]
        labels += [f"$\\bf{{{title.replace(' ', '~')}}}$"] if judged else []
        for row in judged:
            limit = row.at_most if row.at_most is not None else row.at_least
            assert row.judged is not None
            assert limit is not None
            share = row.judged / limit if row.at_most is not None else limit / row.judged
            right.barh(len(labels), share, color="#2a9d8f" if row.reached else "#c1121f")
            if row.spread is not None:
                ends = sorted(end / limit if row.at_most is not None else limit / end for end in row.spread)
                right.plot(ends, [len(labels)] * 2, color="black", linewidth=1, marker="|", markersize=5)
            labels.append(f"{row.measure}  {row.target}")
    right.set_yticks(range(len(labels)), labels, fontsize=8)
    right.set_ylim(len(labels) - 0.4, -0.6)
    right.axvline(1, color="black", linewidth=1)
    right.set(
        xscale="log",
        xlim=(0.01, 2),
        xlabel="share of the target's limit used (left of the line: reached)",
        title="Targets; line: half of the rounds",
    )
    right.grid(visible=True, axis="x", alpha=0.3)

    figure.suptitle(machine(), fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
