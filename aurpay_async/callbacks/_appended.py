"""Parameters that Aurpay may append to a callback URL after it was registered.

Not documented. Aurpay's own plugins expect two: the one for Paid Memberships Pro
``aurpay_order_id`` (the platform's id of the order), the one for WooCommerce
``public_key``; the URLs that they register hold neither. Whether the signature covers
them is not known either, so the verifier tries the URL with and without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ._reference import PARAMETER

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A second ``?`` instead of ``&`` is what joining without looking gives.
_LAST = re.compile(r"[?&](?:aurpay_order_id|public_key)=[^?&]*\Z")

_ORDER_ID = re.compile(r"[?&]aurpay_order_id=([A-Za-z0-9_-]{1,64})(?=[?&]|\Z)")

#: Aurpay's plugins expect one of them; two at most are taken off.
_MAX_APPENDED: Final = 2


def possibly_registered(url: str) -> Iterator[str]:
    """Yield `url` as it was called, then without each parameter that was appended."""
    yield url
    for _ in range(_MAX_APPENDED):
        match = _LAST.search(url)
        if match is None:
            return
        url = url[: match.start()]
        yield url


def appended_order_id(url: str) -> str | None:
    """Return the order id that was appended to `url`; it need not be signed."""
    *_, registered = possibly_registered(url)
    match = _ORDER_ID.search(url, len(registered))
    return None if match is None else match[1]


def names_after_reference(url: str) -> list[str]:
    """Return the names of the parameters that follow the reference token.

    The token is the last parameter of a registered URL, so these were added later.
    """
    _, found, rest = url.partition(f"{PARAMETER}=")
    parts = re.split("[?&]", rest)[1:] if found else []
    return [part.partition("=")[0] for part in parts]
