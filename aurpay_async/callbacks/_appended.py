"""Parameters that Aurpay may append to a callback URL after it was registered.

They are not documented. Aurpay's plugin for Paid Memberships Pro expects
``aurpay_order_id`` (Aurpay's id of the order), its plugin for WooCommerce
``public_key``; the URLs that the plugins register have neither. It is not known if the
signature covers them, so the verifier tries the URL with and without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ._reference import PARAMETER

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A second ``?`` results from appending without checking for a query.
_LAST = re.compile(r"[?&](?:aurpay_order_id|public_key)=[^?&]*\Z")

#: Aurpay's plugins expect one of them; at most two are removed.
_MAX_APPENDED: Final = 2


def possibly_registered(url: str) -> Iterator[str]:
    """Yield `url` as it was called, then without each appended parameter in turn."""
    yield url
    for _ in range(_MAX_APPENDED):
        match = _LAST.search(url)
        if match is None:
            return
        url = url[: match.start()]
        yield url


def names_after_reference(url: str) -> list[str]:
    """Return the names of the parameters that follow the reference token.

    The token is the last parameter of a registered URL, so these were added later.
    """
    _, found, rest = url.partition(f"{PARAMETER}=")
    parts = re.split("[?&]", rest)[1:] if found else []
    return [part.partition("=")[0] for part in parts]
