"""Callback requests as Aurpay documents them: URL, headers, signature and body.

Pure, and written from Aurpay's pages alone. It shares no code with the verifier, so the
two cannot make the same mistake and agree.
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

    from ._mishaps import FaultSpec
    from ._orders import SandboxOrder

#: The two events of which Aurpay sends callbacks.
CallbackKind = Literal["paid", "timeout"]

#: The order's URL that is called, and the status of the order in the body.
_FIELDS: Final[Mapping[CallbackKind, str]] = {
    "paid": "callback_url",
    "timeout": "timeout_callback",
}
_STATUSES: Final[Mapping[CallbackKind, str]] = {"paid": "SUCCESS", "timeout": "OVERDUE"}

_MEBIBYTE: Final = 1024 * 1024

#: The API key of a sandbox that requires none.
ANY_KEY: Final = "sandbox-api-key"
#: The dashboard's name for a merchant's API key is "Public Key".
_PUBLIC_KEY: Final = "sandbox-public-key"


@attrs.frozen(kw_only=True)
class CallbackRequest:
    """A callback before it is sent."""

    order: SandboxOrder
    kind: CallbackKind
    method: str
    url: str
    token: str = attrs.field(repr=False)
    #: The key that the order was created with, if the callback carries it.
    api_key: str | None = attrs.field(default=None, repr=False)
    date: str
    #: One, unless a fault removed it or added another.
    signatures: tuple[str, ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    #: Whether token, date and signatures are left out.
    is_unsigned: bool = False

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return Aurpay's headers; the HTTP client adds HTTP's own."""
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


def build_callback(
    order: SandboxOrder,
    kind: CallbackKind,
    at: datetime,
    *,
    token: str,
    secret: str,
    post: bool,
) -> CallbackRequest:
    """Build the signed callback of an order that has a URL for it.

    Args:
        order: The order, in any status.
        kind: The event that the callback reports.
        at: The time of the Date header.
        token: The value of the Callback-Token header.
        secret: The secret of the signature.
        post: Whether it is a ``POST`` with the order in the body. An order can ask for
            that itself.
    """
    url = order.urls[_FIELDS[kind]]
    date = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    order = attrs.evolve(order, status=_STATUSES[kind])
    post = post or order.post_callbacks
    return CallbackRequest(
        order=order,
        kind=kind,
        method="POST" if post else "GET",
        url=url,
        token=token,
        api_key=order.api_key,
        date=date,
        signatures=(sign(secret, date, url),),
        body=_json(notification(order)) if post else b"",
    )


def add_parameter(
    callback: CallbackRequest, fault: FaultSpec, secret: str
) -> CallbackRequest:
    """Add a parameter of the platform to the URL; sign the new URL or the old one."""
    name = fault.options["name"]
    value = callback.order.order_id if name == "aurpay_order_id" else _PUBLIC_KEY
    url = _with_parameter(callback.url, f"{name}={value}")
    if fault.options["signed"] == "registered":
        return attrs.evolve(callback, url=url)
    signatures = (sign(secret, callback.date, url),)
    return attrs.evolve(callback, url=url, signatures=signatures)


def has_callback_url(order: SandboxOrder, kind: CallbackKind) -> bool:
    """Return whether the order has a URL for this kind of callback."""
    return _FIELDS[kind] in order.urls


def sign(secret: str, date: str, url: str) -> str:
    """Sign ``{date} | {callback_url}`` with HMAC-SHA256, as Aurpay documents it."""
    # A URL that was sent as JSON can contain a lone surrogate.
    text = f"{date} | {url}".encode("utf-8", "surrogatepass")
    return b64encode(hmac.digest(secret.encode(), text, "sha256")).decode()


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode()


def _forged(callback: CallbackRequest) -> str:
    """Return a well-formed signature that was made with another secret."""
    return sign("not the secret", callback.date, callback.url)


def _wrong_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=(_forged(callback),))


def _wrong_token(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, token="not-the-token")  # noqa: S106 - made up


def _no_signature(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, signatures=())


def _duplicate_headers(callback: CallbackRequest) -> CallbackRequest:
    signatures = (*callback.signatures, _forged(callback))
    return attrs.evolve(callback, signatures=signatures)


def _wrong_url(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, url=_with_parameter(callback.url, "x=1"))


def _with_parameter(url: str, parameter: str) -> str:
    page, separator, fragment = url.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}{parameter}{separator}{fragment}"


def _api_key_only(callback: CallbackRequest) -> CallbackRequest:
    key = callback.api_key or ANY_KEY
    return attrs.evolve(callback, api_key=key, is_unsigned=True)


def _unsigned_body(callback: CallbackRequest) -> CallbackRequest:
    fields = notification(callback.order)
    fields["order_id"] = f"{callback.order.order_id[:-6]}999999"
    fields["amount"] = f"1{fields['amount']}"
    return attrs.evolve(callback, method="POST", body=_json(fields))


def _broken_body(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="POST", body=b"order_id=1&status=SUCCESS")


def _huge_body(callback: CallbackRequest) -> CallbackRequest:
    body = _json(notification(callback.order)) + b" " * 2 * _MEBIBYTE
    return attrs.evolve(callback, method="POST", body=body)


def _wrong_method(callback: CallbackRequest) -> CallbackRequest:
    return attrs.evolve(callback, method="PUT")


#: The faults that change the request itself. Each changes one thing; the signature of
#: the others stays valid.
TAMPERED: Final[Mapping[str, Callable[[CallbackRequest], CallbackRequest]]] = {
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
