"""Where answers go: lines for people, or JSON for programs.

A command says both, and the screen leaves out what was not asked for. All text passes
through `plain` here, so that nothing from outside is more than characters.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, final

from ._plain import plain, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from rich.text import Text

    from ._arguments import Format
    from ._rich import Console

Verdict = Literal["", "ok", "warning", "problem"]

#: How often the sign moves that something is going on.
_REFRESH_PER_S: Final = 12.5

#: A text and its style.
_Part = tuple[str, str]

_STYLES: Final[dict[Verdict, str]] = {
    "": "",
    "ok": "bold green",
    "warning": "bold yellow",
    "problem": "bold red",
}
#: How each is marked; and how where the encoding has no such signs, as on Windows.
_MARKS: Final[dict[Verdict, str]] = {
    "": "    ",
    "ok": "  ✓ ",
    "warning": "  ! ",
    "problem": "  ✗ ",
}
_WORDS: Final[dict[Verdict, str]] = {
    "": "         ",
    "ok": "  ok     ",
    "warning": "  !      ",
    "problem": "  FAILED ",
}


class Row(NamedTuple):
    """A line of a list: what it is called, and what it says."""

    name: str
    value: str
    verdict: Verdict = ""


@final
class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, output: Format) -> None:
        self._is_json = output == "json"
        self._is_waiting = False

    def get_ready(self) -> None:
        """Load what prints for people, which takes a while: for another thread.

        Who serves others begins with it when they are served already.
        """
        if not self._is_json:
            _ = self._answers

    def record(self, kind: str, /, **members: object) -> None:
        """One JSON object on a line of its own, whose ``type`` is `kind`."""
        if not self._is_json:
            return
        line = to_json({"type": kind, **members})
        if self._shares_a_terminal():
            self._errors.print(_text((line, "")), soft_wrap=True)
        else:
            print(line, flush=True)

    def title(self, text: str) -> None:
        """What the next lines are about."""
        self._print(("  ", ""), (text, "bold cyan"))

    def line(self, text: str = "", style: str = "") -> None:
        """A line of its own, which is not broken: it may be copied."""
        self._print((text, style))

    def step(self, text: str, verdict: Verdict = "ok") -> None:
        """Something that was done."""
        if not self._is_json:
            self._print(_mark(verdict, self._target), (text, ""))

    def rows(self, rows: Iterable[Row]) -> None:
        """A list, its names below each other, and an empty line."""
        if not self._is_json:
            for parts in _columns([*rows], self._target):
                self._print(*parts)
            self.line()

    def cells(self, cells: Iterable[tuple[str, int]], style: str = "") -> None:
        """A line of a table: texts, and how wide their columns are at least."""
        padded = (f"{plain(text):{width}}" for text, width in cells)
        self._print(("  ", ""), ("  ".join(padded).rstrip(), style))

    def code(self, text: str) -> None:
        """A QR code, where it can be scanned."""
        if self._is_json:
            return
        from ._qr import BLOCKS, qr_lines

        problem = _problem_with_codes(self._answers, BLOCKS)
        if problem is not None:
            self.line(f"  no QR code here: {problem}")
            self.line()
            return
        for line in qr_lines(text):
            self._print(("  ", ""), (line, "white on black"))
        self.line()

    def note(self, text: str) -> None:
        """Something that is no part of the answer: on standard error."""
        self._errors.print(_text((text, "")), soft_wrap=True)

    def complain(self, text: str, rows: Iterable[Row]) -> None:
        """What went wrong: on standard error; programs have a record of it."""
        if self._is_json:
            return
        head = _mark("problem", self._errors), (text, "")
        for parts in [head, *_columns([*rows], self._errors)]:
            self._errors.print(_text(*parts), soft_wrap=True)

    def question(self, title: str, rows: Iterable[Row], text: str) -> None:
        """What somebody has to decide: on standard error, whoever reads the answers.

        Args:
            title: What it is about.
            rows: What has to be known for it.
            text: The question; the answer is typed behind it.
        """
        head = ("  ", ""), (title, "bold cyan")
        for parts in [head, *_columns([*rows], self._errors)]:
            self._errors.print(_text(*parts), soft_wrap=True)
        self._errors.print(_text(("  ", ""), (text, "bold")), end="", soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Generator[Callable[[str], None], None, None]:
        """Show on a terminal that something is going on, and let it say what."""
        if not self._errors.is_terminal:
            yield _tell_nobody
            return
        from rich.live import Live
        from rich.spinner import Spinner

        # The one spinner that every terminal can show.
        spinner = Spinner("line", _text((text, "")), style="status.spinner")
        # Rich would take standard output as well: answers would not get into a pipe.
        live = Live(
            spinner,
            console=self._errors,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with live:
            self._is_waiting = True
            try:
                yield lambda news: spinner.update(text=_text((news, "")))
            finally:
                self._is_waiting = False

    def _print(self, *parts: _Part) -> None:
        if not self._is_json:
            self._target.print(_text(*parts), soft_wrap=True)

    @property
    def _target(self) -> Console:
        return self._errors if self._shares_a_terminal() else self._answers

    def _shares_a_terminal(self) -> bool:
        """Whether answers go where the sign is that something is going on.

        Then who shows that sign has to print them, as nobody else can move it away.
        """
        return self._is_waiting and sys.stdout.isatty()

    @cached_property
    def _answers(self) -> Console:
        from ._rich import Console

        return Console()

    @cached_property
    def _errors(self) -> Console:
        from ._rich import Console

        return Console(stderr=True)


def _columns(rows: list[Row], console: Console) -> Iterator[tuple[_Part, _Part, _Part]]:
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        mark = _mark(row.verdict, console)
        yield mark, (f"{row.name:{width}}  ", "dim"), (row.value, "")


def _mark(verdict: Verdict, console: Console) -> _Part:
    signs = _MARKS if _has("".join(_MARKS.values()), console) else _WORDS
    return signs[verdict], _STYLES[verdict]


def _has(characters: str, console: Console) -> bool:
    """Whether the encoding of a terminal or a pipe has some characters."""
    try:
        characters.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _problem_with_codes(console: Console, blocks: str) -> str | None:
    """Why a QR code could not be scanned.

    Its light modules are drawn, and its dark ones are what is behind them: on a light
    terminal, it is inverted unless both colours are set, and scanners do not read it.
    """
    if not _has(blocks, console):
        return f"the encoding {console.encoding} has no block characters"
    if console.color_system is None or console.no_color:
        return "it needs a terminal with colours (NO_COLOR, TERM)"
    return None


def _text(*parts: _Part) -> Text:
    from rich.text import Text

    return Text.assemble(*((plain(text), style) for text, style in parts))


def _tell_nobody(_: str) -> None:
    """Where nobody looks."""
