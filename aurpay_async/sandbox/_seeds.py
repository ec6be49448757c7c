"""Where random bytes come from: the system, or a seed that gives the same ones again.

Pure. What a seed gives depends on what it is for and on nothing else, not on how much
was drawn before: order number 7 has the same secrets in every run, also in one that
begins with order number 7.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    #: 32 bytes for the purpose that these words name.
    Draw = Callable[..., bytes]


def drawing(seed: int | None = None) -> Draw:
    """What draws with `seed`; without one, nobody can tell what comes."""
    if seed is None:
        return _surprise
    key = str(seed).encode()

    def draw(*purpose: object) -> bytes:
        text = "/".join(map(str, purpose))
        return hmac.digest(key, text.encode(), "sha256")

    return draw


def _surprise(*_: object) -> bytes:
    return os.urandom(32)
