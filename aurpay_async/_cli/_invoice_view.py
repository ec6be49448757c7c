"""An invoice as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ._screen import Row
from ._times import amount, distance, iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..bolt11 import Feature, Hop, Invoice


def invoice_members(invoice: Invoice) -> dict[str, object]:
    """All that an invoice says, for programs."""
    return {
        "text": invoice.text,
        "network": invoice.network,
        "amount_msat": _text(invoice.amount_msat),
        "created_at": iso(invoice.created_at),
        "expiry": invoice.expiry,
        "expires_at": iso(invoice.expires_at),
        "payment_hash": invoice.payment_hash,
        "payment_secret": invoice.payment_secret,
        "description": invoice.description,
        "description_hash": invoice.description_hash,
        "metadata": invoice.metadata,
        "payee": invoice.payee,
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry,
        "features": [
            {"bit": one.bit, "name": one.name, "required": one.required}
            for one in invoice.features
        ],
        "fallbacks": [attrs.asdict(fallback) for fallback in invoice.fallbacks],
        "routes": [[_hop_members(hop) for hop in route] for route in invoice.routes],
        "unknown_fields": [field._asdict() for field in invoice.unknown_fields],
        "signature": invoice.signature,
    }


def invoice_rows(invoice: Invoice, now: datetime) -> Iterator[Row]:
    """All that an invoice says, for people."""
    yield Row("network", invoice.network)
    yield Row("amount", _amount(invoice))
    yield from _description(invoice)
    yield Row("created", moment(invoice.created_at))
    when = f"{moment(invoice.expires_at)}, {distance(invoice.expires_at, now)}"
    alive = invoice.expires_at > now
    yield Row("expires" if alive else "expired", when, "" if alive else "warning")
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    yield Row("payment secret", invoice.payment_secret)
    if invoice.metadata is not None:
        yield Row("metadata", invoice.metadata)
    yield Row("final cltv", f"{invoice.min_final_cltv_expiry} blocks")
    yield from (Row("feature", _feature(one)) for one in invoice.features)
    for fallback in invoice.fallbacks:
        address = (
            fallback.address or f"{fallback.program} of version {fallback.version}"
        )
        yield Row("fallback", address)
    for route in invoice.routes:
        yield Row("route", ", then ".join(map(_hop, route)))
    for field in invoice.unknown_fields:
        yield Row("unknown", f"{field.tag}: {field.data}")
    yield Row("signature", invoice.signature)


def what_is_paid(invoice: Invoice, now: datetime) -> Iterator[Row]:
    """What somebody has to see before an invoice is paid."""
    yield Row("amount", _amount(invoice))
    yield Row("network", invoice.network)
    yield from _description(invoice)
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    when = f"{moment(invoice.expires_at)}, {distance(invoice.expires_at, now)}"
    yield Row("expires", when)


def _amount(invoice: Invoice) -> str:
    if invoice.amount_msat is None:
        return "open: the payer chooses it"
    return amount(invoice.amount_msat)


def _description(invoice: Invoice) -> Iterator[Row]:
    if invoice.description is not None:
        yield Row("description", invoice.description)
    if invoice.description_hash is not None:
        yield Row("description hash", invoice.description_hash)


def _feature(feature: Feature) -> str:
    need = "required" if feature.required else "optional"
    return f"{feature.bit} {feature.name or 'unknown'}, {need}"


def _hop(hop: Hop) -> str:
    return (
        f"{hop.pubkey} by {hop.short_channel_id} for {hop.fee_base_msat} msat + "
        f"{hop.fee_proportional_millionths} ppm, {hop.cltv_expiry_delta} blocks"
    )


def _hop_members(hop: Hop) -> dict[str, object]:
    fee = {"fee_base_msat": str(hop.fee_base_msat)}
    return {**attrs.asdict(hop), **fee}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
