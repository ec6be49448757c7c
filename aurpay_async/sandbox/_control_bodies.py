"""Parse the bodies of the control API, strictly.

Pure. Each function raises `InvalidRequestError`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from ..errors import InvalidRequestError
from ._coins import COINS

if TYPE_CHECKING:
    from collections.abc import Mapping


def parse_strings(name: str, body: bytes) -> list[str]:
    """Parse a list of strings."""
    strings = _parse_json(body)
    if isinstance(strings, list):
        items = cast("list[object]", strings)
        if all(isinstance(item, str) for item in items):
            return cast("list[str]", items)
    raise InvalidRequestError("must be a JSON list of strings", field=name)


def parse_rates(body: bytes) -> Mapping[str, str]:
    """Parse an object of strings, because JSON numbers could be rounded."""
    rates = _parse_json(body)
    if isinstance(rates, dict) and rates:
        members = cast("dict[str, object]", rates)
        if all(isinstance(rate, str) for rate in members.values()):
            return cast("dict[str, str]", members)
    raise InvalidRequestError(
        "must be a JSON object of strings", field="rates", hint='like {"USD": "65000"}'
    )


def parse_seconds(body: bytes) -> float:
    """Parse an object with the only member ``advance_s``."""
    step = _parse_json(body)
    if isinstance(step, dict) and [*cast("dict[str, object]", step)] == ["advance_s"]:
        seconds = cast("dict[str, object]", step)["advance_s"]
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return seconds
    raise InvalidRequestError(
        "must be a number", field="advance_s", hint='write {"advance_s": 1800}'
    )


def parse_coin(body: bytes) -> str:
    """Parse an object with the only member ``coin``, the name of a coin."""
    choice = _parse_json(body)
    if isinstance(choice, dict) and [*cast("dict[str, object]", choice)] == ["coin"]:
        coin = cast("dict[str, object]", choice)["coin"]
        if isinstance(coin, str) and coin in COINS:
            return coin
    raise InvalidRequestError(
        f"must be one of {', '.join(COINS)}",
        field="coin",
        hint='write {"coin": "BTC-LN"}',
    )


def _parse_json(body: bytes) -> object:
    """Return the JSON value; ``None`` for null and for an invalid body."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
