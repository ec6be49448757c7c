"""The console of rich, and QR codes made of characters.

`Output` imports this module when it first prints text, because rich is slow to load.
"""

from __future__ import annotations

import segno
from rich.console import Console as RichConsole


class Console(RichConsole):
    """A console that leaves a broken pipe to the caller.

    Rich itself handles ``NO_COLOR``, ``TERM`` and other pipes.
    """

    def on_broken_pipe(self) -> None:
        """Raise, so that ``main`` handles it: rich would end the process here."""
        raise  # noqa: PLE0704 - rich calls it while it handles that error


#: Two modules, one above the other, as one character; light modules are drawn.
_BLOCKS = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}

#: All characters that an encoding needs to have.
BLOCKS = "".join(_BLOCKS.values())

_QUIET_ZONE = 2


def qr_lines(text: str) -> list[str]:
    """Return a QR code, light on dark, with two rows of modules per line.

    Upper-case text takes the smaller alphanumeric mode.
    """
    code = segno.make(text, error="l", micro=False)
    rows = [list(row) for row in code.matrix_iter(border=_QUIET_ZONE)]
    rows.append([0] * len(rows[0]))  # every QR code has an odd number of rows
    return [
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
