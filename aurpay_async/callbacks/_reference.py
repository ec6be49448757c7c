"""Reference tokens: the signed part of a callback URL that identifies the order.

Aurpay's GET callback does not identify the order, and its signature covers the URL
alone. So the URL contains a token that the merchant's key signs: without the key, an
attacker cannot build such a URL for another order, price or kind, and cannot get one by
registering a URL with Aurpay.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final, cast, final

import attrs
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from .._core.secrets import hide_keys, require_keys
from ..errors import CallbackReferenceError, InvalidRequestError, shown

if TYPE_CHECKING:
    from .._core.secrets import Keys
    from ._inbox import Kind

#: The name of the token in the query of a URL.
PARAMETER: Final = "aurpay_ref"

#: Changes with the format of a token, so that no token is read as another format.
_SALT: Final = b"aurpay_async.reference.1"

_PRICE = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_ATTEMPT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


@attrs.frozen(kw_only=True)
class Reference:
    """The data of a reference token."""

    #: The merchant's own id of the sale, such as a cart's id.
    reference: str
    #: Fiat, in units of `currency`.
    price: Decimal
    #: Fiat: three letters.
    currency: str
    #: The kind of callback.
    kind: Kind
    #: The id of the call that created the order; each call has another.
    attempt_id: str


def new_attempt_id() -> str:
    """Return a random id that distinguishes orders of one reference; 96 bits."""
    return os.urandom(12).hex()


def is_attempt_id(text: str) -> bool:
    """Return whether `text` has the format of an attempt id."""
    return _ATTEMPT_ID.fullmatch(text) is not None


@final
class ReferenceSigner:
    """Adds reference tokens to URLs, and reads them."""

    def __init__(self, keys: Keys) -> None:
        """Accept the keys: the first signs, all of them verify.

        Raises:
            ConfigurationError: if there is no key, or a key is too short.
        """
        hidden = hide_keys(keys) or ()
        del keys
        require_keys(hidden)
        self._keys = hidden

    def _signer(self) -> Signer:
        """Return a signer for one use: itsdangerous stores keys as plain bytes."""
        return Signer(
            # itsdangerous signs with the last one.
            [key.reveal() for key in reversed(self._keys)],
            salt=_SALT,
            key_derivation="hmac",
            digest_method=sha256,
        )

    def attach(self, url: str, reference: Reference, *, field: str = "url") -> str:
        """Return `url` with a token appended.

        Raises:
            InvalidRequestError: naming `field` if `url` has a parameter of that name.
        """
        if _tokens(url):
            raise InvalidRequestError(
                f"has a parameter {PARAMETER} already, which is added here", field=field
            )
        parts = [
            reference.reference,
            f"{reference.price:f}",
            reference.currency,
            reference.kind,
            reference.attempt_id,
        ]
        payload = base64_encode(json.dumps(parts, separators=(",", ":")))
        text = self._signer().sign(payload).decode("ascii")
        return f"{url}{'&' if '?' in url else '?'}{PARAMETER}={text}"

    def read(self, url: str, kind: Kind | None = None) -> Reference:
        """Return the reference in a URL.

        Args:
            url: The URL that was called.
            kind: The kind that the reference must have.

        Raises:
            CallbackReferenceError: if the URL has no token or several, or if the token
                was not signed with these keys, or belongs to another kind.
        """
        tokens = _tokens(url)
        if len(tokens) != 1:
            found = "no" if not tokens else "more than one"
            raise CallbackReferenceError(
                f"the URL has {found} parameter {PARAMETER}: was this order created "
                "with reference=...?",
                rule="reference",
            )
        reference = self._open(tokens[0])
        if kind is not None and reference.kind != kind:
            raise CallbackReferenceError(
                f"the URL was registered for {shown(reference.kind)}, and called as "
                f"{shown(kind)}",
                rule="kind",
            )
        return reference

    def _open(self, token: str) -> Reference:
        payload: object = None
        with suppress(BadData, ValueError, RecursionError):
            payload = json.loads(base64_decode(self._signer().unsign(token)))
        match payload:
            case [
                str(reference),
                str(price),
                str(currency),
                str(kind),
                str(attempt_id),
            ] if (
                _PRICE.fullmatch(price)
                and kind in {"paid", "timeout"}
                and _ATTEMPT_ID.fullmatch(attempt_id)
            ):
                return Reference(
                    reference=reference,
                    price=Decimal(price),
                    currency=currency,
                    kind=cast("Kind", kind),
                    attempt_id=attempt_id,
                )
            case _:
                raise CallbackReferenceError(
                    f"{PARAMETER} is damaged, or signed with another reference_key",
                    rule="reference",
                )

    def __repr__(self) -> str:
        return "ReferenceSigner(...)"


def _tokens(url: str) -> list[str]:
    _, _, query = url.partition("?")
    # A second `?` results from appending without checking for a query.
    pairs = (part.partition("=") for part in re.split("[?&]", query))
    return [value for name, _, value in pairs if name == PARAMETER]
