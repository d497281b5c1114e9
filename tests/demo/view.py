"""The demo's picture on a terminal: the chain from application to device, what the module reports, what happened.

Pure: a `Scene` in, a renderable out; it fits every terminal from 80 x 24 up.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.demo.scene import Scene, Tone

CHAIN_LINES = 5
STATE_STYLES = {
    "connected": "bold green",
    "idle": "green",
    "connecting": "yellow",
    "negotiating": "yellow",
    "retrying": "bold red",
    "invalid": "bold red",
}
TONES: dict[Tone, tuple[str, str]] = {
    "good": ("✓", "green"),
    "bad": ("✗", "bold red"),
    "outage": ("▼", "bold red"),
}
NO_ANSWER = "\N{MULTIPLICATION SIGN}"
BROKEN = "\N{BOX DRAWINGS LIGHT DIAGONAL CROSS}"
BARS = " ▁▂▃▄▅▆▇█"
"""From nothing to eight eighths of a character cell."""


class View:
    """Draws the scene as it is at the moment of drawing."""

    def __init__(self, scene: Scene, port: str) -> None:
        """`port` is the name of the virtual port that the picture follows."""
        self._scene = scene
        self._port = port

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        events = max(7, (height - 1 - CHAIN_LINES) * 9 // 20)
        layout = Layout()
        layout.split_column(
            Layout(self._title(), size=1),
            Layout(self._chain(width), size=CHAIN_LINES),
            Layout(name="middle"),
            Layout(self._events(events - 2), size=events),
        )
        layout["middle"].split_row(
            Layout(self._reported(), ratio=6),
            Layout(self._polls(), ratio=5),
        )
        yield layout

    def _title(self) -> RenderableType:
        elapsed = int(self._scene.elapsed)
        line = Table.grid(expand=True)
        line.add_column()
        line.add_column(justify="right")
        title = Text(" EFLOW Serial Relay ", style="bold reverse")
        if self._scene.outage_since is not None:
            seconds = self._scene.elapsed - self._scene.outage_since
            title.append("  ").append(f" OUTAGE: the host is gone for {seconds:.0f} s ", "bold white on red")
        else:
            title.append(f"  {self._scene.next_step}", "not bold not reverse dim")
        line.add_row(title, Text(f"{elapsed // 60}:{elapsed % 60:02d}  Ctrl-C ends ", style="dim"))
        return line

    def _chain(self, width: int) -> RenderableType:
        scene = self._scene
        port = scene.reported.get("serialPorts", {}).get(self._port, {})
        state = port.get("state", "starting")
        answering = bool(scene.polls) and scene.polls[-1] is not None
        connected = state == "connected" and scene.host_up
        size = (width - 14) // 4
        boxes: list[RenderableType] = [
            _box(
                "application",
                size,
                [
                    Text("pymodbus", "bold"),
                    Text(f"{scene.answered} answered", "green" if answering else "dim"),
                    Text(f"{scene.unanswered} failed", "red" if scene.unanswered else "dim"),
                ],
            ),
            _wire(str(port.get("kind", "pty")), 3, whole=True),
            _box(
                "module",
                size,
                [
                    Text("serial_relay", "bold"),
                    Text(f"● {state}", STATE_STYLES.get(state, "dim")),
                    Text(self._port, "cyan"),
                ],
            ),
            _wire("TCP", 8, whole=connected),
            _box(
                "host",
                size,
                [
                    Text("serial_host", "bold"),
                    Text("● serving", "bold green") if scene.host_up else Text("● gone", "bold red"),
                    Text(f"port {scene.host_port}", "cyan"),
                ],
            ),
            _wire("COM", 3, whole=scene.host_up),
            _box(
                "device",
                size,
                [Text("Modbus RTU", "bold"), Text("simulated", "dim"), Text("9600 8N1", "dim")],
            ),
        ]
        grid = Table.grid()
        grid.add_row(*boxes)
        return grid

    def _reported(self) -> RenderableType:
        reported = self._scene.reported
        port: dict[str, Any] = reported.get("serialPorts", {}).get(self._port, {})
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(style="dim", no_wrap=True, min_width=15)
        table.add_column(overflow="ellipsis", no_wrap=True)
        state = str(port.get("state", ""))
        error = port.get("lastError")
        status = str(reported.get("status", "nothing yet"))
        total = f"{reported.get('portsConnected', 0)} of {reported.get('portsTotal', 0)} ports"
        rows: list[tuple[str, Text]] = [
            ("status", Text(f"{status}, {total}", "bold green" if status == "ok" else "bold red")),
            ("state", Text(state, STATE_STYLES.get(state, ""))),
            ("since", Text(str(port.get("since", "")))),
            ("connects", Text(str(port.get("connects", "")))),
            ("applicationOpen", Text(str(port.get("applicationOpen", "")).lower())),
            (
                "lastError",
                Text(
                    f"{error['code']}: {error['message']}" if error else "none",
                    "red" if error and state != "connected" else "dim",
                ),
            ),
            ("bytesToDevice", Text(f"{port.get('bytesToDevice', 0)} when last reported")),
            ("remoteAddress", Text(str(port.get("remoteAddress", "none")))),
            ("desiredVersion", Text(str(reported.get("desiredVersion", "")))),
            ("configSource", Text(str(reported.get("configSource", "")))),
        ]
        for name, value in rows:
            table.add_row(name, value)
        connection = f"{self._scene.hub_messages} messages" if self._scene.hub_connected else "module offline"
        return Panel(
            table,
            title="[bold]reported properties[/]",
            subtitle=f"[dim]at the emulated edgeHub, {connection}[/]",
            title_align="left",
            subtitle_align="left",
            border_style="blue",
        )

    def _polls(self) -> RenderableType:
        times, _ = self._scene.latest(self._scene.polls.maxlen or 0)
        answered = [time for time in times if time is not None]
        reading = self._scene.reading
        lines: list[Text] = [
            Text.assemble(
                (f"{reading.temperature:.1f} °C", "bold"),
                (f"  up {reading.uptime} s, {reading.requests} requests", "dim"),
            )
            if reading
            else Text("no answer yet", "dim"),
            Text("time of each answer", "dim"),
        ]
        median = f"{statistics.median(answered):.1f} ms" if answered else "none"
        legend = Text.assemble(("median ", "dim"), median, (f"   {NO_ANSWER} no answer", "red"))
        for line in (*lines, legend):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Panel(
            _Chart(lines, times, legend),
            title="[bold]what the client reads[/]",
            title_align="left",
            border_style="blue",
        )

    def _events(self, count: int) -> RenderableType:
        _, events = self._scene.latest(count)
        lines = []
        for event in events:
            mark, style = TONES[event.tone]
            lines.append(
                Text.assemble(
                    (f"{event.at:6.1f} s ", "dim"),
                    (f"{mark} ", style),
                    event.text,
                    overflow="ellipsis",
                    no_wrap=True,
                )
            )
        return Panel(Group(*lines), title="[bold]what happened[/]", title_align="left", border_style="blue")


def _box(title: str, width: int, lines: Sequence[Text]) -> Panel:
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Panel(Group(*lines), title=title, width=width, title_align="left", border_style="blue")


def _wire(label: str, width: int, *, whole: bool) -> Group:
    """A connection between two boxes, its line at the height of the second line inside them."""
    if whole:
        line = Text("━" * width, "green")
    else:
        side = "━" * ((width - 1) // 3)
        line = Text.assemble((side, "red"), (BROKEN.center(width - 2 * len(side)), "bold red"), (side, "red"))
    return Group(Text(""), Text(label.center(width), "dim"), line)


class _Chart:
    """Bars as high as each answer took long, newest at the right, between some lines above and one below."""

    def __init__(self, above: Sequence[Text], times: Sequence[float | None], below: Text) -> None:
        self._above = above
        self._times = times
        self._below = below

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._above
        height = max(1, (options.height or len(self._above) + 2) - len(self._above) - 1)
        times = self._times[-options.max_width :]
        longest = max((time for time in times if time is not None), default=1.0)
        eighths = [None if time is None else max(1, round(time / longest * height * 8)) for time in times]
        for row in reversed(range(height)):
            line = Text(no_wrap=True)
            for bar in eighths:
                if bar is None:
                    line.append(NO_ANSWER, "bold red")
                else:
                    line.append(BARS[max(0, min(8, bar - row * 8))], "green")
            yield line
        yield self._below
