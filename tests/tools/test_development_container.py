from __future__ import annotations

import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_made_of_files_that_exist_and_ends_ready_for_the_tests() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    configuration = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    dockerfile = (ROOT / ".devcontainer" / configuration["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert f" {configuration['remoteUser']} \\" in dockerfile
    program, *purposes = configuration["postCreateCommand"].split()
    assert os.access(ROOT / program, os.X_OK)
    assert purposes == ["test"]
    setup = (ROOT / program).read_text(encoding="utf-8")
    assert all(f"        {purpose}) packages=" in setup for purpose in purposes)
    assert re.search(
        rf"^test:.*\n\t@{program} test$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
