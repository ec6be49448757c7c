"""What the bodies of the control API say, read strictly.

Pure. Raises `InvalidRequestError` everywhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from ..errors import InvalidRequestError
from ._coins import COINS

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_texts(name: str, body: bytes) -> list[str]:
    """A list of texts."""
    texts = _read(body)
    if isinstance(texts, list):
        items = cast("list[object]", texts)
        if all(isinstance(item, str) for item in items):
            return cast("list[str]", items)
    raise InvalidRequestError("must be a JSON list of texts", field=name)


def read_rates(body: bytes) -> Mapping[str, str]:
    """An object of texts: so that nothing rounds them."""
    rates = _read(body)
    if isinstance(rates, dict) and rates:
        held = cast("dict[str, object]", rates)
        if all(isinstance(rate, str) for rate in held.values()):
            return cast("dict[str, str]", held)
    raise InvalidRequestError(
        "must be a JSON object of texts", field="rates", hint='like {"USD": "65000"}'
    )


def read_seconds(body: bytes) -> float:
    """An object with ``advance_s`` and nothing else."""
    move = _read(body)
    if isinstance(move, dict) and [*cast("dict[str, object]", move)] == ["advance_s"]:
        seconds = cast("dict[str, object]", move)["advance_s"]
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return seconds
    raise InvalidRequestError(
        "must be a number", field="advance_s", hint='write {"advance_s": 1800}'
    )


def read_coin(body: bytes) -> str:
    """An object with ``coin`` and nothing else: a name that there is."""
    choice = _read(body)
    if isinstance(choice, dict) and [*cast("dict[str, object]", choice)] == ["coin"]:
        coin = cast("dict[str, object]", choice)["coin"]
        if isinstance(coin, str) and coin in COINS:
            return coin
    raise InvalidRequestError(
        f"must be one of {', '.join(COINS)}",
        field="coin",
        hint='write {"coin": "BTC-LN"}',
    )


def _read(body: bytes) -> object:
    """Some JSON; none, if that is what it is, or what it is not."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
