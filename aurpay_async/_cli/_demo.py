"""``aurpay demo``: what this package is, on one screen."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import bolt11
from ..sandbox import Sandbox
from ._qr import qr_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from .._models import LightningOrder

_PRICE, _CURRENCY = "20.00", "USD"
_MSAT_PER_SATOSHI = 1000

_BACKENDS = {"wallycore": "libsecp256k1 (wallycore)", "python": "plain Python"}

#: All checks, in order, with what each one says of an order that passed it.
_CHECKS: dict[str, Callable[[LightningOrder], str]] = {
    "signature": lambda _: f"verified with {_BACKENDS[bolt11.backend()]}",
    "network": lambda order: f"{order.payment_request.network}, as the client expects",
    "amount": lambda order: (
        f"{order.payment_request.amount_msat:,} msat, exactly the order's"
    ),
    "payment_secret": lambda _: "equals payment_addr of the answer",
    "timestamp": lambda _: "not from the future",
    "expiry": lambda order: f"payable until {_time(order.payment_request.expires_at)}",
    "payee": lambda order: f"{order.payment_request.payee[:24]}..., as pinned",
    "pay_url": lambda _: "on the client's own origin",
}


async def run_demo(console: Console) -> None:
    """Show one order from the request to the QR code."""
    began = perf_counter()
    console.print()
    console.print(Text("  Aurpay, on this machine", style="bold"))
    console.print(Text("  No account, no network, no real money.\n", style="dim"))
    async with Sandbox() as sandbox, sandbox.client(payees=[sandbox.payee]) as aurpay:
        _step(console, f"sandbox is up at {sandbox.base_url}")
        _step(console, f'await aurpay.create_order("{_PRICE}", "{_CURRENCY}")')
        order = await aurpay.create_order(_PRICE, _CURRENCY)
        console.print()
        _show(console, "The order", _order_rows(order))
        _show(console, "Checked before you get it", _check_rows(order))
        _show_invoice(console, order)
    _step(console, f"sandbox is shut down, after {perf_counter() - began:.1f} s")
    console.print()


def _step(console: Console, text: str) -> None:
    console.print(Text.assemble(("  ✓ ", "bold green"), text))


def _show(console: Console, title: str, rows: list[tuple[Text, Text, Text]]) -> None:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    console.print(Text(f"  {title}", style="bold cyan"))
    console.print(Padding(table, (0, 0, 1, 2)))


def _order_rows(order: LightningOrder) -> list[tuple[Text, Text, Text]]:
    satoshi = (order.payment_request.amount_msat or 0) // _MSAT_PER_SATOSHI
    facts = {
        "order_id": order.order_id,
        "status": order.status,
        "price": f"{_PRICE} {_CURRENCY}",
        "amount": f"{order.amount:f} BTC ({satoshi:,} sat)",
        "create_time": _time(order.create_time),
        "pay_url": order.pay_url,
    }
    return [
        (Text(" "), Text(name, style="dim"), Text(fact)) for name, fact in facts.items()
    ]


def _check_rows(order: LightningOrder) -> list[tuple[Text, Text, Text]]:
    return [
        (Text("✓", style="bold green"), Text(name, style="dim"), Text(say(order)))
        for name, say in _CHECKS.items()
        if name in order.checks
    ]


def _show_invoice(console: Console, order: LightningOrder) -> None:
    invoice = order.payment_request
    console.print(Text("  The invoice", style="bold cyan"))
    # Not wrapped by hand: whoever copies it wants no line breaks in it.
    console.print(Text(str(invoice)), soft_wrap=True)
    console.print()
    for line in qr_lines(invoice.uri.upper()):
        console.print(Text.assemble("  ", (line, "white on black")), no_wrap=True)
    console.print()


def _time(time: object) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
