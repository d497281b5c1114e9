"""The limit of open descriptors, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[2])))
importlib.import_module(sys.argv[1]).allow_many_descriptors()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("module", ["serial_relay.plumbing.descriptors", "serial_host.plumbing.descriptors"])
@pytest.mark.parametrize(("hard", "soft"), [(256, 256), (1000, 1000), (8192, 4096)])
def test_the_limit_is_raised_as_far_as_it_is_allowed(module: str, hard: int, soft: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, str(hard)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == [str(soft), str(hard)]
