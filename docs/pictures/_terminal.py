"""Run the command, and take a screenshot of its output."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from aurpay_async.sandbox import Sandbox

from ._browser import open_page, save

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

    from ._browser import Scheme

_COLUMNS: Final = 80

#: Background, text, and the eight colours of a terminal.
_THEMES: Final = {
    "light": TerminalTheme(
        (255, 255, 255),
        (27, 26, 35),
        [
            (0, 0, 0),
            (190, 30, 45),
            (24, 122, 62),
            (150, 100, 0),
            (60, 60, 200),
            (140, 50, 160),
            (0, 105, 125),
            (255, 255, 255),
        ],
    ),
    "dark": TerminalTheme(
        (21, 20, 27),
        (240, 239, 245),
        [
            (0, 0, 0),
            (255, 110, 120),
            (79, 192, 124),
            (230, 180, 80),
            (150, 150, 255),
            (220, 140, 240),
            (90, 200, 220),
            (255, 255, 255),
        ],
    ),
}

_PAGE: Final = """\
<!doctype html><meta charset="utf-8"><style>
body{{margin:0;background:{background}}}
pre{{margin:0;padding:14px 20px;display:inline-block;color:{foreground};
font:13px/16px ui-monospace,"DejaVu Sans Mono",monospace;
font-variant-ligatures:none}}
i{{display:inline-block;width:1ch;height:16px;vertical-align:top}}
span{{display:inline-block;height:16px;vertical-align:top}}
.upper{{background:linear-gradient(currentColor 8px,transparent 8px)}}
.lower{{background:linear-gradient(transparent 8px,currentColor 8px)}}
.both{{background:currentColor}}
{stylesheet}</style><pre>{code}</pre>"""

#: Fonts leave gaps between these, which no terminal does.
_BLOCKS: Final = {"▀": "upper", "▄": "lower", "█": "both"}


async def run_command(arguments: str) -> str:
    """Return the output of ``aurpay`` with its escape sequences."""
    settings = {**os.environ, "COLUMNS": str(_COLUMNS), "FORCE_COLOR": "1"}
    settings.pop("NO_COLOR", None)
    async with Sandbox() as sandbox:
        settings |= {
            "AURPAY_BASE_URL": sandbox.base_url,
            "AURPAY_NETWORK": "regtest",
            "AURPAY_API_KEY": "any",
            "TTY_INTERACTIVE": "0",
        }
        command = (sys.executable, "-m", "aurpay_async", *arguments.split())
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=settings
        )
        printed, _ = await process.communicate()
    output = printed.decode().strip("\n")  # the first line keeps its indentation
    return f"$ aurpay {arguments}\n\n{output}"


async def capture_terminal(
    browser: Browser, scheme: Scheme, path: Path, printed: str
) -> None:
    """Save the output in one colour scheme."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(printed), soft_wrap=False)
    content = console.export_html(theme=_THEMES[scheme], code_format=_PAGE)
    for block, name in _BLOCKS.items():
        content = content.replace(block, f'<i class="{name}"></i>')
    async with open_page(browser, scheme, 800, 600) as page:
        await page.set_content(content)
        save(await page.locator("pre").screenshot(), path)
