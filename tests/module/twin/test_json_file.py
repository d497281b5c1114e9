from __future__ import annotations

import os
from pathlib import Path

import pytest

from serial_relay.twin.json_file import MAX_SIZE, UnreadableError, read_object, replace_object


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for document in ({"a": {"b": "ü"}}, {}):
        replace_object(path, document, durable=True)
        assert read_object(path) == document
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".status.json.new").symlink_to(victim)
    path = tmp_path / "status.json"
    replace_object(path, {"a": 1}, durable=True)
    assert victim.read_text() == "precious"
    assert read_object(path) == {"a": 1}
    assert not path.is_symlink()


def test_people_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    replace_object(path, {"state": "Süd"}, durable=False)
    assert path.read_text(encoding="utf-8") == '{\n  "state": "Süd"\n}\n'


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(path) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b'{\n  "a": 1,\n  "b" 2\n}', "it is not valid JSON: Expecting ':' delimiter, line 3, column 7"),
        (b'{"a": 1}}', "it is not valid JSON: Extra data, line 1, column 9"),
        (b"[1]", "a JSON object is expected, not an array"),
        (b"null", "a JSON object is expected, not null"),
        (b'{\n"a": "\xff"}', "it is not valid UTF-8: byte 0xff in line 2; save the file as UTF-8 text"),
        (b"[" * 200_000, "its values are nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it contains a number with thousands of digits"),
        (b'"' + b"x" * MAX_SIZE + b'"', "it is longer than 256 KB"),
    ],
    ids=["empty", "syntax", "extra", "array", "null", "bytes", "deep", "digits", "long"],
)
def test_what_is_no_object_is_said_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "ports.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read_object(path)
    assert str(caught.value) == message


def test_keys_that_stand_twice_are_told_and_the_last_value_counts(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text('{"a": {"b": 1, "b": 2, "c": 3}, "a": {"c": 4, "c": 5}, "d": [{"e": 1}, {"e": 2}]}')
    repeated: set[str] = set()
    assert read_object(path, repeated) == {"a": {"c": 5}, "d": [{"e": 1}, {"e": 2}]}
    assert repeated == {"a", "b", "c"}


def test_a_directory_in_its_place_costs_no_descriptor(tmp_path: Path) -> None:
    """Docker makes a directory where a file that is to be mounted does not exist, and the file is looked at for ever."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    for _ in range(20):
        with pytest.raises(UnreadableError, match="Is a directory"):
            read_object(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "missing")
    with pytest.raises(UnreadableError, match="Is a directory"):
        read_object(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableError, match="Too many levels of symbolic links"):
        read_object(tmp_path / "loop")


@pytest.mark.parametrize("flags", [None, os.O_RDWR], ids=["no writer", "a writer that writes nothing"])
def test_a_fifo_holds_nobody_up(tmp_path: Path, flags: int | None) -> None:
    """A shell's `<(command)` is one."""
    os.mkfifo(tmp_path / "fifo")
    writer = None if flags is None else os.open(tmp_path / "fifo", flags)
    try:
        with pytest.raises(UnreadableError, match="it is not a file that can be read again and again"):
            read_object(tmp_path / "fifo")
    finally:
        if writer is not None:
            os.close(writer)


def test_a_failed_replacement_leaves_the_old_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_object(path, {"a": 1}, durable=True)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        replace_object(tmp_path / "missing" / "status.json", {}, durable=True)
