"""`python -m tests.benchmarks`: our programs against the ones they replace, all measured in one run, in turns.

Prints a table and writes it as Markdown and as a picture. Run it on a quiet machine: what else runs shows in the
99th percentiles first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks import measures
from tests.benchmarks.contenders import Bench
from tests.benchmarks.modbus_poll import modbus_picture, modbus_section
from tests.benchmarks.recovery import recovery_section
from tests.benchmarks.report import markdown, picture, print_section
from tests.benchmarks.rfc2217_measures import rfc2217_section
from tests.benchmarks.rows import Row
from tests.benchmarks.scale import scale_section, start_and_outage_section
from tests.benchmarks.tls_measures import tls_section
from tests.benchmarks.watching import watching_section
from tests.benchmarks.windows_host import windows_section
from tests.system.processes import ROOT

_LONGEST_REASON = 2000
"""Characters of the reason why a section failed, which may have whole logs in it; the end says most."""


def main() -> int:
    """Run all benchmarks; return 0 whatever the numbers say, since they are the machine's too, 1 if a section failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the effort, to see that everything runs"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="hardly anything, to see that each measurement works"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs/benchmarks",
        metavar="DIR",
        help="where the result is written",
    )
    arguments = parser.parse_args()
    # Python keeps what it compiles, as installations do, or each start would compile anew, which takes 60 ms and leaves 1 MB more in use.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    effort = measures.SMOKE if arguments.smoke else measures.QUICK if arguments.quick else measures.FULL
    console = Console(width=max(130, Console().width))
    sections: dict[str, Sequence[Row]] = {}
    times: dict[str, Sequence[float]] = {}
    added: dict[str, float] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        for number, (title, measure) in enumerate(
            (
                ("Module before a TCP server", measures.relay_section),
                ("Module and host before a serial device", measures.chain_section),
                ("Host before a serial device", measures.host_section),
                ("Host in Windows Python under wine", windows_section),
                ("Many ports in one module and one host", scale_section),
                ("Start, and a host that is away", start_and_outage_section),
                ("A Modbus poll", modbus_section),
                ("Watched", watching_section),
                ("Idle", measures.idle_section),
                ("Recovery", recovery_section),
                ("RFC 2217", rfc2217_section),
                ("TLS", tls_section),
            )
        ):
            part = Path(directory) / str(number)
            part.mkdir()
            try:
                with Bench(part) as bench:
                    result = measure(bench, effort)
            except (
                AssertionError,
                OSError,
                subprocess.SubprocessError,
            ) as error:  # the other sections are worth having
                console.print(f"\n[bold red]{title} failed:[/]")
                console.print(str(error)[-_LONGEST_REASON:], markup=False)
                failed.append(title)
                continue
            if not result.rows:
                continue
            sections[title] = result.rows
            times |= result.times
            added |= result.added
            print_section(console, title, result.rows)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "README.md").write_text(
        markdown(sections, quick=arguments.quick or arguments.smoke), encoding="utf-8"
    )
    picture(arguments.output / "benchmarks.svg", times, sections)
    if added:
        modbus_picture(arguments.output / "modbus.svg", added)
    missed = sum(row.reached is False for rows in sections.values() for row in rows)
    console.print(
        f"\n{f'{missed} missed' if missed else 'All targets reached'}; written to {arguments.output}"
    )
    if failed:
        console.print(f"Left out, because they failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
