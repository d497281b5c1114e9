"""`python -m tests.pictures`: the pictures of docs/monitoring.md, from a real chain with a real meter, scale and browser.

A Modbus meter is polled, a scale sends weights, and one port's server is away. The tables and the traffic are what the
commands show at that moment; nothing in them is made up.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from serial_monitor.blocks import Assembler
from serial_monitor.lines import STYLES, lines
from serial_monitor.live import picture
from serial_monitor.records import Record, decode
from serial_monitor.views import Rates, Snapshot
from serial_relay.command_line.watching import snapshot
from tests.browser.chromium import Chromium
from tests.browser.scene import Scene
from tests.system.processes import ROOT, wait_for

SECONDS = 25
"""So long the chain runs before the status is drawn, for the sparklines."""
TRAFFIC_LINES = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs", metavar="DIR")
    output: Path = parser.parse_args(arguments).output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as directory, Scene(Path(directory)) as scene:
        wait_for(lambda: scene.polls > 2, "the meter to be polled")
        rates, now = watch_status(scene, SECONDS)
        save(
            output / "status.svg",
            144,
            "serial-relay status --watch",
            lambda console: console.print(picture(now, rates, 144)),
        )
        save(
            output / "monitor.svg",
            110,
            "serial-relay monitor",
            lambda console: print_traffic(console, traffic(scene)),
        )
        save_pages(scene, Path(directory), output)
    return 0


def watch_status(scene: Scene, seconds: float) -> tuple[Rates, Snapshot]:
    """Look at the module's status twice a second, as `status --watch` does once."""
    rates = Rates()
    end = time.monotonic() + seconds
    while True:
        now = snapshot(json.loads(scene.relay.command("status", "--json").stdout))
        rates.update(now.ports, time.monotonic())
        if time.monotonic() > end:
            return rates, now
        time.sleep(0.3)


def traffic(scene: Scene) -> list[Record]:
    """Return some seconds of what passes the module's ports, events of the beginning included."""
    program = scene.command("serial_relay", "monitor", "--json", log="traffic.log")
    wait_for(lambda: program.log.count("fromDevice") > 8, "traffic")
    program.stop()
    records = []
    for line in program.log.splitlines():
        try:
            records.append(decode(line.encode()))
        except ValueError:
            continue
    return records


def print_traffic(console: Console, records: Sequence[Record]) -> None:
    """Print traffic as the command does."""
    assembler = Assembler()
    items = [item for record in records for item in assembler.feed(record)]
    items += assembler.flush()
    width = max(len(item.port) for item in items)
    shown = [line for item in items for line in lines(item, width)]
    for line in shown[:TRAFFIC_LINES]:
        console.print(Text.assemble(*((text, STYLES.get(style, "")) for text, style in line)), soft_wrap=True)


def save(file: Path, width: int, title: str, draw: object) -> None:
    """Save what `draw` prints on a console as an SVG picture."""
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True, highlight=False)
    assert callable(draw)
    draw(console)
    drawn = console.export_svg(title=title, unique_id=file.stem)
    # The page shall load nothing from elsewhere, so the reader's own fixed-width font takes the place of a linked one.
    file.write_text(re.sub(r"\s*@font-face \{.*?\}\n", "\n", drawn, flags=re.DOTALL), encoding="utf-8")


def save_pages(scene: Scene, directory: Path, output: Path) -> None:
    """Save the page of `monitor --web` in light and dark."""
    _, address = scene.page("serial_relay")
    with Chromium(directory / "profile", 1180, 720) as browser:
        for scheme in ("light", "dark"):
            browser.colour_scheme(scheme)
            browser.open(address)
            browser.wait("document.querySelectorAll('#log .frame').length > 8")
            time.sleep(15 if scheme == "light" else 8)
            browser.picture(output / f"monitor-{scheme}.png")


if __name__ == "__main__":
    sys.exit(main())
