"""The prefix of an invoice: ``ln``, the network, the amount."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ..errors import InvoiceDecodeError, InvoiceInvalidError

if TYPE_CHECKING:
    from .._network import Network

#: The part of the prefix after ``ln``.
CURRENCIES: Final[dict[str, Network]] = {
    "bc": "mainnet",
    "tb": "testnet",
    "tbs": "signet",
    "bcrt": "regtest",
    "sb": "simnet",
}
PREFIXES: Final[dict[str, str]] = {
    network: f"ln{currency}" for currency, network in CURRENCIES.items()
}

#: Each unit in tenths of a millisatoshi, so that pico-bitcoin is a whole number.
#: BOLT #11: "m (milli): multiply by 0.001", u 0.000001, n 10**-9, p 10**-12.
_TENTHS: Final = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}

#: 21 million bitcoins.
MAX_MSAT: Final = 21_000_000 * 10**11

#: All bitcoins in pico-bitcoin have 20 digits.
_HRP = re.compile(r"ln(bcrt|tbs|bc|tb|sb)(?:([0-9]{1,20})([munp]?))?")
_PREFIX = re.compile(r"ln(?:bcrt|tbs|bc|tb|sb)(?=[0-9]|$)")
_FLAGS = re.ASCII | re.IGNORECASE
#: The prefixes of bcrt and tbs begin with one of these, too.
_BEGINNING = re.compile("ln(?:bc|tb|sb)", _FLAGS)
#: A complete invoice within another string: in a URI, or after blanks.
_INVOICE = re.compile(
    r"ln(?:bcrt|tbs|bc|tb|sb)(?:[0-9]{1,20}[munp]?)?1[02-9ac-hj-np-z]+", _FLAGS
)


def require_prefix(text: str, *, offset: int) -> None:
    """Check that an invoice begins at `offset`, before its checksum is verified.

    In a longer string, such as a BIP 21 URI, the checksum never matches, and an error
    about it would call an intact invoice mistyped.

    Raises:
        InvoiceDecodeError: if there is no network's prefix; if an invoice follows
            later in the string, the message says what to cut off.
    """
    if _BEGINNING.match(text, offset):
        return
    known = ", ".join(sorted(PREFIXES.values()))
    message = f"no Lightning prefix ({known})"
    inside = _INVOICE.search(text, offset)
    if inside:
        start, end = inside.span()
        message += f"; an invoice begins at character {start}: cut off all before it"
        if end < len(text):
            message += f" and all from character {end} on"
    raise InvoiceDecodeError(message, position=offset)


def parse_hrp(hrp: str, *, offset: int, strict: bool) -> tuple[Network, int | None]:
    """Return the network and the millisatoshi of a prefix; ``None`` for zero.

    Raises:
        InvoiceError: if it is not a Lightning prefix, or its amount is malformed, finer
            than a millisatoshi, too large, or, when `strict`, zero or written with
            leading zeros.
    """
    match = _HRP.fullmatch(hrp)
    if match is None:
        raise _malformed_error(hrp, offset)
    currency, digits, unit = match.groups()
    if digits is None:
        return CURRENCIES[currency], None
    # BOLT #11: "if multiplier is p and the last decimal of amount is not 0: MUST fail
    # the payment".
    msat, rest = divmod(int(digits) * _TENTHS[unit], 10)
    if rest:
        raise _amount_error("is finer than a millisatoshi")
    if msat > MAX_MSAT:
        raise _amount_error("is more than all bitcoins")
    # A writer: "MUST encode amount as a positive decimal integer with no leading 0s."
    if strict and digits[0] == "0":
        raise _amount_error("is zero or has leading zeros")
    return CURRENCIES[currency], msat or None


def _malformed_error(hrp: str, offset: int) -> InvoiceDecodeError:
    prefix = _PREFIX.match(hrp)
    if prefix is None:
        known = ", ".join(sorted(PREFIXES.values()))
        return InvoiceDecodeError(
            f"does not begin with a network's prefix ({known})", position=offset
        )
    # "if amount contains a non-digit OR is followed by anything except a multiplier
    # (see table above): MUST fail the payment."
    return InvoiceDecodeError(
        "the amount is not up to 20 digits and one of m, u, n, p",
        position=offset + prefix.end(),
    )


def _amount_error(problem: str) -> InvoiceInvalidError:
    return InvoiceInvalidError(f"the amount {problem}", rule="amount")


def format_amount(msat: int) -> str:
    """Return the shortest form of an amount of millisatoshi.

    BOLT #11: "SHOULD use the shortest representation possible, by using the largest
    multiplier or omitting the multiplier."
    """
    for unit, tenths in _TENTHS.items():
        amount, rest = divmod(10 * msat, tenths)
        if not rest:
            return f"{amount}{unit}"
    raise AssertionError  # unreachable: the last unit divides everything
