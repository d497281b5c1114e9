"""docs/monitoring.md says what the command says."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from serial_monitor.command import add_arguments
from serial_monitor.findings import Findings
from serial_monitor.records import Record, from_json

PAGE = (Path(__file__).parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")


def test_each_option_of_the_command_is_described() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {
        option for action in parser._actions for option in action.option_strings if option.startswith("--")
    }
    assert {option for option in options - {"--help"} if not re.search(rf"`[^`\n]*{option}\b", PAGE)} == set()


def test_each_finding_is_described_in_its_words() -> None:
    findings = Findings()
    findings.event(Record(1.0, "a", "line", text="19200 8N1"))
    assert f"`{findings._garbage()}`" in PAGE
    assert findings._silence().partition(", and compare")[0] in PAGE


def test_the_lines_of_json_are_such_as_the_command_writes() -> None:
    [example] = re.findall(r"```json\n(\{\"time\".*?)```", PAGE, re.DOTALL)
    block, event = map(json.loads, example.splitlines())
    assert from_json(block).data.hex() == block["data"]
    assert from_json(event).is_event
