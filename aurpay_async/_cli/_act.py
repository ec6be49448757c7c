"""How every command is run, and how each of them can end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from ..errors import AurpayError
from ._failures import FAILED, exit_code, show_error, show_failure
from ._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._arguments import Format

    #: What needs a loop.
    Job = Coroutine[None, None, int]

_T = TypeVar("_T")


def act(output: Format, work: Callable[[Screen], int | Job]) -> int:
    """Do some work, say what went wrong if it did, and give the exit code.

    Whatever waits for somebody to type is done before there is a loop: within one,
    the first Ctrl-C would not end it.
    """
    # What the loggers have to say is on the screen already.
    logger = logging.getLogger("aurpay_async")
    logger.handlers = logger.handlers or [logging.NullHandler()]
    screen = Screen(output)
    try:
        job = work(screen)
        return job if isinstance(job, int) else run_job(job)
    except AurpayError as error:
        show_error(screen, error)
        return exit_code(error)
    except BrokenPipeError:
        raise  # nobody reads on: there is nobody to tell
    except OSError as error:
        # Sockets say it at length, and files with their name.
        problem = error.strerror or str(error)
        message = f"{type(error).__name__}: {problem}"
        show_failure(screen, "os", message, "Mend the cause and try again.")
        return FAILED


def run_job(job: Coroutine[None, None, _T]) -> _T:
    """Run what needs a loop to its end, in a loop of its own."""
    import asyncio

    return asyncio.run(job)
