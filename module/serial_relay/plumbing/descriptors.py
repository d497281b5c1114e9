"""The limit of open descriptors, which the usual 1,024 of a Linux service make too low for hundreds of ports."""

from __future__ import annotations

import resource

_WANTED = 4096
"""A port has up to five descriptors: two of its pty pair, another pair for the next application, and its connection."""


def allow_many_descriptors() -> None:
    """Raise the soft limit of this process (getrlimit(2), RLIMIT_NOFILE) as far as it is needed and allowed.

    Where it stays too low, a port that gets no descriptor reports that and tries again.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
