"""Writes the schemas and models into their files: `make schemas`. A test compares the files with what the code says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "module"), str(ROOT / "host")]


def texts() -> Mapping[Path, str]:
    """Return what shall stand in each file, by its path from the root of the project."""
    from serial_host.configuration.file_schema import text as host_text  # noqa: PLC0415 - see sys.path
    from serial_relay.schema.printing import DOCUMENTS, FILES, text_of  # noqa: PLC0415

    files = {Path("schemas") / FILES[name]: text_of(name) for name in DOCUMENTS}
    host = host_text()
    # Twice, because the sample file's `#:schema` line names a file beside it, in the bundle too.
    for folder in ("schemas", "host/windows"):
        files[Path(folder) / "serial-host.schema.json"] = host
    return files


def main() -> None:
    """Write the files that differ and say which."""
    for path, text in texts().items():
        file = ROOT / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"{path}: written")


if __name__ == "__main__":
    main()
