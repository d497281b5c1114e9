"""Commands that need root, for somebody who is not root and has sudo."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SUDO = """\
#!/bin/sh
# sudo as Debian and Ubuntu build it: it sets PATH, and removes this and other variables although it is to preserve all.
[ "$1" = --preserve-env ] || exit 64
shift
exec env -u PYTHONPATH PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def test_the_environment_of_a_command_survives_sudo(tmp_path: Path) -> None:
    for name, text in (("sudo", SUDO), ("id", "#!/bin/sh\necho 1000\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": "elsewhere",
        "KEPT": "yes",
    }
    done = subprocess.run(
        [ROOT / "tools/as_root", "sh", "-c", "echo $PYTHONPATH $PYTHONDONTWRITEBYTECODE $KEPT; pwd"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"tools 1 yes\n{ROOT}\n"
