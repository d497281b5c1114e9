"""The arm64 image, run by emulation: the module's own tests of ptys and relays, with the code that is in the image."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundle import wheels
from release import builder
from release.platforms import platforms
from tests.container.podman import Container, podman, run_once
from tests.system.processes import ROOT, wait_for

pytestmark = pytest.mark.arm64

ARM64 = platforms(ROOT)["arm64v8"]

SIDE_LOADED = (
    *(
        "iniconfig",
        "packaging",
        "pluggy",
        "pygments",
        "pyserial",
        "pytest",
        "pytest-asyncio",
        "pytest-timeout",
    ),
)
"""For the tests only; the image has none of them. All are pure Python."""

TESTS = (
    "tests/module/plumbing/test_byte_channel.py",
    "tests/module/plumbing/test_inotify.py",
    "tests/module/virtual_port",
    "tests/module/port/test_gate.py",
    "tests/module/port/test_held_bytes.py",
    "tests/module/port/test_port_links.py",
    "tests/module/port/test_relay.py",
    "tests/module/port/test_slow_sides.py",
)


WITHOUT_PSUTIL = "tests/module/virtual_port/test_device_server.py"
"""It looks at processes by psutil, which is not pure Python."""

NOT_EMULATED = (
    # QEMU has no TCSETS2, with which pyserial sets a speed that has no name.
    "tests/module/virtual_port/test_termios_follower.py::test_any_baud_rate",
    # A container without capabilities makes no mount namespace.
    "tests/module/virtual_port/test_pty_port.py::test_opens_and_closes_of_another_process_in_another_mount_namespace_are_noticed",
)


@pytest.fixture(scope="module")
def image() -> str:
    """The image, built on a base that needs no registry."""
    return builder.build(
        ARM64,
        base=builder.debian_base(ARM64.architecture),
        revision=builder.revision(),
        epoch=builder.epoch(),
        tag="localhost/serial-relay-release:arm64v8",
    )


@pytest.fixture(scope="module")
def pytest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pytest and what the tests need beside it, in the versions of tests/requirements.txt."""
    wanted = [pin for pin in wheels.pins(ROOT / "tests/requirements.txt") if pin.name in SIDE_LOADED]
    assert len(wanted) == len(SIDE_LOADED)
    requirements = tmp_path_factory.mktemp("pins") / "requirements.txt"
    requirements.write_text(
        "".join(
            f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{one}' for one in pin.hashes)}\n"
            for pin in wanted
        )
    )
    folder = tmp_path_factory.mktemp("pytest")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run([*pip, "--require-hashes", "--target", folder, "--requirement", requirements], check=True)
    return folder


def test_it_is_an_arm64_image_whose_python_is_one(image: str) -> None:
    assert podman("image", "inspect", "--format", "{{.Architecture}}", image).stdout.strip() == "arm64"
    asked = run_once(image, ["--entrypoint", "python3"], "-c", "import platform; print(platform.machine())")
    assert asked.stdout.strip() == "aarch64", asked.stderr


def test_it_says_its_version(image: str) -> None:
    told = run_once(image, [], "--version")
    assert told.stdout == f"serial_relay {(ROOT / 'VERSION').read_text('ascii').strip()}\n", told.stderr


def test_the_modules_tests_pass_in_it(image: str, pytest_folder: Path) -> None:
    options = [
        *(
            "--volume",
            "/dev:/dev",
            "--volume",
            f"{ROOT}:/project:ro",
            "--volume",
            f"{pytest_folder}:/pytest:ro",
        ),
        *("--tmpfs", "/tmp", "--workdir", "/project"),
        *("--env", "PYTHONPATH=/opt/serial-relay:/pytest", "--env", "CI=", "--entrypoint", "python3"),
    ]
    # A test that hangs is named and ended by a thread, because emulated Python may not be interrupted by a signal.
    limits = ("-o", "timeout=300", "-o", "timeout_method=thread")
    command = (
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-o",
        "pythonpath=.",
        *limits,
        "-q",
        "-rs",
        "--color=no",
    )
    with Container(
        image,
        options,
        [
            *command,
            f"--ignore={WITHOUT_PSUTIL}",
            *(f"--deselect={name}" for name in NOT_EMULATED),
            *TESTS,
        ],
    ) as container:
        wait_for(lambda: container.inspect("{{.State.Running}}") == "false", "the tests to end", 800)
        log = container.log()
        print("\n".join(log.splitlines()[-30:]))
        assert container.exit_code == 0, log[-6000:]
    passed = re.search(r"(\d+) passed", log)
    assert passed
    assert int(passed[1]) > 80
