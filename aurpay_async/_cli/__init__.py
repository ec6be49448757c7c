"""The ``aurpay`` command. The only room that prints."""

from __future__ import annotations

import sys
from io import TextIOWrapper

#: What the extra ``[cli]`` installs; the rest of the package does without.
_NEEDED = frozenset({"cyclopts", "rich", "segno"})

_MISSING = """\
The aurpay command needs a few packages more: pip install "aurpay-async[cli]"
"""


def main() -> None:
    """Run the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a tick shows a question mark.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        from ._app import app
    except KeyboardInterrupt:
        sys.exit(130)  # loading takes a second, in which somebody may give up
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(_MISSING)
        sys.exit(2)
    app()
