"""Each rule of BOLT #11 on its own, as ``bolt11.decode`` applies them when strict.

``decode`` ends with the first rule that is broken; whoever wonders why an invoice is
refused wants to see all of them. The checks are made of the same readers, and the tests
hold the sum of them against ``decode`` for every published invoice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bolt11 import _hrp
from ..bolt11._fields import parse_bytes, parse_description, parse_features
from ..bolt11._invoice import (
    MAX_LENGTH,
    MAX_LENGTH_LENIENT,
    _fallbacks,
    _hex,
    _number,
    _payee,
    _required,
    _routes,
    _signature,
    _split,
    decode_bech32,
    signing_hash,
)
from ..errors import InvoiceError, InvoiceInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..bolt11._bech32 import Bech32
    from ..bolt11._fields import Fields

_URI_SCHEME: Final = "lightning:"


class Check(NamedTuple):
    """A rule, and how an invoice breaks it."""

    name: str
    problem: str | None


class _Parts(NamedTuple):
    """What the checks look at."""

    text: Bech32
    fields: Fields


def check_strictly(text: str) -> Iterator[Check]:
    """Every rule, up to one without which nothing can be read.

    Args:
        text: An invoice, with or without ``lightning:``.
    """
    scheme = text[: len(_URI_SCHEME)].lower()
    offset = len(_URI_SCHEME) if scheme == _URI_SCHEME else 0
    length = len(text) - offset
    yield Check("length", _length_problem(length))
    if length > MAX_LENGTH_LENIENT:
        return
    try:
        parts = decode_bech32(text, offset)
    except InvoiceError as error:
        yield Check("text", str(error))
        return
    yield Check("text", None)
    yield _made("prefix", lambda: _hrp.parse_hrp(parts.hrp, offset=offset, strict=True))
    yield _made("fields", lambda: _split(parts, offset, strict=True))
    try:
        fields = _split(parts, offset, strict=False)
    except InvoiceError:
        return
    for name, check in _CHECKS.items():
        yield _made(name, partial(check, _Parts(parts, fields)))


def _length_problem(length: int) -> str | None:
    if length <= MAX_LENGTH:
        return None
    return f"more than {MAX_LENGTH:,} characters"


def _made(name: str, check: Callable[[], object]) -> Check:
    try:
        check()
    except InvoiceError as error:
        return Check(name, str(error))
    return Check(name, None)


def _describe(parts: _Parts) -> None:
    known = parts.fields.known
    if ("d" in known) == ("h" in known):
        problem = "both" if "d" in known else "neither"
        raise InvoiceInvalidError(
            f"{problem} a description and a description hash", rule="description"
        )
    if "d" in known:
        parse_description(known["d"], strict=True)
    else:
        parse_bytes(known["h"], strict=True)


def _pay(parts: _Parts) -> str:
    return _payee(
        parts.fields.known.get("n"),
        signing_hash(parts.text),
        _signature(parts.text),
        strict=True,
    )


def _require(tag: str, what: str) -> Callable[[_Parts], object]:
    return lambda parts: _required(parts.fields.known.get(tag), what, strict=True)


def _count(tag: str) -> Callable[[_Parts], object]:
    return lambda parts: _number(parts.fields.known.get(tag), 0, strict=True)


def _fall_back(parts: _Parts) -> object:
    # The network only chooses how an address is written.
    return _fallbacks(parts.fields, "mainnet", strict=True)


#: In the order in which they are shown.
_CHECKS: Final[dict[str, Callable[[_Parts], object]]] = {
    "description": _describe,
    "payment_hash": _require("p", "payment hash"),
    "payment_secret": _require("s", "payment secret"),
    "metadata": lambda parts: _hex(parts.fields.known.get("m"), strict=True),
    "expiry": _count("x"),
    "min_final_cltv_expiry": _count("c"),
    "features": lambda parts: (
        "9" in parts.fields.known
        and parse_features(parts.fields.known["9"], strict=True)
    ),
    "fallbacks": _fall_back,
    "routes": lambda parts: _routes(parts.fields, strict=True),
    "signature": _pay,
}
