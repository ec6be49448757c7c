"""The commands about orders, and their arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .._models._arguments import DEFAULT_SIZE
from ._act import act
from ._arguments import (  # noqa: TC001 - read by cyclopts
    Flag,
    Output,
    Several,
    described,
)


@described(
    """\
    Create an order, and show it with its checked invoice.

    Client and credentials are those of the environment: AURPAY_API_KEY, or
    AURPAY_API_TOKEN and AURPAY_API_SECRET; AURPAY_BASE_URL and AURPAY_NETWORK for a
    sandbox. Ends with 3 if it failed and an order may exist all the same.

    ```console
    $ aurpay order create 20 USD --qr --watch
    $ aurpay order create 20 USD --callback-url https://shop.example/paid
    ```

    Args:
        price: Fiat, like 19.99.
        currency: Fiat: three letters, like USD.
        reference: Your own name for what is paid; needs AURPAY_REFERENCE_KEY.
        callback_url: What the platform calls after success.
        timeout_callback: What the platform calls after a timeout.
        succeed_url: Where the payer's browser goes after success.
        timeout_url: Where the payer's browser goes after a timeout.
        qr: Show the invoice as a QR code.
        watch: Wait for the payment; ends with 1 if nobody pays.
        browser: Open the checkout page in a browser.
        output: Lines for people, or JSON for programs.
    """
)
def create(
    price: str,
    currency: str,
    /,
    *,
    reference: str | None = None,
    callback_url: str | None = None,
    timeout_callback: str | None = None,
    succeed_url: str | None = None,
    timeout_url: str | None = None,
    qr: Flag = False,
    watch: Flag = False,
    browser: Annotated[Flag, Parameter(name="--open")] = False,
    output: Output = "text",
) -> int:
    from ._asked import Asked
    from ._order_create import Wishes, create_order

    asked = Asked(
        price,
        currency,
        reference,
        callback_url,
        timeout_callback,
        succeed_url,
        timeout_url,
    )
    wishes = Wishes(qr, watch, browser)
    return act(output, lambda screen: create_order(screen, asked, wishes))


@described(
    """\
    Show how an order stands.

    ```console
    $ aurpay order show 20240428125247009742
    $ aurpay order show 20240428125247009742 --output json | jq -r .status
    ```

    Args:
        order_id: The platform's name for it.
        output: Lines for people, or JSON for programs.
    """
)
def show(order_id: str, /, *, output: Output = "text") -> int:
    from ._order_show import show_order_by_id

    return act(output, lambda screen: show_order_by_id(screen, order_id))


@described(
    """\
    List orders.

    ```console
    $ aurpay order list
    $ aurpay order list --all --output json | jq -r 'select(.is_paid).order_id'
    ```

    Args:
        page: Which page.
        size: How many orders a page has, at most 1000.
        everything: This page and all that follow, each order as it comes.
        output: Lines for people, or JSON for programs.
    """
)
def list_(
    *,
    page: int = 1,
    size: int = DEFAULT_SIZE,
    everything: Annotated[Flag, Parameter(name="--all")] = False,
    output: Output = "text",
) -> int:
    from ._list import Part, show_list
    from ._order_list import ORDERS

    part = Part(page, size, everything)
    return act(output, lambda screen: show_list(screen, ORDERS, part))


@described(
    """\
    Look for an order that a failed create may have left.

    What it was asked for with is all that tells it from others, so the answer may be
    that several fit. Ends with 1 unless exactly one does.

    ```console
    $ aurpay order find 20 USD --sent-at 2026-01-31T12:00:00Z
    ```

    Args:
        price: Fiat, as it was asked for.
        currency: Fiat: three letters.
        sent_at: When the last attempt to create it began. ISO 8601, without a zone UTC.
        chain: The chain of a payment; without it, an order for Lightning.
        coin: The coin of a payment.
        known: The id of an order that is accounted for; may be given several times.
        output: Lines for people, or JSON for programs.
    """
)
def find(
    price: str,
    currency: str,
    /,
    *,
    sent_at: str,
    chain: str | None = None,
    coin: str | None = None,
    known: Several = (),
    output: Output = "text",
) -> int:
    from ._order_find import Sought, find_order

    sought = Sought(price, currency, sent_at, chain, coin, known)
    return act(output, lambda screen: find_order(screen, sought))


@described(
    """\
    Show what would be paid back of an order, ask, and pay it back.

    It moves money, and is sent once at most. Without a terminal to ask at, nothing is
    sent unless --yes is given. Ends with 3 if it failed and may be done all the same.

    ```console
    $ aurpay order refund 20240428125247009742
    ```

    Args:
        order_id: The platform's name for it.
        yes: Send it without asking.
        output: Lines for people, or JSON for programs.
    """
)
def refund(order_id: str, /, *, yes: Flag = False, output: Output = "text") -> int:
    from ._order_refund import refund_order

    return act(output, lambda screen: refund_order(screen, order_id, yes=yes))
