"""Callbacks as Aurpay documents them: what is sent to whom, and signed how.

Pure, and written from Aurpay's pages alone: nothing here has seen the code that reads
callbacks, so that the two cannot make the same mistake and agree.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Final, Literal

import attrs

from ._answers import notification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ._mishaps import Mishap
    from ._orders import SandboxOrder

#: What a callback tells of.
CallbackKind = Literal["paid", "timeout"]

#: Which address of an order hears of it, and what the order's status is then.
_FIELDS: Final[Mapping[CallbackKind, str]] = {
    "paid": "callback_url",
    "timeout": "timeout_callback",
}
_STATUSES: Final[Mapping[CallbackKind, str]] = {"paid": "SUCCESS", "timeout": "OVERDUE"}

_MEBIBYTE: Final = 1024 * 1024

#: An API key where none is asked for.
ANY_KEY: Final = "sandbox-api-key"
#: What the dashboard calls a merchant's public key.
_PUBLIC_KEY: Final = "sandbox-public-key"


@attrs.frozen(kw_only=True)
class Letter:
    """A callback, ready to be sent."""

    order: SandboxOrder
    kind: CallbackKind
    method: str
    url: str
    token: str = attrs.field(repr=False)
    #: The key that the order was created with, if the callback has it.
    api_key: str | None = attrs.field(default=None, repr=False)
    date: str
    #: One, if nothing is wrong.
    signatures: tuple[str, ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    #: Whether token, date and signatures are left out.
    is_unsigned: bool = False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Those of Aurpay; HTTP's own are the courier's business."""
        key = () if self.api_key is None else (("Api-Key", self.api_key),)
        signatures = (("Signature", signature) for signature in self.signatures)
        content = (("Content-Type", "application/json"),) if self.body else ()
        if self.is_unsigned:
            return (*key, *content)
        return (
            *key,
            ("Callback-Token", self.token),
            ("Date", self.date),
            *signatures,
            *content,
        )


@attrs.frozen(kw_only=True)
class Writer:
    """Writes callbacks with a merchant's token and secret."""

    token: str = attrs.field(repr=False)
    secret: str = attrs.field(repr=False)
    #: Whether they are ``POST`` with the order in the body, or ``GET`` without one
    #: unless the order asks for it.
    posts: bool

    def write_with_parameter(
        self, order: SandboxOrder, kind: CallbackKind, at: datetime, delivery: Mishap
    ) -> Letter:
        """The same, with a parameter of the platform added to the address."""
        letter = self.write(order, kind, at)
        name = delivery.options["name"]
        value = order.order_id if name == "aurpay_order_id" else _PUBLIC_KEY
        url = _with_parameter(letter.url, f"{name}={value}")
        if delivery.options["signed"] == "registered":
            return attrs.evolve(letter, url=url)
        signatures = (sign(self.secret, letter.date, url),)
        return attrs.evolve(letter, url=url, signatures=signatures)

    def write(self, order: SandboxOrder, kind: CallbackKind, at: datetime) -> Letter:
        """The callback of an order that has an address for it, as of a time."""
        url = order.urls[_FIELDS[kind]]
        date = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        order = attrs.evolve(order, status=_STATUSES[kind])
        posts = self.posts or order.post_callbacks
        return Letter(
            order=order,
            kind=kind,
            method="POST" if posts else "GET",
            url=url,
            token=self.token,
            api_key=order.api_key,
            date=date,
            signatures=(sign(self.secret, date, url),),
            body=_json(notification(order)) if posts else b"",
        )


def has_address(order: SandboxOrder, kind: CallbackKind) -> bool:
    """Whether anybody is to hear of it."""
    return _FIELDS[kind] in order.urls


def sign(secret: str, date: str, url: str) -> str:
    """Aurpay, callback authentication: ``{date} | {callback_url}``, HMAC-SHA256."""
    # The address came as JSON, in which half a character can be written.
    text = f"{date} | {url}".encode("utf-8", "surrogatepass")
    return b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


def _forged(letter: Letter) -> str:
    """A signature that is well-formed, of somebody else's secret."""
    return sign("not the secret", letter.date, letter.url)


def _wrong_signature(letter: Letter) -> Letter:
    return attrs.evolve(letter, signatures=(_forged(letter),))


def _wrong_token(letter: Letter) -> Letter:
    return attrs.evolve(letter, token="not-the-token")  # noqa: S106 - says so itself


def _no_signature(letter: Letter) -> Letter:
    return attrs.evolve(letter, signatures=())


def _duplicate_headers(letter: Letter) -> Letter:
    return attrs.evolve(letter, signatures=(*letter.signatures, _forged(letter)))


def _wrong_url(letter: Letter) -> Letter:
    return attrs.evolve(letter, url=_with_parameter(letter.url, "x=1"))


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


def _api_key_only(letter: Letter) -> Letter:
    return attrs.evolve(letter, api_key=letter.api_key or ANY_KEY, is_unsigned=True)


def _unsigned_body(letter: Letter) -> Letter:
    fields = notification(letter.order)
    fields["order_id"] = f"{letter.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return attrs.evolve(letter, method="POST", body=_json(fields))


def _broken_body(letter: Letter) -> Letter:
    return attrs.evolve(letter, method="POST", body=b"order_id=1&status=SUCCESS")


def _huge_body(letter: Letter) -> Letter:
    body = _json(notification(letter.order)) + b" " * 2 * _MEBIBYTE
    return attrs.evolve(letter, method="POST", body=body)


def _wrong_method(letter: Letter) -> Letter:
    return attrs.evolve(letter, method="PUT")


#: What can be wrong with a callback itself. All but its signature is left right.
SPOILT: Final[Mapping[str, Callable[[Letter], Letter]]] = {
    "wrong-signature": _wrong_signature,
    "wrong-token": _wrong_token,
    "no-signature": _no_signature,
    "duplicate-headers": _duplicate_headers,
    "wrong-url": _wrong_url,
    "api-key-only": _api_key_only,
    "unsigned-body": _unsigned_body,
    "broken-body": _broken_body,
    "huge-body": _huge_body,
    "wrong-method": _wrong_method,
}
