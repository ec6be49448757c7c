"""A finding of ``aurpay doctor``."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    found: str
    #: How to fix it; empty if nothing is wrong.
    advice: str = ""
