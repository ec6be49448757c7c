"""The rich console; imported only when text for people is printed."""

from __future__ import annotations

from rich.console import Console as RichConsole


class Console(RichConsole):
    """A console that leaves a broken pipe to the caller.

    Rich itself handles ``NO_COLOR``, ``TERM`` and other pipes.
    """

    def on_broken_pipe(self) -> None:
        """Raise, so that ``main`` handles it: rich would end the process here."""
        raise  # noqa: PLE0704 - rich calls it while it handles that error
