"""Reject keys that may be real: a sandbox shows and stores the requests it receives.

Pure. Real keys have these forms:

- the dashboard's "Public Key", sent as ``API-Key``: 43 URL-safe base64 characters;
- the token of the API-key endpoint: a JWT, which begins with ``eyJ``;
- an "API Token", such as ``L35ZD3K4AORZH7NVQBR9O`` in the documentation's example.

A key of 20 or more URL-safe characters is treated as real unless it contains a marker
such as "test". Three-letter markers are not used: about one random key in a thousand
contains one by chance.
"""

from __future__ import annotations

import re
from typing import Final

#: One less than the shortest known form.
_MIN_LENGTH: Final = 20

_JWT = re.compile(r"\s*eyJ")
_LONG = re.compile(rf"[A-Za-z0-9_-]{{{_MIN_LENGTH},}}=*")
_MARKER = re.compile(
    r"sandbox|test|example|sample|fake|dummy|mock|demo|made.?up|placeholder",
    re.IGNORECASE,
)

MADE_UP_KEY_HINT: Final = 'use a made-up key that contains "sandbox" or "test"'


def looks_live(key: str) -> bool:
    """Return whether `key` may belong to a real account."""
    if _JWT.match(key):
        return True
    return _LONG.fullmatch(key.strip()) is not None and _MARKER.search(key) is None
