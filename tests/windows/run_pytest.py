"""Runs pytest in the bundle's isolated Python: `python -I -B run_pytest.py FOLDER-OF-PYTEST PROJECT ARGUMENTS...`.

The bundle's own folders stay first on the path, so that what is tested is what the bundle carries. Tests that need a
pty are skipped; that their files can be imported at all, modules that only POSIX has are placeholders.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

POSIX_ONLY = ("fcntl", "termios", "tty")
NEED_A_PTY = frozenset(["device", "shim"])
"""Fixtures."""


class Absent(ModuleType):
    """A module that Windows lacks: whatever is called of it skips the test."""

    def __getattr__(self, name: str) -> Any:
        import pytest

        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_: pytest.skip(f"{self.__name__}.{name} is not on Windows")


class SkipWhatNeedsPosix:
    """A pytest plugin."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        import pytest

        for item in items:
            if NEED_A_PTY.intersection(item.fixturenames):
                item.add_marker(
                    pytest.mark.skip(reason="no pty on Windows; COM ports are in tests/windows/test_chain")
                )


if __name__ == "__main__":
    folder, project, *arguments = sys.argv[1:]
    sys.path += [folder, project]
    sys.modules.update({name: Absent(name) for name in POSIX_ONLY})
    import pytest

    sys.exit(pytest.main(arguments, plugins=[SkipWhatNeedsPosix()]))
