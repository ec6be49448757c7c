"""Sign a shop's reference into the callback URLs of an order.

Aurpay's order call has no field for a reference, and its callbacks name no order. So
the callback URLs carry the reference, price and attempt id, signed with a key of the
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

#: The module that signs. It loads hashing, which few programs need.
_SIGNING: Final = f"{__package__}.callbacks._reference"

#: The URLs that Aurpay calls, and the kind of each callback.
_CALLBACK_FIELDS: Final[tuple[tuple[str, Literal["paid", "timeout"]], ...]] = (
    ("callback_url", "paid"),
    ("timeout_callback", "timeout"),
)


async def with_reference(
    order: _Order, keys: tuple[Secret, ...], attempt_id: str | None = None
) -> _Order:
    """Call `sign_reference`, importing its dependencies off the event loop."""
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
        order: The order to create.
        keys: The first one signs.
        attempt_id: The id of this attempt; without it, a random one.

    Raises:
        InvalidRequestError: naming the field if its URL gets too long, or has such a
            parameter already; or if there is no key to sign with.
    """
    if order.reference is None:
        return order
    if not keys:
        raise InvalidRequestError(
            "there is no key to sign it with",
            field="reference",
            hint="create the client with reference_key=...",
        )
    from .callbacks._reference import Reference, ReferenceSigner, new_attempt_id

    signer, attempt_id = ReferenceSigner(keys), attempt_id or new_attempt_id()
    changes: dict[str, Any] = {"attempt_id": attempt_id}
    for field, kind in _CALLBACK_FIELDS:
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
