"""What the doctor found, and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """A line of the report."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    found: str
    #: What to do; empty if there is nothing to be done.
    advice: str = ""
