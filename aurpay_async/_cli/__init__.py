"""The ``aurpay`` command. The only room that prints."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What the extra ``[cli]`` installs; the rest of the package does without.
_NEEDED: Final = frozenset({"cyclopts", "rich", "segno"})

_MISSING: Final = """\
The aurpay command needs a few packages more: pip install "aurpay-async[cli]"
"""

#: Wrong usage, or a package that is missing.
_USAGE: Final = 2
_FAILED: Final = 1
#: What shells give to programs that Ctrl-C ended.
_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a tick shows a question mark.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(run(sys.argv[1:]))
    except BrokenPipeError:
        # Whoever read this has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and give its exit code."""
    try:
        if arguments == ["--version"]:  # asked by scripts; the rest takes a moment
            print(_version())
            return 0
        from ._app import run as run_command

        return run_command(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(_MISSING)
        return _USAGE


def _version() -> str:
    from importlib.metadata import version

    return version("aurpay-async")
