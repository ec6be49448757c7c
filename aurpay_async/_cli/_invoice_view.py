"""Show an invoice."""

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
    """Return all fields of an invoice as JSON."""
    return {
        "text": invoice.text,
        "network": invoice.network,
        "amount_msat": _optional_str(invoice.amount_msat),
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
            {"bit": feature.bit, "name": feature.name, "required": feature.required}
            for feature in invoice.features
        ],
        "fallbacks": [attrs.asdict(fallback) for fallback in invoice.fallbacks],
        "routes": [[_hop_members(hop) for hop in route] for route in invoice.routes],
        "unknown_fields": [field._asdict() for field in invoice.unknown_fields],
        "signature": invoice.signature,
    }


def invoice_rows(invoice: Invoice, now: datetime) -> Iterator[Row]:
    """Return all fields of an invoice as rows."""
    yield Row("network", invoice.network)
    yield Row("amount", _invoice_amount(invoice))
    yield from _description_rows(invoice)
    yield Row("created", moment(invoice.created_at))
    when = f"{moment(invoice.expires_at)}, {distance(invoice.expires_at, now)}"
    expired = invoice.expires_at <= now
    yield Row("expired" if expired else "expires", when, "warning" if expired else "")
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    yield Row("payment secret", invoice.payment_secret)
    if invoice.metadata is not None:
        yield Row("metadata", invoice.metadata)
    yield Row("final cltv", f"{invoice.min_final_cltv_expiry} blocks")
    for feature in invoice.features:
        yield Row("feature", _format_feature(feature))
    for fallback in invoice.fallbacks:
        address = (
            fallback.address or f"{fallback.program} of version {fallback.version}"
        )
        yield Row("fallback", address)
    for route in invoice.routes:
        yield Row("route", ", then ".join(map(_format_hop, route)))
    for field in invoice.unknown_fields:
        yield Row("unknown", f"{field.tag}: {field.data}")
    yield Row("signature", invoice.signature)


def payable_rows(invoice: Invoice, now: datetime) -> Iterator[Row]:
    """Return the rows that the user sees before an invoice is paid."""
    yield Row("amount", _invoice_amount(invoice))
    yield Row("network", invoice.network)
    yield from _description_rows(invoice)
    yield Row("payee", invoice.payee)
    yield Row("payment hash", invoice.payment_hash)
    when = f"{moment(invoice.expires_at)}, {distance(invoice.expires_at, now)}"
    yield Row("expires", when)


def _invoice_amount(invoice: Invoice) -> str:
    if invoice.amount_msat is None:
        return "open: the payer chooses it"
    return amount(invoice.amount_msat)


def _description_rows(invoice: Invoice) -> Iterator[Row]:
    if invoice.description is not None:
        yield Row("description", invoice.description)
    if invoice.description_hash is not None:
        yield Row("description hash", invoice.description_hash)


def _format_feature(feature: Feature) -> str:
    need = "required" if feature.required else "optional"
    return f"{feature.bit} {feature.name or 'unknown'}, {need}"


def _format_hop(hop: Hop) -> str:
    return (
        f"{hop.pubkey} by {hop.short_channel_id} for {hop.fee_base_msat} msat + "
        f"{hop.fee_proportional_millionths} ppm, {hop.cltv_expiry_delta} blocks"
    )


def _hop_members(hop: Hop) -> dict[str, object]:
    fee = {"fee_base_msat": str(hop.fee_base_msat)}
    return {**attrs.asdict(hop), **fee}


def _optional_str(number: int | None) -> str | None:
    return None if number is None else str(number)
