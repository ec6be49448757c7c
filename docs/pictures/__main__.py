"""Make all pictures, into ``docs/images``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._architecture import architecture
from ._browser import open_browser
from ._checkout import photograph_checkout
from ._order_life import order_life
from ._terminal import photograph_terminal, run_command

if TYPE_CHECKING:
    from ._browser import Scheme

IMAGES: Final = Path(__file__).parents[1] / "images"
#: What is run in a terminal, by the name of its picture.
COMMANDS: Final = {"demo": "demo", "terminal": "order create 20 USD --qr"}
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


async def main() -> None:
    """Drawn ones first: they need no browser."""
    for name, drawn in (("order-life", order_life()), ("architecture", architecture())):
        (IMAGES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    printed = {name: await run_command(what) for name, what in COMMANDS.items()}
    async with open_browser() as browser:
        for scheme in SCHEMES:
            twin = "" if scheme == "light" else f"-{scheme}"
            await photograph_checkout(browser, scheme, IMAGES / f"checkout{twin}.png")
            for name, text in printed.items():
                path = IMAGES / f"{name}{twin}.png"
                await photograph_terminal(browser, scheme, path, text)


asyncio.run(main())
