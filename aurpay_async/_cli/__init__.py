"""The ``aurpay`` command. The only room that prints."""

from __future__ import annotations

import sys

#: What the extra ``[cli]`` installs; the rest of the package does without.
_NEEDED = frozenset({"cyclopts", "rich", "segno"})

_MISSING = """\
The aurpay command needs a few packages more: pip install "aurpay-async[cli]"
"""


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from ._app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(_MISSING)
        sys.exit(2)
    app()
