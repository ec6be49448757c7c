"""Write all pictures to ``docs/images``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._browser import open_browser
from ._checkout import capture_checkout
from ._drawings import DRAWINGS
from ._terminal import capture_terminal, run_command

if TYPE_CHECKING:
    from ._browser import Scheme

IMAGES: Final = Path(__file__).parents[1] / "images"
#: Arguments of the command, by the name of the picture.
COMMANDS: Final = {"demo": "demo", "terminal": "order create 20 USD --qr"}
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")


async def main() -> None:
    """Write the SVG files, and then the screenshots."""
    for name, draw in DRAWINGS.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")
    printed = {
        name: await run_command(arguments) for name, arguments in COMMANDS.items()
    }
    async with open_browser() as browser:
        for scheme in SCHEMES:
            suffix = "" if scheme == "light" else f"-{scheme}"
            await capture_checkout(browser, scheme, IMAGES / f"checkout{suffix}.png")
            for name, text in printed.items():
                path = IMAGES / f"{name}{suffix}.png"
                await capture_terminal(browser, scheme, path, text)


asyncio.run(main())
