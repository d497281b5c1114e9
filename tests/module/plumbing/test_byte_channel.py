from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator

import pytest

from serial_relay.plumbing.byte_channel import READ_SIZE, ByteChannel
from tests.module.conditions import until
from tests.module.serial_servers import reset


class Recorder:
    def __init__(self) -> None:
        self.data = bytearray()
        self.largest = 0
        self.ended: list[OSError | None] = []
        self.paused = False

    def take(self, data: bytes) -> None:
        self.data += data
        self.largest = max(self.largest, len(data))

    def channel_ended(self, error: OSError | None) -> None:
        self.ended.append(error)

    def pause_writing(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_writing(self) -> None:
        assert self.paused
        self.paused = False


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


async def test_what_arrives_is_delivered_in_bounded_pieces(pair: Pair) -> None:
    ours, theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    sent = os.urandom(3 * READ_SIZE + 1)
    theirs.sendall(sent)
    channel.resume_reading()
    channel.resume_reading()
    await until(lambda: len(recorder.data) == len(sent))
    assert recorder.data == sent
    assert recorder.largest <= READ_SIZE
    channel.stop()


async def test_paused_reading_leaves_the_bytes_with_the_kernel(pair: Pair) -> None:
    ours, theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    channel.resume_reading()
    channel.pause_reading()
    theirs.sendall(b"later")
    await asyncio.sleep(0.05)
    assert not recorder.data
    channel.resume_reading()
    await until(lambda: recorder.data == b"later")
    channel.stop()


async def test_back_pressure_keeps_every_byte_in_order(pair: Pair) -> None:
    ours, theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    sent = bytearray()
    while not recorder.paused:
        piece = os.urandom(READ_SIZE)
        sent += piece
        channel.write(piece)
    channel.write(b"one more")  # an owner may be in the middle of something when it is told to pause
    sent += b"one more"
    assert 0 < channel.unwritten <= READ_SIZE + len(b"one more")
    received = bytearray()
    while len(received) < len(sent):
        try:
            received += theirs.recv(100_000)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert received == sent
    await until(lambda: not recorder.paused)
    assert channel.unwritten == 0
    channel.stop()


async def test_dropping_what_is_unwritten_counts_it_and_resumes(pair: Pair) -> None:
    ours, _theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    while not recorder.paused:
        channel.write(bytes(READ_SIZE))
    unwritten = channel.unwritten
    assert channel.drop_unwritten() == unwritten > 0
    assert not recorder.paused
    assert channel.drop_unwritten() == 0
    channel.stop()


async def test_end_of_file_is_said_once_after_the_last_byte(pair: Pair) -> None:
    ours, theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    channel.resume_reading()
    theirs.sendall(b"last words")
    theirs.close()
    await until(lambda: recorder.ended)
    await asyncio.sleep(0.02)
    assert bytes(recorder.data) == b"last words"
    assert recorder.ended == [None]


async def test_a_failed_write_keeps_count_of_what_was_not_sent(pair: Pair) -> None:
    ours, theirs = pair
    recorder = Recorder()
    channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
    theirs.close()
    channel.write(b"nobody reads this")
    assert channel.unwritten == len(b"nobody reads this")
    [error] = recorder.ended
    assert error is not None
    assert error.errno == errno.EPIPE


@pytest.mark.parametrize("size", [1, READ_SIZE, READ_SIZE + 1])
async def test_a_reset_that_comes_together_with_bytes_is_noticed_after_them(size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours:
        ours.setblocking(False)
        theirs.sendall(bytes(size))
        reset(theirs)
        recorder = Recorder()
        channel = ByteChannel(asyncio.get_running_loop(), ours.fileno(), recorder.take, recorder)
        channel.resume_reading()
        await until(lambda: recorder.ended)
        assert len(recorder.data) == size
        assert recorder.ended[0] is not None
        assert recorder.ended[0].errno == errno.ECONNRESET
        channel.stop()
