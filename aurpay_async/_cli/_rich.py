"""The terminal, as rich sees it; loaded where something is shown to people."""

from __future__ import annotations

from rich.console import Console as RichConsole


class Console(RichConsole):
    """Prints what it is given as it is: no markup, no guessing of colours.

    ``NO_COLOR``, ``TERM`` and pipes are rich's business.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Leave it to ``main``: rich would end the process in the middle of a task."""
        raise  # noqa: PLE0704 - rich calls it where that error is being handled
