"""Blocking calls in the event loop's own threads, where having no thread is an error like any other of the system."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def in_thread(
    function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Return what `function` returns, or raise what it raises.

    Raises:
        OSError: there is no further thread to be had (the limit of the user or of the container).
    """
    try:
        call = asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return await call
