"""Ask for confirmation before money moves.

The user sees what will happen and types a whole word, so that a key pressed by accident
confirms nothing. The question is on standard error. The reply is read before an event
loop starts: while a loop runs, the first Ctrl-C does not end a prompt.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from ._failures import FAILED, USAGE, show_failure

if TYPE_CHECKING:
    from ._screen import Output, Row

_YES: Final = "yes"


class Plan(NamedTuple):
    """A description of what will happen, shown before the user confirms it."""

    title: str
    rows: list[Row]
    #: The question without the word to type.
    question: str


def require_terminal(output: Output, command: str) -> int:
    """Return 0 if the user can be asked; else report that, and return the exit code.

    Args:
        output: Where to report it.
        command: The command that shows what would happen.
    """
    if sys.stdin.isatty() and sys.stderr.isatty():
        return 0
    show_failure(
        output,
        "usage",
        "nothing was sent: there is no terminal to ask at, and no --yes",
        f"Look at it with `{command}`, then give --yes.",
    )
    return USAGE


def confirm(output: Output, plan: Plan, *, yes: bool) -> bool:
    """Show what will happen, and return whether the user or ``--yes`` allows it."""
    if yes:
        output.rows(plan.rows, plan.title)
        return True
    output.question(plan.title, plan.rows, f"{plan.question} Type {_YES}: ")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        output.info("")  # after Ctrl-D the cursor is still behind the question
    return answer.strip().lower() == _YES


def abort(output: Output) -> int:
    """Report that nothing was sent without a confirmation; return the exit code."""
    show_failure(
        output,
        "declined",
        "nothing was sent: the answer was not yes",
        "Nothing has changed.",
    )
    return FAILED
