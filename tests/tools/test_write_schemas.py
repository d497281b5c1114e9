"""The schemas in the repository are those that the code makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.write_schemas import ROOT, texts


@pytest.mark.parametrize("path", texts(), ids=str)
def test_the_file_is_current(path: Path) -> None:
    assert (ROOT / path).is_file(), f"{path} is missing: run `make schemas` and commit schemas/"
    assert (ROOT / path).read_text(encoding="utf-8") == texts()[path], (
        f"{path} is not what the code makes: run `make schemas` and commit it"
    )
