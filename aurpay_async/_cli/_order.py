"""The commands about orders, and their arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ._act import act
from ._arguments import Flag, Output  # noqa: TC001 - read by cyclopts


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
    """Create an order, and show it with its checked invoice.

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
    from ._order_create import Asked, Wishes, create_order

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


def show(order_id: str, /, *, output: Output = "text") -> int:
    """Show how an order stands.

    ```console
    $ aurpay order show 20240428125247009742
    $ aurpay order show 20240428125247009742 --output json | jq -r .status
    ```

    Args:
        order_id: The platform's name for it.
        output: Lines for people, or JSON for programs.
    """
    from ._order_show import show_order_by_id

    return act(output, lambda screen: show_order_by_id(screen, order_id))
