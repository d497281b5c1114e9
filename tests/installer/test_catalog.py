"""A catalog beside the scripts, and its signature, are checked before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.installer.powershell import play
from tests.installer.steps import AFTER, install

pytestmark = pytest.mark.installer


def make_catalog(signature: str, *changes: str) -> str:
    """Make the catalog of the newer bundle, and change the bundle then."""
    return "\n".join(
        [
            "$items = @{}",
            "$files = Get-ChildItem -LiteralPath $bundle -Recurse -File",
            "foreach ($file in $files) { $items[$file.FullName.Substring($bundle.Length + 1)] = (Get-FileHash -LiteralPath $file).Hash }",
            f"$catalog = @{{ items = $items; signature = '{signature}' }} | ConvertTo-Json -Depth 3",
            "[System.IO.File]::WriteAllText((Join-Path $bundle 'serial-host.cat'), $catalog)",
            *changes,
            "",
        ]
    )


@pytest.mark.parametrize(
    ("signature", "change", "message"),
    [
        ("Valid", "", ""),
        ("NotSigned", "", ""),
        ("HashMismatch", "", "The signature of the catalog in"),
        (
            "Valid",
            "Add-Content -LiteralPath (Join-Path $bundle 'README.txt') -Value 'x'",
            "README.txt is missing or was changed",
        ),
        (
            "Valid",
            "Remove-Item -LiteralPath (Join-Path $bundle 'serial-host.cmd')",
            "serial-host.cmd is missing",
        ),
        (
            "Valid",
            "Set-Content (Join-Path $bundle 'app/sitecustomize.py') 'x'",
            "sitecustomize.py is not in it",
        ),
        ("Valid", "Set-Content (Join-Path $bundle 'my-ports.toml') 'x'", ""),
    ],
)
def test_a_catalog_is_checked_when_it_is_there(
    tmp_path: Path, signature: str, change: str, message: str
) -> None:
    result = play(tmp_path, make_catalog(signature, change) + install("$onePort") + AFTER)
    if message:
        assert (result["code"], result["served"]) == (2, "")
        assert message in result["errors"][0]
    else:
        assert (result["code"], result["served"]) == (0, "1.2.0 on 5002")
