"""A shop's own names for what is paid, signed into the URLs that the platform calls.

Aurpay's order call has no field for them, and its callbacks name no order. So they
travel in the callback URLs, with the price and an attempt_id, signed by a key of the
shop's.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import attrs

from ._models import NewOrder, without_traceback
from .errors import InvalidRequestError

if TYPE_CHECKING:
    from ._secrets import Secret
    from .callbacks._reference import Reference, ReferenceSigner

_Order = TypeVar("_Order", bound=NewOrder)

#: What signs. It loads hashing and more, which few programs need.
_SIGNING: Final = f"{__package__}.callbacks._reference"

#: The URLs that the platform calls, and what each call then says.
_KINDS: Final[tuple[tuple[str, Literal["paid", "timeout"]], ...]] = (
    ("callback_url", "paid"),
    ("timeout_callback", "timeout"),
)


async def with_reference(
    order: _Order, keys: tuple[Secret, ...], attempt_id: str | None = None
) -> _Order:
    """As `sign_reference`; what that needs is loaded off the loop."""
    if keys and _SIGNING not in sys.modules:
        import asyncio

        await asyncio.to_thread(import_module, _SIGNING)
    try:
        return sign_reference(order, keys, attempt_id)
    except InvalidRequestError as error:
        raise without_traceback(error) from None


def sign_reference(
    order: _Order, keys: tuple[Secret, ...], attempt_id: str | None = None
) -> _Order:
    """Add an attempt id to `order`, and its reference to its callback URLs.

    Args:
        order: What to create.
        keys: The first one signs.
        attempt_id: The one to use, if the order has to be created under a known
        attempt_id;
            else a new one is drawn.

    Raises:
        InvalidRequestError: naming the field whose URL is then too long, or has such
            a parameter already; or if there is no key to sign with.
    """
    if order.reference is None:
        return order
    if not keys:
        raise InvalidRequestError(
            "there is no key to sign it with",
            field="reference",
            hint="make the client with reference_key=...",
        )
    from .callbacks._reference import Reference, ReferenceSigner, new_attempt_id

    signer, attempt_id = ReferenceSigner(keys), attempt_id or new_attempt_id()
    changes: dict[str, Any] = {"attempt_id": attempt_id}
    for field, kind in _KINDS:
        url: str | None = getattr(order, field)
        if url is not None:
            reference = Reference(
                reference=order.reference,
                price=order.price,
                currency=order.currency,
                kind=kind,
                attempt_id=attempt_id,
            )
            changes[field] = _attach(signer, field, url, reference)
    return attrs.evolve(order, **changes)


def _attach(signer: ReferenceSigner, field: str, url: str, reference: Reference) -> str:
    try:
        return signer.attach(url, reference)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
    raise InvalidRequestError(problem, field=field)
