"""Commands and their arguments; what they do is in a file of its own each."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.text import Text

from ..errors import AurpayError
from ..sandbox import Amounts  # noqa: TC001 - read by cyclopts
from ._demo import run_demo
from ._sandbox import serve

if TYPE_CHECKING:
    from collections.abc import Coroutine

app = App(
    name="aurpay",
    help="Lightning payments through Aurpay, tried out on this machine.",
    version_flags=["--version"],
)


@app.command
def demo() -> None:
    """Start a sandbox, create an order, show what was checked, and clean up.

    Needs no account and no network, and moves no money.
    """
    _run(run_demo(Console()))


@app.command
def sandbox(
    *,
    port: Annotated[
        int,
        Parameter(
            help="Where to listen; 0 takes a free port.",
            validator=validators.Number(gte=0, lte=65535),
        ),
    ] = 0,
    amounts: Annotated[
        Amounts, Parameter(help="How answers write BTC amounts: Aurpay does both.")
    ] = "string",
) -> None:
    """Serve a local Aurpay on loopback until Ctrl-C."""
    _run(serve(Console(), port=port, amounts=amounts))


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(130)  # what shells give to programs that Ctrl-C ended
    except (AurpayError, OSError) as error:
        text = Text(f"{type(error).__name__}: {error}")
        Console(stderr=True).print(text, soft_wrap=True)
        sys.exit(1)
