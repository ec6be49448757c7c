"""The commands about the account, and their arguments."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .._models._arguments import DEFAULT_SIZE
from ._act import act
from ._arguments import (  # noqa: TC001 - read by cyclopts
    Flag,
    InvoiceText,
    Output,
    described,
)


@described(
    """\
    List what came in, went back and went out.

    ```console
    $ aurpay tx list
    $ aurpay tx list --all --output json | jq -r .tx_id
    ```

    Args:
        page: Which page.
        size: How many transactions a page has, at most 1000.
        everything: This page and all that follow, each transaction as it comes.
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
    from ._tx_list import TRANSACTIONS

    part = Part(page, size, everything)
    return act(output, lambda screen: show_list(screen, TRANSACTIONS, part))


@described(
    """\
    Show a Lightning invoice, ask, and have it paid.

    It moves money, and is sent once at most. The invoice is verified first; without a
    terminal to ask at, nothing is sent unless --yes is given. Ends with 3 if it failed
    and may be paid all the same.

    ```console
    $ aurpay withdraw lnbc100u1...
    $ aurpay withdraw lnbc100u1... --amount 0.0001
    $ aurpay withdraw - --amount 0.0001 --yes < invoice.txt
    ```

    Args:
        invoice: The invoice, with or without `lightning:`; - reads standard input.
        amount: What it has to ask for, in BTC: another sum is refused.
        yes: Send it without asking. The invoice is verified all the same, but nobody
            looks at it: better with --amount.
        output: Lines for people, or JSON for programs.
    """
)
def withdraw(
    invoice: InvoiceText,
    /,
    *,
    amount: str | None = None,
    yes: Flag = False,
    output: Output = "text",
) -> int:
    from ._withdraw import withdraw_lightning

    return act(
        output, lambda screen: withdraw_lightning(screen, invoice, amount, yes=yes)
    )
