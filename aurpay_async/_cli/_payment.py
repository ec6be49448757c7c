"""The commands about payments in any coin, and their arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ._act import act
from ._arguments import Flag, Output, described  # noqa: TC001 - read by cyclopts


@described(
    """\
    Create an order in a coin that you choose, and show where to pay to.

    Client and credentials are those of the environment, as for `aurpay order create`.
    Ends with 3 if it failed and an order may exist all the same.

    ```console
    $ aurpay payment create 20 USD --chain ETH --coin USDT-ERC20
    $ aurpay payment create 20 USD --chain TRX --coin USDT-TRC20 --watch
    ```

    Args:
        price: Fiat, like 19.99.
        currency: Fiat: three letters, like USD.
        chain: Like ETH. The platform decides which there are.
        coin: Like USDT-ERC20.
        reference: Your own name for what is paid; needs AURPAY_REFERENCE_KEY.
        callback_url: What the platform calls after success.
        timeout_callback: What the platform calls after a timeout.
        succeed_url: Where the payer's browser goes after success.
        timeout_url: Where the payer's browser goes after a timeout.
        stablecoin_at_par: Count a stablecoin as one dollar.
        post_callbacks: Have callbacks by POST, with the order in the body, which
            nothing signs.
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
    chain: str,
    coin: str,
    reference: str | None = None,
    callback_url: str | None = None,
    timeout_callback: str | None = None,
    succeed_url: str | None = None,
    timeout_url: str | None = None,
    stablecoin_at_par: Flag = False,
    post_callbacks: Flag = False,
    watch: Flag = False,
    browser: Annotated[Flag, Parameter(name="--open")] = False,
    output: Output = "text",
) -> int:
    from ._asked import Asked
    from ._payment_create import Coin, Switches, Wishes, create_payment

    asked = Asked(
        price,
        currency,
        reference,
        callback_url,
        timeout_callback,
        succeed_url,
        timeout_url,
    )
    switches = Switches(stablecoin_at_par, post_callbacks)
    wishes = Wishes(watch, browser)
    return act(
        output,
        lambda screen: create_payment(
            screen, asked, Coin(chain, coin), switches, wishes
        ),
    )


@described(
    """\
    Get a checkout page on which the payer chooses the coin.

    The order exists once the payer has chosen. Nothing says which it is but the
    callbacks, so give a reference.

    ```console
    $ aurpay payment url 20 USD --open
    $ aurpay payment url 20 USD --callback-url https://shop.example/paid
    ```

    Args:
        price: Fiat, like 19.99.
        currency: Fiat: three letters, like USD.
        reference: Your own name for what is paid; needs AURPAY_REFERENCE_KEY.
        callback_url: What the platform calls after success.
        timeout_callback: What the platform calls after a timeout.
        succeed_url: Where the payer's browser goes after success.
        timeout_url: Where the payer's browser goes after a timeout.
        stablecoin_at_par: Count a stablecoin as one dollar.
        post_callbacks: Have callbacks by POST, with the order in the body, which
            nothing signs.
        qr: Show the page's address as a QR code.
        browser: Open the page in a browser.
        output: Lines for people, or JSON for programs.
    """
)
def url(
    price: str,
    currency: str,
    /,
    *,
    reference: str | None = None,
    callback_url: str | None = None,
    timeout_callback: str | None = None,
    succeed_url: str | None = None,
    timeout_url: str | None = None,
    stablecoin_at_par: Flag = False,
    post_callbacks: Flag = False,
    qr: Flag = False,
    browser: Annotated[Flag, Parameter(name="--open")] = False,
    output: Output = "text",
) -> int:
    from ._asked import Asked
    from ._payment_create import Switches
    from ._payment_url import Wishes, create_url

    asked = Asked(
        price,
        currency,
        reference,
        callback_url,
        timeout_callback,
        succeed_url,
        timeout_url,
    )
    switches = Switches(stablecoin_at_par, post_callbacks)
    wishes = Wishes(qr, browser)
    return act(output, lambda screen: create_url(screen, asked, switches, wishes))
