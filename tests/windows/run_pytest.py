"""Runs pytest in the bundle's isolated Python: `python -I -B run_pytest.py FOLDER-OF-PYTEST PROJECT ARGUMENTS...`.

The bundle's own folders stay first, so that what is tested is what the bundle carries.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    folder, project, *arguments = sys.argv[1:]
    sys.path += [folder, project]
    import pytest

    sys.exit(pytest.main(arguments))
