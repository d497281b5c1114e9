"""Where messages go when the reader of the log stalls, or another program holds the file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serial_host.plumbing import log_file
from serial_host.plumbing.log_file import LogFile
from serial_monitor import log_queue
from serial_monitor.log_queue import QueuedHandler
from tests.host.running import PATIENCE, until

LINE = 100


def line(number: int) -> bytes:
    return f"{number:0{LINE - 1}}\n".encode()


def numbers(*files: Path) -> list[int]:
    return [int(text) for file in files for text in file.read_text().splitlines()]


@contextlib.contextmanager
def held(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold a file as an editor does on Windows; elsewhere renaming it fails as if it were held."""
    if sys.platform == "win32":
        with path.open("rb"):
            yield
        return
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if path in (source, target):
            raise PermissionError(errno.EACCES, "held by another program")
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host.log"


@pytest.fixture
def file(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogFile]:
    monkeypatch.setattr(log_file, "RETRY_SECONDS", 0.0)
    made = LogFile(path, file_bytes=10 * LINE, kept=3)
    yield made
    made.close()


def backups(path: Path) -> list[Path]:
    """The files of the log, oldest first."""
    return [found for place in range(9, -1, -1) if (found := Path(f"{path}.{place}")).exists()] + [path]


def test_a_full_file_is_renamed_and_the_oldest_one_is_overwritten(path: Path, file: LogFile) -> None:
    for number in range(45):
        file.write(line(number))
    assert [found.name for found in backups(path)] == ["host.log.3", "host.log.2", "host.log.1", "host.log"]
    assert numbers(*backups(path)) == list(range(10, 45))


def test_the_log_goes_on_while_its_file_is_held_and_is_renamed_later(
    path: Path, file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(35):
        file.write(line(number))
    with held(path, monkeypatch):
        for number in range(35, 135):
            file.write(line(number))
        assert numbers(*backups(path)) == list(range(135)), "a line is lost, or a backup destroyed"
    file.write(line(135))
    assert numbers(path) == [135]
    assert numbers(*backups(path)) == list(range(10, 136))


@pytest.mark.parametrize("place", [1, 2, 3])
def test_the_log_goes_on_while_a_backup_is_held(
    path: Path, file: LogFile, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    for number in range(35):
        file.write(line(number))
    with held(Path(f"{path}.{place}"), monkeypatch):
        for number in range(35, 135):
            file.write(line(number))
        kept = numbers(*backups(path))
        assert kept == list(range(kept[0], 135)), "a line between the others is lost"
        assert kept[0] <= 10, "more than the oldest file is destroyed"
    for number in range(135, 155):
        file.write(line(number))
    kept = numbers(*backups(path))
    assert kept == list(range(kept[0], 155))
    assert path.stat().st_size <= 10 * LINE


def test_an_existing_file_is_continued_and_a_device_never_renamed(path: Path) -> None:
    path.write_bytes(line(0) * 9)
    file = LogFile(path, file_bytes=10 * LINE, kept=3)
    file.write(line(1))
    file.write(line(2))
    file.close()
    assert numbers(path) == [2]
    null = LogFile(Path(os.devnull), file_bytes=0)
    null.write(line(1))
    null.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody do that with a file that is open")
def test_a_file_that_somebody_moves_or_removes_is_made_again(path: Path, file: LogFile) -> None:
    file.write(line(1))
    path.rename(path.with_suffix(".old"))
    file.write(line(2))
    path.unlink()
    file.write(line(3))
    file.write(line(4))
    assert numbers(path.with_suffix(".old"), path) == [1, 3, 4]


class Stalled:
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.lines: list[bytes] = []
        self.failures = 0

    def write(self, line: bytes) -> None:
        self.go.wait()
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "no space left on device")
        self.lines.append(line.replace(os.linesep.encode(), b"\n"))


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelname": "INFO"})


def test_a_log_that_cannot_be_written_never_blocks_and_says_how_much_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", PATIENCE)
    monkeypatch.setattr(log_queue, "QUEUE_BYTES", 100 * len(f"123456789{os.linesep}"))
    sink = Stalled()
    handler = QueuedHandler(sink)
    for number in range(200):
        handler.emit(record(f"{number:09}"))
    sink.go.set()
    handler.flush()
    until(lambda: len(sink.lines) == 101)
    assert [int(text) for text in sink.lines[:100]] == list(range(100))
    assert sink.lines[100].startswith(b"100 messages are missing here")
    handler.emit(record("again"))
    handler.close()
    assert sink.lines[101] == b"again\n"


def test_a_full_disk_delays_lines_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "RETRY_SECONDS", 0.01)
    sink = Stalled()
    sink.failures = 3
    sink.go.set()
    handler = QueuedHandler(sink)
    for number in range(5):
        handler.emit(record(str(number)))
    until(lambda: len(sink.lines) == 5)
    assert sink.lines == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]
    handler.close()


def test_the_end_does_not_wait_long_for_a_log_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", 0.05)
    sink = Stalled()
    handler = QueuedHandler(sink)
    handler.emit(record("x"))
    handler.close()
    handler.emit(record("y"))
    sink.go.set()


def test_a_message_that_cannot_be_formatted_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", PATIENCE)
    sink = Stalled()
    sink.go.set()
    handler = QueuedHandler(sink)
    handler.emit(logging.makeLogRecord({"msg": "%d bytes", "args": ("x",), "levelname": "INFO"}))
    handler.close()
    assert sink.lines[0].startswith(b"a message cannot be formatted: '%d bytes': ")


PROGRAM = """
import logging, sys
from serial_host.plumbing import log
log.set_up(None)
for number in range(50_000):
    logging.info("%d %s", number, "x" * 100)
print("went on", flush=True)
sys.stdin.read(1)
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="wine gives Windows programs no usable standard error pipe"
)
def test_a_program_whose_standard_error_is_a_full_pipe_goes_on_and_ends(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "host")))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"went on\n"
        process.stdin.close()
        assert process.wait(30) == 0
        written = process.stderr.read().decode()
    texts = [int(found) for found in re.findall(r"INFO    (\d+) x{100}\n", written)]
    assert texts == list(range(len(texts)))
