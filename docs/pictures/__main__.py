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
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


async def main() -> None:
    """Drawn ones first: they need no browser."""
    for name, drawn in (("order-life", order_life()), ("architecture", architecture())):
        (IMAGES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    printed = await run_command()
    async with open_browser() as browser:
        for scheme in SCHEMES:
            twin = "" if scheme == "light" else f"-{scheme}"
            await photograph_checkout(browser, scheme, IMAGES / f"checkout{twin}.png")
            path = IMAGES / f"terminal{twin}.png"
            await photograph_terminal(browser, scheme, path, printed)


asyncio.run(main())
