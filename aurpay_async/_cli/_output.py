"""Print text or JSON.

A command passes both, and `Output` ignores the one that was not requested. All text is
escaped here, so that text from outside cannot control the terminal.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial
from io import StringIO
from select import select
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import attrs
from cyclopts import Parameter

from .._core.json import dump_json
from .._core.money import EXACT
from .._core.urls import escape_control
from ..bolt11._qr import make_code

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from rich.console import Console

#: A shorter value is not a secret, and replacing it would damage ordinary words.
_MIN_SECRET: Final = 8
_STARS: Final = "**********"


def redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= _MIN_SECRET:
            text = text.replace(secret, _STARS)
    return text


#: User and password in a URL, also if the password has unescaped characters.
_PASSWORD: Final = re.compile(r"(?<=://)[^\s'\"]*@|(?<=password=)[^\s'\"&]+")


def without_passwords(text: str) -> str:
    """Return `text` with stars in place of the user and the password of each URL."""
    return _PASSWORD.sub(lambda found: _STARS + "@" * found[0].endswith("@"), text)


def to_json(members: Mapping[str, object]) -> str:
    """Return one line of JSON in printable ASCII; decimals are strings, to be exact."""
    # The json module escapes everything that is not ASCII, but leaves DEL as it is.
    return json.dumps(members, default=_json_value).replace("\x7f", "\\u007f")


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return dump_json(value) if isinstance(value, Decimal) else str(value)


_MSAT_PER_SATOSHI: Final = 1000
_UNITS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60))
#: From two of a unit on, smaller units are left out.
_MIN_COUNT: Final = 2


def moment(time: datetime | None) -> str:
    return "unknown" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time, or raise ValueError; without a zone it is UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= _MIN_COUNT * length:
            return f"{seconds // length:,.0f} {unit}s"
    count = f"{seconds:.0f}"
    return f"{count} second" if count == "1" else f"{count} seconds"


def when(time: datetime, now: datetime, ahead: str = "in {}") -> str:
    """Return a time, and how long ago it was or how far ahead it is."""
    seconds = (time - now).total_seconds()
    far = ahead.format(span(seconds)) if seconds >= 0 else f"{span(-seconds)} ago"
    return f"{moment(time)} ({far})"


def until(time: datetime, now: datetime) -> str:
    """Return the time at which something ends, and how much of it is left."""
    return when(time, now, "{} left")


def countdown(seconds: float) -> str:
    """Return the minutes and seconds that are left, at least 0:00."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02}"


def msat_to_btc(msat: int) -> Decimal:
    """Convert millisatoshi to BTC exactly, without trailing zeros."""
    return Decimal(msat).scaleb(-11, EXACT).normalize(EXACT)


def amount(msat: int) -> str:
    """Return an amount in BTC and, if it is whole, in satoshi."""
    btc = msat_to_btc(msat)
    satoshi, rest = divmod(msat, _MSAT_PER_SATOSHI)
    return f"{btc:f} BTC ({msat:,} msat)" if rest else f"{btc:f} BTC ({satoshi:,} sat)"


async def open_page(output: Output, pay_url: str | None) -> None:
    """Open a checkout page if there is one, and report that on standard error."""
    import webbrowser

    if pay_url is None:
        output.info("The response has no checkout page to open.")
    elif await asyncio.to_thread(webbrowser.open, pay_url):
        output.info(f"Opened {pay_url} in the browser.")
    else:
        output.info(f"No browser could be started: open {pay_url} yourself.")


Verdict = Literal["", "ok", "warning", "problem"]

#: The style of each verdict, its mark, and a word where the encoding lacks the mark, as
#: in many Windows consoles.
_VERDICTS: Final[dict[Verdict, tuple[str, str, str]]] = {
    "": ("", "    ", "         "),
    "ok": ("bold green", "  ✓ ", "  ok     "),
    "warning": ("bold yellow", "  ! ", "  !      "),
    "problem": ("bold red", "  ✗ ", "  FAILED "),
}

#: A string and its style.
_Part = tuple[str, str]
_REFRESH_PER_S: Final = 12.5
_PIPE_POLL_S: Final = 0.05
#: Light modules around a QR code.
_QUIET_ZONE: Final = 2


class Row(NamedTuple):
    name: str
    value: str
    verdict: Verdict = ""


OutputFormat = Literal["text", "json"]


