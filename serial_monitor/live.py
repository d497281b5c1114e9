"""The live table of `status --watch`: states, rates, counters, a sparkline of traffic and the last errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serial_monitor.lines import safe
from serial_monitor.views import PortView, Rates, Snapshot, amount, sparkline

_COLOURS = {"good": "green", "waiting": "yellow", "bad": "bold red"}
_MEDIUM, _WIDE = 100, 140
"""Columns from which on the table has rates and discarded bytes, and the two ends of each connection."""
_LONGEST_NAME = 24
"""Characters; two thirds of them in a narrow terminal."""


def picture(snapshot: Snapshot, rates: Rates, width: int) -> RenderableType:
    """Return the table of one moment for a terminal of `width` columns."""
    table = Table(title=safe(snapshot.title), title_justify="left", header_style="bold", box=None)
    for column in ("Port", "State", "Line"):
        table.add_column(column, no_wrap=True)
    if width >= _WIDE:
        table.add_column("Where", no_wrap=True)
        table.add_column("Used by", no_wrap=True)
    for column in ("To device", "From device", *(("Discarded",) if width >= _MEDIUM else ())):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("Last minute", no_wrap=True)
    for port in snapshot.ports:
        table.add_row(*_cells(port, rates, width))
    errors = [
        Text.assemble((f"{safe(port.name)}: ", "bold"), (safe(port.error), _COLOURS[port.health]))
        for port in snapshot.ports
        if port.error
    ]
    if not snapshot.ports:
        errors.append(Text("There is no port.", "yellow"))
    return Group(table, *errors)


def _cells(port: PortView, rates: Rates, width: int) -> list[Text]:
    cells = [
        Text(_cut(port.name, _LONGEST_NAME if width >= _MEDIUM else _LONGEST_NAME * 2 // 3), "bold"),
        Text(f"● {port.state}", _COLOURS[port.health]),
        Text(port.line or "-"),
    ]
    if width >= _WIDE:
        cells += [Text(_cut(port.where) or "-"), Text(_cut(port.user) or "-")]
    counted = zip((port.to_device, port.from_device), rates.of(port.name), ("cyan", "green"), strict=True)
    for total, rate, colour in counted:
        cell = Text(amount(total))
        if width >= _MEDIUM:
            cell.append(f" {amount(rate)}/s".rjust(11), colour if rate else "dim")
        cells.append(cell)
    if width >= _MEDIUM:
        cells.append(Text(amount(port.discarded), "red" if port.discarded else "dim"))
    cells.append(Text(sparkline(rates.history(port.name), 20 if width >= _WIDE else 12), "cyan"))
    return cells


def _cut(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return a text in one line that leaves room for the rest; of a long one the end, which tells more."""
    shown = safe(text)
    return shown if len(shown) <= longest else f"…{shown[1 - longest :]}"


def watch(
    look: Callable[[], Snapshot], console: Console, *, every: float = 1.0, times: int | None = None
) -> None:
    """Show what `look` returns at each interval until Ctrl+C, or for a number of `times`.

    An exception of `look` ends it.
    """
    rates = Rates()
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while times is None or times > 0:
            snapshot = look()
            rates.update(snapshot.ports, time.monotonic())
            live.update(picture(snapshot, rates, console.width), refresh=True)
            if times is not None:
                times -= 1
            if times != 0:
                time.sleep(every)
