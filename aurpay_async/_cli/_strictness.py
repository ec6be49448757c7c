"""Check an invoice against each rule of BOLT #11 that strict decoding applies.

``bolt11.decode`` stops at the first rule that is broken; this shows all of them. Both
use the same parsers, and the tests compare their results for every published invoice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bolt11._fields import parse_bytes, parse_description, parse_features
from ..bolt11._hrp import parse_hrp
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


class RuleCheck(NamedTuple):
    """The result of checking one rule."""

    name: str
    #: A sentence that says how the rule is broken.
    problem: str | None


class _Parts(NamedTuple):
    """The decoded parts of an invoice."""

    text: Bech32
    fields: Fields


def check_rules(text: str) -> Iterator[RuleCheck]:
    """Check every rule, up to the first failure after which nothing can be decoded.

    Args:
        text: An invoice, with or without ``lightning:``.
    """
    scheme = text[: len(_URI_SCHEME)].lower()
    offset = len(_URI_SCHEME) if scheme == _URI_SCHEME else 0
    length = len(text) - offset
    yield RuleCheck("length", _length_problem(length))
    if length > MAX_LENGTH_LENIENT:
        return
    try:
        parts = decode_bech32(text, offset)
    except InvoiceError as error:
        yield RuleCheck("text", str(error))
        return
    yield RuleCheck("text", None)
    yield _check("prefix", lambda: parse_hrp(parts.hrp, offset=offset, strict=True))
    yield _check("fields", lambda: _split(parts, offset, strict=True))
    try:
        fields = _split(parts, offset, strict=False)
    except InvoiceError:
        return
    for name, check in _RULES.items():
        yield _check(name, partial(check, _Parts(parts, fields)))


def _length_problem(length: int) -> str | None:
    if length <= MAX_LENGTH:
        return None
    return f"more than {MAX_LENGTH:,} characters"


def _check(name: str, check: Callable[[], object]) -> RuleCheck:
    try:
        check()
    except InvoiceError as error:
        return RuleCheck(name, str(error))
    return RuleCheck(name, None)


def _check_description(parts: _Parts) -> None:
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


def _check_signature(parts: _Parts) -> str:
    return _payee(
        parts.fields.known.get("n"),
        signing_hash(parts.text),
        _signature(parts.text),
        strict=True,
    )


def _check_required(tag: str, what: str) -> Callable[[_Parts], object]:
    return lambda parts: _required(parts.fields.known.get(tag), what, strict=True)


def _check_number(tag: str) -> Callable[[_Parts], object]:
    return lambda parts: _number(parts.fields.known.get(tag), 0, strict=True)


def _check_fallbacks(parts: _Parts) -> object:
    # The network only decides how an address is encoded.
    return _fallbacks(parts.fields, "mainnet", strict=True)


#: In the order of the output.
_RULES: Final[dict[str, Callable[[_Parts], object]]] = {
    "description": _check_description,
    "payment_hash": _check_required("p", "payment hash"),
    "payment_secret": _check_required("s", "payment secret"),
    "metadata": lambda parts: _hex(parts.fields.known.get("m"), strict=True),
    "expiry": _check_number("x"),
    "min_final_cltv_expiry": _check_number("c"),
    "features": lambda parts: (
        "9" in parts.fields.known
        and parse_features(parts.fields.known["9"], strict=True)
    ),
    "fallbacks": _check_fallbacks,
    "routes": lambda parts: _routes(parts.fields, strict=True),
    "signature": _check_signature,
}
