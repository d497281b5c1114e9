"""What the way to the device adds to one poll of a Modbus RTU device, as a share of what the line itself takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.comparison import in_turns, p50, pooled
from tests.benchmarks.contenders import Bench
from tests.benchmarks.measures import SER2NET, Effort
from tests.benchmarks.rows import Row, Section

REQUEST_BYTES, ANSWER_BYTES = 8, 25
"""Read ten holding registers: address, function, start and count, CRC; address, function, size, 20 bytes, CRC."""

BITS_A_BYTE = 11
"""Of a Modbus RTU line: start, eight data bits, parity or a second stop bit, stop (Modbus over Serial Line V1.02, 2.5.1)."""

SILENCES = 2
"""The silence of 3.5 characters before each of the two frames, as the same section demands."""

BAUD_RATES = (9600, 115200)

SAMPLE = "socat as in the sample + ser2net as it comes"
"""Stands for the sample's socat and hub4com, which runs on Windows alone."""


def line_microseconds(baud_rate: int) -> float:
    """Return how long the bytes and silences of one poll take on the line. Above 19200 baud a silence is 1,750 us."""
    silence = 1750.0 if baud_rate > 19200 else 3.5 * BITS_A_BYTE / baud_rate * 1e6
    return (REQUEST_BYTES + ANSWER_BYTES) * BITS_A_BYTE / baud_rate * 1e6 + SILENCES * silence


def modbus_section(bench: Bench, effort: Effort) -> Section:
    """Ours, the same tuned peers as elsewhere, and untuned ones, each less what the device itself takes."""
    devices = [bench.load("device").announced for _ in range(4)]
    relay = bench.relay("modbus", {"ours": {"tcpPort": bench.host("modbus-host", devices[1])}})
    tuned = bench.socat("modbus-tuned", bench.ser2net("modbus-ser2net", devices[2]), ",nodelay")[1]
    sample = bench.socat("modbus-sample", bench.ser2net("modbus-as-it-comes", devices[3], tuned=False))[1]
    loads = {
        "the device alone": bench.application(devices[0]),
        "ours": bench.application(relay.link("ours")),
        SER2NET: bench.application(tuned),
        SAMPLE: bench.application(sample),
    }
    results = in_turns(loads, max(3, effort.rounds // 3), "requests", max(20, effort.requests // 5))
    times = {name: p50(pooled(rounds)) for name, rounds in results.items()}
    alone = times.pop("the device alone")
    added = {name: max(0.0, time - alone) for name, time in times.items()}
    rows = []
    for peer in (SER2NET, SAMPLE):
        rows.append(
            Row("a poll takes longer by", "µs", added["ours"], peer, added[peer], _ratio(added, peer))
        )
        for baud_rate in BAUD_RATES:
            ours, theirs = (share(added[name], baud_rate) for name in ("ours", peer))
            rows.append(Row(f"of a poll at {baud_rate} baud", "%", ours, peer, theirs))
    return Section(rows, added=added)


def _ratio(added: Mapping[str, float], peer: str) -> float | None:
    return added["ours"] / added[peer] if added[peer] else None


def share(added: float, baud_rate: int) -> float:
    """Return the per cent of a poll that `added` microseconds are, beside the bytes on the line."""
    return added / (line_microseconds(baud_rate) + added) * 100


def modbus_picture(path: Path, added: Mapping[str, float]) -> None:
    """Draw one poll at each baud rate as a bar for each way: the line's part, and what the way adds."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "modbus", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, plots = plt.subplots(ncols=len(BAUD_RATES), figsize=(13, 2.6), sharey=True, layout="constrained")
    for plot, baud_rate in zip(plots, BAUD_RATES, strict=True):
        line = line_microseconds(baud_rate) / 1000
        for index, (name, microseconds) in enumerate(added.items()):
            plot.barh(index, line, color="#ced4da", label="bytes on the line" if index == 0 else None)
            colour = "#2a9d8f" if name == "ours" else "#e76f51"
            plot.barh(index, microseconds / 1000, left=line, color=colour)
            text = f" + {microseconds:.0f} µs, {share(microseconds, baud_rate):.1f} % of the poll"
            plot.text(line + microseconds / 1000, index, text, va="center", fontsize=8)
        plot.set(title=f"{baud_rate} baud", xlabel="one poll of ten registers, ms")
        plot.set_xlim(0, 1.7 * (line + max(added.values()) / 1000))
        plot.set_yticks(range(len(added)), list(added), fontsize=8)
    plots[0].invert_yaxis()  # of both: they share it
    plots[0].legend(loc="upper right", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
