"""The commands of the pages: those for the two programs are understood, those of the shell are well-formed, and the chain
on one machine runs as it stands there.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from serial_host.command_line.parser import make_parser
from serial_relay.command_line import parser as relay_commands
from tests.system import peers
from tests.system.processes import ROOT, Program, free_port, wait_for

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDERS = {"PORT": "5002", "DEVICE": "COM3", "MS": "250", "KIND": "echo"}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Return the blocks of code of a page that are in one of the languages ("" is none)."""
    for language, text in re.findall(
        r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if language in languages:
            yield text


def commands_of(program: str) -> Iterator[tuple[str, list[str]]]:
    """Return the page and arguments of each command of `program`, in blocks and within sentences."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = [line for block in blocks(page, "", "bash", "powershell") for line in block.splitlines()]
        found += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in found:
            match = re.match(rf"\s*(?:sudo |\.\\)?{re.escape(program)}((?: [^ ]+)+)", line)
            if match is None or "…" in line:
                continue
            arguments = [word.strip("[]") for word in shlex.split(match[1], comments=True)]
            yield page.name, [PLACEHOLDERS.get(word, word) for word in arguments]


def understood(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        return end.code == 0  # --help, --version
    return True


def test_commands_of_the_host_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    commands = list(commands_of("serial-host.cmd"))
    assert len(commands) > 10
    parser = make_parser()
    wrong = [(page, arguments) for page, arguments in commands if not understood(parser, arguments)]
    assert not wrong, capsys.readouterr().err


def test_commands_of_the_module_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--desired")
    parser.add_argument("--reported")
    relay_commands.add_commands(parser)
    commands = list(commands_of("serial-relay"))
    assert len(commands) > 5
    wrong = [(page, arguments) for page, arguments in commands if not understood(parser, arguments)]
    assert not wrong, capsys.readouterr().err


def test_targets_of_make_exist() -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 5
    assert not {(page, target) for page, target in named if target not in targets}


def test_parameters_of_the_installer_exist() -> None:
    named = {
        (script, parameter)
        for page in PAGES
        for script, rest in re.findall(
            r"((?:Uni|I)nstall-SerialHost\.ps1)((?: -?\w[\w.-]*)*)", page.read_text("utf-8")
        )
        for parameter in re.findall(r" -(\w+)", rest)
    }
    assert named
    for script, parameter in named:
        source = (ROOT / "host/windows" / script).read_text(encoding="utf-8")
        common = parameter == "WhatIf" and "SupportsShouldProcess" in source
        assert common or re.search(rf"\${parameter}\b", source, re.IGNORECASE), (script, parameter)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_for_the_shell_are_well_formed(page: Path) -> None:
    for block in blocks(page, "bash"):
        checked = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False, timeout=30
        )
        assert checked.returncode == 0, f"{checked.stderr}\n{block}"


def test_the_chain_on_one_machine_runs_as_it_stands(tmp_path: Path) -> None:
    """Start here, "All of it on one Linux machine": both blocks, with a free TCP port and links in another directory."""
    text = (ROOT / "docs/start-here.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## All of it on one Linux machine")
    host, relay = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    port = free_port()
    python = ROOT / ".venv/bin/python"
    if not python.exists():
        pytest.skip("the commands are for the environment that make sets up")

    def as_written(block: str, name: str, **environment: str) -> Program:
        script = block.replace("5002", str(port)).replace("sudo ", "")
        script = script.replace("desired.json", str(tmp_path / "d.json"))
        # In the place of the shell, so that the end of the test ends it.
        script = re.sub(r"^PYTHONPATH=", "exec env PYTHONPATH=", script, flags=re.MULTILINE)
        return Program(
            ["bash", "-c", f"cd {shlex.quote(str(ROOT))}\n{script}"],
            tmp_path / name,
            {**os.environ, **environment},
        )

    with ExitStack() as running:
        serving = running.enter_context(as_written(host, "host.log", XDG_RUNTIME_DIR=str(tmp_path)))
        wait_for(lambda: peers.listens(port), f"the host to listen:\n{serving.log}")
        (tmp_path / "dev").mkdir()
        relaying = running.enter_context(
            as_written(
                relay,
                "relay.log",
                LINK_DIR=str(tmp_path / "dev"),
                METRICS_PORT="0",
                SERIAL_GID=str(os.getgid()),
                XDG_RUNTIME_DIR=str(tmp_path),
            )
        )
        relaying.wait_for_log("connected to 127.0.0.1")
        if shutil.which("mbpoll"):
            answer = subprocess.run(
                [
                    *[
                        "mbpoll",
                        "-m",
                        "rtu",
                        "-a",
                        "1",
                        "-b",
                        "9600",
                        "-P",
                        "none",
                        "-r",
                        "1",
                        "-c",
                        "3",
                        "-1",
                        "-o",
                        "10",
                    ],
                    tmp_path / "dev/ttyVirtS0",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert "[3]:" in answer.stdout, answer.stdout + answer.stderr
