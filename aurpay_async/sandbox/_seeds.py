"""Random bytes from the operating system, or reproducible ones from a seed.

Pure. Seeded bytes depend on the seed and their purpose alone, not on earlier draws:
order number 7 has the same secrets in every run, also in one that begins with order
number 7.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Return 32 bytes for the purpose that the arguments name.
    RandomSource = Callable[..., bytes]


def random_source(seed: int | None = None) -> RandomSource:
    """Return a source of bytes: reproducible with `seed`, unpredictable without."""
    if seed is None:
        return _urandom
    key = str(seed).encode()

    def seeded(*purpose: object) -> bytes:
        text = "/".join(map(str, purpose))
        return hmac.digest(key, text.encode(), "sha256")

    return seeded


def _urandom(*_: object) -> bytes:
    return os.urandom(32)