@Parameter(name="*")
@attrs.define(eq=False, slots=False)
class Output:
    """Standard output and standard error of one command."""

    output_format: Annotated[
        OutputFormat,
        Parameter(
            name=["--output", "-o"], help="Text for people, or JSON for programs."
        ),
    ] = "text"
    _is_waiting: bool = attrs.field(default=False, init=False)

    def load_console(self) -> None:
        """Import rich if it is needed, which is slow: a server does it in a thread."""
        if self.output_format == "text":
            _ = self._consoles

    async def wait_until_writable(self) -> None:
        """Wait until a pipe has room for a line: a full one would stop the server."""
        while not _is_writable():  # noqa: ASYNC110 - a pipe has no event
            await asyncio.sleep(_PIPE_POLL_S)

    def json(self, kind: str, /, **members: object) -> None:
        """Print one JSON object on one line, with `kind` as its ``type``."""
        if self.output_format == "text":
            return
        line = to_json({"type": kind, **members})
        if self._is_waiting and sys.stdout.isatty():
            self._print((line, ""), stderr=True)
        else:
            print(line, flush=True)

    def title(self, text: str, *, stderr: bool = False) -> None:
        self._print(("  ", ""), (text, "bold cyan"), stderr=stderr)

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line without wrapping it, so that it can be copied."""
        self._print((text, style))

    def status(self, text: str, verdict: Verdict = "ok") -> None:
        self._print((text, ""), verdict=verdict)

    def rows(
        self, rows: Iterable[Row], title: str = "", *, stderr: bool = False
    ) -> None:
        """Print rows with aligned values; on standard output also an empty line."""
        if self.output_format == "json" and not stderr:
            return
        if title:
            self.title(title, stderr=stderr)
        shown = [*rows]
        width = max((len(row.name) for row in shown), default=0)
        for name, value, verdict in shown:
            name_part = (f"{name:{width}}  ", "dim")
            self._print(name_part, (value, ""), verdict=verdict, stderr=stderr)
        if not stderr:
            self.line()

    def cells(self, cells: Iterable[tuple[str, int]], style: str = "") -> None:
        """Print a line of a table, given its cells and their least widths."""
        padded = (f"{escape_control(text):{width}}" for text, width in cells)
        self._print(("  ", ""), ("  ".join(padded).rstrip(), style))

    def qr_code(self, *segments: str) -> None:
        """Print a QR code, or the reason why it could not be scanned."""
        if self.output_format == "json":
            return
        console = self._consoles[0]
        problem = _qr_problem(console)
        try:
            lines = [] if problem else _qr_lines(*segments)
        except ValueError:  # of segno
            lines, problem = [], "it would be too long for one; copy the text above"
        if lines and len(lines[0]) + 2 > console.width:
            problem = f"it needs a terminal of {len(lines[0]) + 2} columns"
            lines = []
        if problem:
            self.line(f"  no QR code here: {problem}")
        for line in lines:
            self._print(("  ", ""), (line, "white on black"))
        self.line()

    def info(self, text: str) -> None:
        """Print a remark that is not part of the answer, on standard error."""
        self._print((text, ""), stderr=True)

    def error(self, text: str, rows: Iterable[Row]) -> None:
        """Print a failure on standard error; JSON has an object for it instead."""
        if self.output_format == "json":
            return
        self._print((text, ""), verdict="problem", stderr=True)
        self.rows(rows, stderr=True)

    def question(self, title: str, rows: Iterable[Row], text: str) -> None:
        """Print a question on standard error, also if the answers are JSON."""
        self.rows(rows, title, stderr=True)
        self._print(("  ", ""), (text, "bold"), stderr=True, end="")

    @contextmanager
    def waiting(self, text: str) -> Generator[Callable[[str], None], None, None]:
        """Show a spinner on a terminal, and yield a function that changes its text."""
        errors = self._consoles[1]
        if not errors.is_terminal:
            yield lambda _: None
            return
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        # "line" is the spinner that every encoding has.
        spinner = Spinner("line", Text(escape_control(text)), style="status.spinner")
        # If rich redirected standard output, answers would not reach a pipe.
        live = Live(
            spinner,
            console=errors,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with live:
            self._is_waiting = True
            try:
                yield lambda said: spinner.update(text=Text(escape_control(said)))
            finally:
                self._is_waiting = False

    def _print(
        self,
        *parts: _Part,
        verdict: Verdict | None = None,
        stderr: bool = False,
        end: str = "\n",
    ) -> None:
        if self.output_format == "json" and not stderr:
            return
        from rich.text import Text

        # A line on the terminal that shows the spinner goes through the spinner's
        # console, because only that one can move the spinner out of the way.
        stderr = stderr or (self._is_waiting and sys.stdout.isatty())
        console = self._consoles[stderr]
        if verdict is not None:
            style, mark, word = _VERDICTS[verdict]
            sign = mark if console.encoding.startswith("utf") else word
            parts = ((sign, style), *parts)
        safe = [(escape_control(text), style) for text, style in parts]
        if console.color_system is None:  # rich would take 20 times as long
            plain = "".join(text for text, _ in safe)
            print(plain, end=end, file=console.file, flush=True)
        else:
            console.print(Text.assemble(*safe), soft_wrap=True, end=end)

    @cached_property
    def _consoles(self) -> tuple[Console, Console]:
        """Return the consoles of standard output and of standard error."""
        # If segno is missing, that is reported at once.
        import segno  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from rich.console import Console

        # Text is printed unchanged: no markup, no emoji codes, no highlighting.
        open_console = partial(Console, markup=False, emoji=False, highlight=False)
        return open_console(), open_console(stderr=True)


#: The default in the signatures of commands; `run_command` passes a new one.
TEXT: Final = Output()


def _is_writable() -> bool:
    try:
        return bool(select([], [sys.stdout], [], 0)[1])
    except (OSError, ValueError):  # no file, or Windows, which selects sockets only
        return True


def _qr_problem(console: Console) -> str | None:
    """Return why a QR code could not be scanned, or None.

    Only its light modules are drawn. On a light terminal it would be inverted unless
    both colours are set, and scanners do not read an inverted code.
    """
    try:
        "█▀▄".encode(console.encoding)
    except UnicodeEncodeError:
        return f"the encoding {console.encoding} has no block characters"
    if console.color_system is None or console.no_color:
        return "it needs a terminal with colours (NO_COLOR, TERM)"
    return None


def _qr_lines(*segments: str) -> list[str]:
    """Return a QR code, light on dark, with two rows of modules per line."""
    drawn = StringIO()
    make_code(*segments).terminal(drawn, border=_QUIET_ZONE, compact=True)
    return drawn.getvalue().splitlines()
