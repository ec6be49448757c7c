"""Run a command, and turn each of its failures into a message and an exit code."""

from __future__ import annotations

import logging
from inspect import iscoroutine
from typing import TYPE_CHECKING

from ..errors import AurpayError
from ._failures import FAILED, USAGE, exit_code, show_error, show_failure
from ._screen import Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import BoundArguments

    from ._arguments import OutputFormat


def run_command(command: Callable[..., object], bound: BoundArguments) -> int:
    """Run a command with its arguments, and return the exit code.

    A command that asks at the terminal is a plain function that starts its own event
    loop afterwards: while a loop runs, the first Ctrl-C does not end a prompt.
    """
    # The command shows errors itself, so its log records are not printed as well.
    logger = logging.getLogger("aurpay_async")
    logger.handlers = logger.handlers or [logging.NullHandler()]
    try:
        result = command(*bound.args, **bound.kwargs)
        if iscoroutine(result):
            import asyncio  # slow to load, and --help does not need it

            result = asyncio.run(result)
    except AurpayError as error:
        output = Output(bound.arguments.get("output_format", "text"))
        show_error(output, error)
        return exit_code(error)
    except BrokenPipeError:
        raise  # the reader closed the pipe, so no message would arrive
    except OSError as error:
        # The message of a socket's error is long, and that of a file's has its name.
        problem = error.strerror or str(error)
        message = f"{type(error).__name__}: {problem}"
        output = Output(bound.arguments.get("output_format", "text"))
        show_failure(output, "os", message, "Fix the cause and try again.")
        return FAILED
    # The functions of cyclopts behind --help and --version return no code.
    return result if isinstance(result, int) else 0


def show_usage_error(output_format: OutputFormat, message: str) -> int:
    """Show that the command line is invalid, and return the exit code."""
    advice = "Run it with --help to see examples."
    show_failure(Output(output_format), "usage", message, advice)
    return USAGE
