"""What the README and the pages say: their examples run and print what they show."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aurpay_async

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")


EXAMPLES = [
    pytest.param(match[1], match[2], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, match in enumerate(EXAMPLE.finditer(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
async def test_an_example_runs_and_prints_what_it_shows(
    code: str, printed: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a script if it is one, else as `python -m asyncio` would run it."""
    if "asyncio.run(" in code:
        command = [sys.executable, "-W", "error", "-c", code]
        shown = await asyncio.to_thread(subprocess.check_output, command, text=True)
    else:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        result = eval(compile(code, "<example>", "exec", flags), {})  # noqa: S307
        if inspect.isawaitable(result):
            await result
        shown = capsys.readouterr().out
    assert shown == (printed or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """Within the repository."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_error_is_in_the_catalogue() -> None:
    """Whoever meets one finds it there."""
    page = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    inner = {"AurpayError", "TransportError", "InvoiceError", "Delivery"}
    for name in set(aurpay_async.errors.__all__) - inner:
        assert f"`{name}`" in page, name
