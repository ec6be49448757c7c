"""QR codes drawn with block characters."""

from __future__ import annotations

import segno

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
