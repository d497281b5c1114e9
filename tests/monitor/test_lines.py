from __future__ import annotations

import re

from rich.console import Console

from serial_monitor.blocks import Block
from serial_monitor.lines import as_object, lines
from serial_monitor.live import picture, watch
from serial_monitor.modbus import frames
from serial_monitor.records import FROM_DEVICE, TO_DEVICE, Record
from serial_monitor.views import PortView, Rates, Snapshot, amount, sparkline

READ = bytes.fromhex("010300000002c40b")


def text(item: Block | Record) -> list[str]:
    return ["".join(piece for piece, _ in line).rstrip() for line in lines(item, 3)]


def test_a_block_is_shown_in_hexadecimal_and_as_text_with_what_it_means_below() -> None:
    data = b"a" * 16 + b"\r\n"
    first, second = text(Block(1.25, 1.25, "abc", FROM_DEVICE, data))
    assert re.fullmatch(r"\d\d:\d\d:01\.250000  abc <- (61 ){16} a{16}", first)
    assert second.split() == ["abc", "<-", "0d", "0a", ".."]
    [_, meaning] = text(Block(1.0, 1.0, "a", TO_DEVICE, READ, frames=frames(TO_DEVICE, READ, known=False)))
    assert meaning.strip() == "Modbus address 1, read holding registers 0 to 1, CRC good"


def test_a_silence_is_shown_where_it_is_long() -> None:
    assert len(text(Block(1.0, 1.0, "a", TO_DEVICE, b"x", gap=0.4))) == 1
    gap, _ = text(Block(1.0, 1.0, "a", TO_DEVICE, b"x", gap=12.5))
    assert "silence for 12.500 s" in gap


def test_what_a_stranger_wrote_is_one_line_without_control_characters() -> None:
    [line] = text(Record(1.0, "\x1b[2J", "error", text="first\nsecond\x1b[31m"))
    assert line.isprintable()
    assert "first\\nsecond" in line


def test_the_json_of_a_block_says_what_a_program_needs() -> None:
    shown = as_object(Block(1.0, 1.0, "a", TO_DEVICE, READ, 0.5, frames(TO_DEVICE, READ, known=False)))
    assert shown["direction"] == "toDevice"
    assert shown["data"] == READ.hex()
    assert shown["gapSeconds"] == 0.5
    assert shown["modbus"][0]["function"] == 3
    assert shown["modbus"][0]["crc"] == "good"
    assert as_object(Record(1.0, "a", "line", text="9600 8N1"))["text"] == "9600 8N1"


def view(**changed: object) -> PortView:
    values: dict[str, object] = {
        "name": "scale",
        "state": "connected",
        "health": "good",
        "where": "192.0.2.1:5002",
        "user": "/dev/ttyScale",
        "line": "9600 7E1",
        "to_device": 0,
        "from_device": 0,
        "discarded": 0,
    }
    return PortView(**{**values, **changed})  # type: ignore[arg-type]


def test_rates_are_differences_and_begin_anew_with_the_program() -> None:
    rates = Rates()
    rates.update([view()], 10.0)
    assert rates.of("scale") == (0.0, 0.0)
    rates.update([view(to_device=100, from_device=50)], 12.0)
    assert rates.of("scale") == (50.0, 25.0)
    assert rates.history("scale")[-1] == 75.0
    rates.update([view(to_device=3)], 13.0)
    assert rates.of("scale") == (0.0, 0.0)
    assert rates.of("another") == (0.0, 0.0)


def test_amounts_and_sparklines() -> None:
    assert [amount(size) for size in (0, 999, 1000, 12_345_678, 10**15)] == [
        "0 B", "999 B", "1.0 kB", "12.3 MB", "1000.0 TB",
    ]  # fmt: skip
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([9, 0, 5, 10], 3) == "▁▅█"


def shown(snapshot: Snapshot, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=True, file=None, quiet=False, height=40)
    with console.capture() as capture:
        console.print(picture(snapshot, Rates(), width))
    return re.sub(r"\x1b\[[0-9;]*m", "", capture.get())


def test_the_table_fits_terminals_and_says_what_went_wrong() -> None:
    snapshot = Snapshot(
        "serial_relay 1: degraded",
        [view(), view(name="x", state="retrying", health="bad", error="refused\n!")],
    )
    for width in (80, 120, 160):
        table = shown(snapshot, width)
        assert max(map(len, table.splitlines())) <= width
        assert re.search(r"scale +● connected +9600 7E1 ", table)
        assert "…" not in table
        assert "x: refused\\n!" in table
    assert "192.0.2.1:5002" in shown(snapshot, 160)
    assert "There is no port." in shown(Snapshot("x"), 80)


def test_a_long_name_leaves_room_for_the_rest() -> None:
    name = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
    for width in (80, 120, 160):
        table = shown(Snapshot("x", [view(name=name)]), width)
        assert "…" in table
        assert "BI-if00-port0 " in table
        assert re.search(r"● connected +9600 7E1 ", table)
        assert max(map(len, table.splitlines())) <= width


def test_watching_looks_as_often_as_asked() -> None:
    looks = []

    def look() -> Snapshot:
        looks.append(1)
        return Snapshot("title", [view()])

    console = Console(width=120, height=20)
    with console.capture() as capture:
        watch(look, console, every=0, times=3)
    assert len(looks) == 3
    assert "scale" in capture.get()
