"""Every test of this directory leaves no descriptor and no program behind."""

from __future__ import annotations

from tests.system.conftest import _no_descriptor_left_open

__all__ = ["_no_descriptor_left_open"]
