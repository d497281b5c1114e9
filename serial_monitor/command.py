"""The command `monitor`, which both ends have: attaches to the running program and shows what passes its ports."""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serial_monitor.blocks import Assembler, Block
from serial_monitor.lines import STYLES, as_object, lines
from serial_monitor.pcapng import Writer
from serial_monitor.records import Record, decode
from serial_monitor.views import Snapshot

_WAITING = 1000
"""Records between the channel and the screen; more wait in the running program, which cuts a slow watcher."""
_TICK_SECONDS = 0.05
_STATUS_SECONDS = 1.0


class EndedError(Exception):
    """The running program has ended the connection; the text is for people."""


@dataclass(frozen=True, slots=True)
class Source:
    """The running program, as the command of its end reaches it. All calls may block and raise that end's errors."""

    program: str
    """The name and the version of the program."""
    watch: Callable[[], Iterator[bytes]]
    """Yields the lines of the channel's stream until the program ends."""
    look: Callable[[], Snapshot]
    """Returns the present status."""


Show = Callable[[Block | Record], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `monitor` to a parser."""
    parser.add_argument("port", metavar="PORT", nargs="?", help="only this port")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each block and event")
    parser.add_argument(
        "--save",
        metavar="FILE",
        type=Path,
        help="also write a pcapng file, which Wireshark opens; it is replaced",
    )
    parser.add_argument("--seconds", metavar="N", type=float, help="end after this number of seconds")
    parser.add_argument(
        "--web",
        action="store_true",
        help="show it in a local web page, which ends with this command, instead",
    )
    parser.add_argument("--no-browser", action="store_true", help="with --web: print the address only")


def monitor(options: argparse.Namespace, source: Source) -> int:
    """Show traffic until Ctrl+C, the end of the program or of `--seconds`; returns the exit status, 0.

    Raises:
        EndedError: the program has ended.
        OSError: the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        show: list[Show] = []
        look: Callable[[], None] | None = None
        if options.save is not None:
            show.append(_save(stack.enter_context(options.save.open("wb")), source.program))
        if options.web:
            from serial_monitor.web import Page  # noqa: PLC0415 - few need a web server

            page = stack.enter_context(Page(source.program))
            show.append(page.show)
            look = _looking(source, page.status)
            page.announce(open_browser=not options.no_browser)
        elif options.json:
            show.append(_print_json)
        else:
            show.append(_screen())
        with contextlib.suppress(KeyboardInterrupt):
            _run(source, show, look, options.seconds)
    return 0


def _run(
    source: Source, show: Iterable[Show], look: Callable[[], None] | None, seconds: float | None
) -> None:
    """Hand on what comes until it ends; the last blocks are handed on whatever ends it."""
    arrived: queue.Queue[Record | Exception] = queue.Queue(_WAITING)
    threading.Thread(target=_read, args=(source, arrived), name="reader", daemon=True).start()
    assembler = Assembler()
    end = None if seconds is None else time.monotonic() + seconds
    due = 0.0

    def hand_on(items: Iterable[Block | Record]) -> None:
        for item in items:
            for one in show:
                one(item)

    try:
        while end is None or time.monotonic() < end:
            try:
                record = arrived.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                pass
            else:
                if isinstance(record, Exception):
                    raise record
                hand_on(assembler.feed(record))
            hand_on(assembler.flush(time.time()))
            if look is not None and time.monotonic() >= due:
                look()
                due = time.monotonic() + _STATUS_SECONDS
    finally:
        hand_on(assembler.flush())


def _read(source: Source, arrived: queue.Queue[Record | Exception]) -> None:
    """Read the channel in a thread of its own, because Ctrl+C does not interrupt a blocking read of a pipe on Windows."""
    try:
        for line in source.watch():
            with contextlib.suppress(ValueError):  # lines that only a newer version knows are left out
                arrived.put(decode(line))
        arrived.put(EndedError(f"{source.program} has ended the connection"))
    except Exception as error:  # noqa: BLE001 - it is raised again where it can be told
        arrived.put(error)


def _looking(source: Source, status: Callable[[Snapshot], None]) -> Callable[[], None]:
    def look() -> None:
        status(source.look())

    return look


def _save(file: BinaryIO, program: str) -> Show:
    writer = Writer(file, program)

    def save(item: Block | Record) -> None:
        writer.write(
            item if isinstance(item, Record) else Record(item.at, item.port, item.direction, item.data)
        )

    return save


def _print_json(item: Block | Record) -> None:
    sys.stdout.write(json.dumps(as_object(item)) + "\n")
    sys.stdout.flush()


def _screen() -> Show:
    from rich.console import Console  # noqa: PLC0415 - `--json` and `--web` do without
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, emoji=False, markup=False)
    width = 0

    def show(item: Block | Record) -> None:
        nonlocal width
        width = max(width, len(item.port))
        for line in lines(item, width):
            console.print(
                Text.assemble(*((text, STYLES.get(style, "")) for text, style in line)), soft_wrap=True
            )

    return show
