"""Asking before money moves.

Whoever is asked sees what is going to happen, and types a whole word: a key that was
hit is no yes. The question is on standard error, and the answer is read before there is
a loop: within one, the first Ctrl-C would not end the asking.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from ._failures import FAILED, USAGE, show_failure

if TYPE_CHECKING:
    from ._screen import Row, Screen

_YES: Final = "yes"


class Plan(NamedTuple):
    """What is going to happen."""

    title: str
    rows: list[Row]
    #: Without its answer.
    question: str


def can_ask() -> bool:
    """Whether there is somebody who sees the question, and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def refuse(screen: Screen, look: str) -> int:
    """Say that nothing happens without somebody to ask; gives the exit code.

    Args:
        screen: Where to say it.
        look: The command that shows what would happen.
    """
    show_failure(
        screen,
        "usage",
        "nothing was sent: there is no terminal to ask at, and no --yes",
        f"Look at it with `{look}`, then give --yes.",
    )
    return USAGE


def consents(screen: Screen, plan: Plan, *, yes: bool) -> bool:
    """Show what is going to happen, and ask whether it may, unless that was said."""
    if yes:
        screen.title(plan.title)
        screen.rows(plan.rows)
        return True
    screen.question(plan.title, plan.rows, f"{plan.question} Type {_YES}: ")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        screen.note("")  # Ctrl-D: the question still waits for the end of its line
    return answer.strip().lower() == _YES


def decline(screen: Screen) -> int:
    """Say that nothing happens, as the answer was no yes; gives the exit code."""
    show_failure(
        screen,
        "declined",
        "nothing was sent: the answer was not yes",
        "Nothing has changed.",
    )
    return FAILED
