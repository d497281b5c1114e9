"""Runs pytest in the bundle's isolated Python: `python -I -B run_pytest.py FOLDER-OF-PYTEST PROJECT ARGUMENTS...`.

The bundle's own folders stay first on the path, so that what is tested is what the bundle carries. Tests that need a
pty are skipped; that their files can be imported at all, modules that only POSIX has are placeholders.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

POSIX_ONLY = ("fcntl", "termios", "tty")
ERROR_INTERNAL_ERROR = 1359
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


def create_processes_patiently() -> None:
    """Try again where wine 8 fails, once in some fifty times, to create a process (ERROR_INTERNAL_ERROR)."""
    import _winapi

    create: Callable[..., Any] = getattr(_winapi, "CreateProcess")  # noqa: B009 -- not there where mypy runs

    def create_again(*arguments: Any) -> Any:
        for attempts_left in reversed(range(4)):
            try:
                return create(*arguments)
            except OSError as error:
                if getattr(error, "winerror", None) != ERROR_INTERNAL_ERROR or not attempts_left:
                    raise
        raise AssertionError

    setattr(_winapi, "CreateProcess", create_again)  # noqa: B010 -- as above


if __name__ == "__main__":
    folder, project, *arguments = sys.argv[1:]
    sys.path += [folder, project]
    sys.modules.update({name: Absent(name) for name in POSIX_ONLY})
    create_processes_patiently()
    import pytest

    sys.exit(pytest.main(arguments, plugins=[SkipWhatNeedsPosix()]))
