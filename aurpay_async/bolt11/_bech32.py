"""Bech32 characters and checksum, and the human-readable prefix with its amount.

A character of the data part encodes five bits. Translated to Python's own base-32
digits, a whole invoice becomes one integer with a single ``int(digits, 32)``, and a
field becomes one with ``int(digits[i:j], 32)``.

The checksum is the remainder of a polynomial division, so it is linear: each of its
30 bits is the parity of some subset of the input's bits. `_masks` holds these subsets
as integers, and verifying costs 30 ANDs and bit counts instead of a step per
character. (The reference loop takes about twenty times as long.)
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from .._core.money import MAX_MSAT
from ..errors import InvoiceDecodeError, InvoiceInvalidError

if TYPE_CHECKING:
    from .._core.money import Network


CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
#: Ten bits at a time are twice as fast as five.
_PAIRS: Final = [high + low for high in DIGITS for low in DIGITS]

#: Data characters to base-32 digits; any other byte to one that int() rejects.
_NO_DIGIT = b"!"
_DIGIT_BY_BYTE = bytes(
    ord(DIGITS[CHARSET.index(chr(byte))] if chr(byte) in CHARSET else _NO_DIGIT)
    for byte in range(256)
)
_TO_CHARS = str.maketrans(DIGITS, CHARSET)

#: The two halves of a prefix character, each as a base-32 digit.
_HIGH = bytes(ord(DIGITS[byte >> 5]) for byte in range(256))
_LOW = bytes(ord(DIGITS[byte & 31]) for byte in range(256))

CHECKSUM_LENGTH: Final = 6
_BECH32_CONSTANT: Final = 1
_BECH32M_CONSTANT: Final = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)

#: Modulo the generator, x**124 is x**36 + x**35 + x**27 + x**17 + x**5 + 1, the
#: shortest such sum that a search found: the part above 124 characters is added to the
#: part below.
_FOLD_WORDS = 124
_FOLD_MASK = (1 << 5 * _FOLD_WORDS) - 1


class Bech32(NamedTuple):
    """A string in lower case with valid characters and checksum."""

    text: str
    hrp: str
    #: The data part without its checksum, as digits for ``int(digits, 32)``.
    digits: str
    #: The same as a number.
    value: int


def decode(text: str, *, offset: int = 0) -> Bech32:
    """Split a bech32 string and verify its checksum; its length is not checked.

    Args:
        text: The string to decode.
        offset: Added to every position in an error.

    Raises:
        InvoiceDecodeError: with the position of the first invalid character.
    """
    lower = text.lower()
    if not text.isascii() or (text != lower and text != text.upper()):
        raise _alphabet_error(text, offset)
    hrp, separator, data = lower.rpartition("1")
    if not separator:
        raise InvoiceDecodeError("no separator '1'", position=offset + len(text))
    if not hrp:
        raise InvoiceDecodeError("no prefix before the separator", position=offset)
    if len(data) < CHECKSUM_LENGTH:
        raise InvoiceDecodeError(
            "fewer than six characters after the separator", position=offset + len(text)
        )
    digits = data.encode("ascii").translate(_DIGIT_BY_BYTE)
    try:
        value = int(digits, 32)
    except ValueError:
        position = offset + len(hrp) + 1 + digits.index(_NO_DIGIT)
        raise InvoiceDecodeError("not a bech32 character", position=position) from None
    if _remainder(hrp, value, len(digits)) != _BECH32_CONSTANT:
        raise InvoiceDecodeError(
            "the checksum does not match: the string was mistyped or cut",
            position=offset + len(text) - CHECKSUM_LENGTH,
        )
    return Bech32(
        lower,
        hrp,
        digits[:-CHECKSUM_LENGTH].decode("ascii"),
        value >> 5 * CHECKSUM_LENGTH,
    )


def encode(hrp: str, digits: str, *, constant: int = _BECH32_CONSTANT) -> str:
    """Return the bech32 string of a prefix and base-32 digits."""
    padded = digits + "0" * CHECKSUM_LENGTH
    remainder = _remainder(hrp, int(padded, 32), len(padded))
    checksum = to_digits(remainder ^ constant, CHECKSUM_LENGTH)
    return f"{hrp}1{to_chars(digits + checksum)}"


def encode_segwit(hrp: str, version: int, program: bytes) -> str:
    """Return a segwit address: bech32 for version 0, bech32m above (BIP 350)."""
    constant = _BECH32M_CONSTANT if version else _BECH32_CONSTANT
    digits = to_digits(version, 1) + bytes_to_digits(program)
    return encode(hrp, digits, constant=constant)


def to_digits(number: int, length: int) -> str:
    """Return `number` as exactly `length` base-32 digits."""
    shifts = range(5 * (length - 1), -1, -5)
    return "".join([DIGITS[number >> shift & 31] for shift in shifts])


def bytes_to_digits(data: bytes) -> str:
    """Return `data` as base-32 digits, the last one padded with zero bits."""
    length = (8 * len(data) + 4) // 5
    padding = -8 * len(data) % 10
    number = int.from_bytes(data) << padding
    shifts = range(8 * len(data) + padding - 10, -1, -10)
    return "".join([_PAIRS[number >> shift & 1023] for shift in shifts])[:length]


def to_chars(digits: str) -> str:
    return digits.translate(_TO_CHARS)


def _alphabet_error(text: str, offset: int) -> InvoiceDecodeError:
    for position, char in enumerate(text, offset):
        if not char.isascii():
            return InvoiceDecodeError("not an ASCII character", position=position)
    first = next(char for char in text if char.isalpha())
    is_other_case = str.islower if first.isupper() else str.isupper
    position = next(i for i, char in enumerate(text, offset) if is_other_case(char))
    return InvoiceDecodeError("upper and lower case are mixed", position=position)


def _remainder(hrp: str, value: int, length: int) -> int:
    """Return the remainder of a prefix and `length` digits of data."""
    # BIP 173: "the human-readable part is processed by first feeding the higher 3
    # bits of each character's US-ASCII value into the checksum calculation followed
    # by a zero and then the lower 5 bits of each". It starts from the remainder 1.
    raw = hrp.encode("ascii")
    prefix = int(b"1%b0%b" % (raw.translate(_HIGH), raw.translate(_LOW)), 32)
    value |= prefix << 5 * length
    while high := value >> 5 * _FOLD_WORDS:
        value = (
            value & _FOLD_MASK
            ^ high
            ^ high << 5 * 5
            ^ high << 5 * 17
            ^ high << 5 * 27
            ^ high << 5 * 35
            ^ high << 5 * 36
        )
    remainder = 0
    for mask in _masks():
        remainder = remainder << 1 | (value & mask).bit_count() & 1
    return remainder


@cache
def _masks() -> tuple[int, ...]:
    """Return the input bits of each bit of a remainder, highest first."""
    row = [1 << bit for bit in range(5)]
    remainders: list[int] = []
    for _ in range(_FOLD_WORDS):
        remainders += row
        row = [_times_x(value) for value in row]
    columns = zip(*(format(r, "030b") for r in reversed(remainders)), strict=True)
    return tuple(int("".join(column), 2) for column in columns)


def _times_x(value: int) -> int:
    top = value >> 25
    value = (value & 0x1FFFFFF) << 5
    for bit, generator in enumerate(_GENERATOR):
        if top >> bit & 1:
            value ^= generator
    return value


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
_KNOWN_PREFIXES: Final = ", ".join(sorted(PREFIXES.values()))

#: Each unit in tenths of a millisatoshi, so that pico-bitcoin is a whole number.
#: BOLT #11: "m (milli): multiply by 0.001", u 0.000001, n 10**-9, p 10**-12.
_TENTHS: Final = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}

#: All bitcoins in pico-bitcoin have 20 digits.
_HRP = re.compile(r"ln(bcrt|tbs|bc|tb|sb)(?:([0-9]{1,20})([munp]?))?")
_PREFIX = re.compile(r"ln(?:bcrt|tbs|bc|tb|sb)(?=[0-9]|$)")
_FLAGS = re.ASCII | re.IGNORECASE
#: The beginning of an invoice; the prefixes of bcrt and tbs begin like this, too.
BEGINNING = re.compile("ln(?:bc|tb|sb)", _FLAGS)
#: A complete invoice within another string: in a URI, or after blanks.
_INVOICE = re.compile(
    r"ln(?:bcrt|tbs|bc|tb|sb)(?:[0-9]{1,20}[munp]?)?1[02-9ac-hj-np-z]+", _FLAGS
)


def prefix_error(text: str, offset: int) -> InvoiceDecodeError:
    """Return the error for a string in which no invoice begins at `offset`.

    In a longer string, such as a BIP 21 URI, the checksum never matches, and an error
    about it would call an intact invoice mistyped. If an invoice follows later in the
    string, the message says what to cut off.
    """
    message = f"no Lightning prefix ({_KNOWN_PREFIXES})"
    if inside := _INVOICE.search(text, offset):
        start, end = inside.span()
        message += f"; an invoice begins at character {start}: cut off all before it"
        if end < len(text):
            message += f" and all from character {end} on"
    return InvoiceDecodeError(message, position=offset)


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
        problem = f"does not begin with a network's prefix ({_KNOWN_PREFIXES})"
        return InvoiceDecodeError(problem, position=offset)
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
