from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serial_tls.private_file import write_private


def test_a_file_is_written_with_its_folder_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "secret"
    write_private(path, b"first, and longer")
    write_private(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="the folder's access control list decides there")
def test_nobody_but_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    write_private(path, b"")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(OSError, match="taken"):
        write_private(path, b"x")
    assert list(tmp_path.iterdir()) == [path]
