"""Keys that may be real are kept out: a sandbox shows, stores and repeats what it gets.

Pure. A real key that ends up here was put into the wrong place, and should not be in
pages, files and the output of tests as well. What real ones look like:

- the dashboard's "Public Key", sent as ``API-Key``: 43 URL-safe base64 characters;
- what the API-key endpoint returns: a JWT, which begins with ``eyJ``;
- an "API Token", such as ``L35ZD3K4AORZH7NVQBR9O`` in the documentation's example.

So whatever is long and all letters, digits, ``-`` and ``_`` may be real, unless there
is a word in it that says that it is not. None of three letters is among them: one
random key in a thousand has such a word by chance.
"""

from __future__ import annotations

import re
from typing import Final

#: A letter less than the shortest real one that is known.
_MIN_LENGTH: Final = 20

_JWT = re.compile(r"\s*eyJ")
_LONG = re.compile(rf"[A-Za-z0-9_-]{{{_MIN_LENGTH},}}=*")
_NONE = re.compile(
    r"sandbox|test|example|sample|fake|dummy|mock|demo|made.?up|placeholder",
    re.IGNORECASE,
)

#: What to write instead.
ADVICE: Final = 'take a made-up one with "sandbox" or "test" in it'


def looks_live(key: str) -> bool:
    """Whether `key` may be one of a real account."""
    if _JWT.match(key):
        return True
    return _LONG.fullmatch(key.strip()) is not None and _NONE.search(key) is None
