"""How much fits into the reported properties, and how many ports follow from that."""

from __future__ import annotations

import json

MAX_SECTION_BYTES = 32_000
"""Limit in bytes of JSON; edgeHub refuses more than 32 KB."""

MAX_ANSWER_BYTES = 128_000
"""Limit in bytes of a direct method's answer, as the SDK writes it; IoT Hub refuses more than 128 KB."""

MAX_NAME_BYTES = 64
"""Limit in bytes of a port's name in UTF-8."""

_MODULE_BYTES = 6_000
"""Room for what is reported beside the ports; the most of it are ten faults of the configuration, 256 characters
each."""

_SHORTEST_ENTRY = {"n" * MAX_NAME_BYTES: {"state": "negotiating"}}
"""The shortest entry to which a port can be reduced: its state."""

MAX_PORTS = (MAX_SECTION_BYTES - _MODULE_BYTES) // len(json.dumps(_SHORTEST_ENTRY, separators=(",", ":")))
"""The number of ports that, with the longest names, can report at least their state in the 32 KB that all of them
share."""
