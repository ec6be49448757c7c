"""The tagged fields of an invoice, one small parser per field.

A parser takes the field's base-32 digits and returns its value, or raises
:class:`InvoiceInvalidError` with the broken rule. Rules of BOLT #11 for writers are
checked only when `strict`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..errors import InvoiceDecodeError, InvoiceInvalidError
from . import _bech32
from ._bech32 import CURRENCIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.money import Network

#: BOLT #11: "p (1): data_length 52", and so h and s.
HASH_LENGTH: Final = 52
#: "n (19): data_length 53".
NODE_LENGTH: Final = 53

_LENGTHS: Final = dict.fromkeys("psh", HASH_LENGTH) | {"n": NODE_LENGTH}
#: The other known fields have any length.
_ANY_LENGTH: Final = frozenset("dmxcfr9")
#: Fields that may be repeated.
_REPEATABLE: Final = frozenset("fr")
_TAGS: Final = dict(zip(_bech32.DIGITS, _bech32.CHARSET, strict=True))
_VALUES: Final = {digit: value for value, digit in enumerate(_bech32.DIGITS)}
_HEADER_LENGTH: Final = 3

#: lnd and LDK read 64-bit numbers; BOLT #11 has no limit.
_NUMBER_LENGTH: Final = 13
_HOP_LENGTH: Final = 51

#: BOLT #9, the features that its table marks for invoices (context "9"), and
#: ``var_onion_optin``, which every node now assumes.
_FEATURE_NAMES: Final = {
    8: "var_onion_optin",
    14: "payment_secret",
    16: "basic_mpp",
    24: "option_route_blinding",
    36: "option_attribution_data",
    48: "option_payment_metadata",
}

#: BOLT #9, the column "Dependencies" of the features above: bits of the even ones.
_DEPENDENCIES: Final = {16: 14}

#: Even bits of unknown features; a field has at most 1,023 words of 5 bits.
_UNKNOWN_REQUIRED: Final = sum(1 << bit for bit in range(0, 5115, 2)) & ~sum(
    1 << bit for bit in _FEATURE_NAMES
)
#: Words of a ``9`` field that is cached: today's nodes use fewer than 60.
_USUAL_LENGTH: Final = 64

#: Base58check prefixes of P2PKH and P2SH addresses.
_BASE58_PREFIXES: Final[dict[str, tuple[int, int]]] = {
    "mainnet": (0x00, 0x05),
    "simnet": (0x3F, 0x7B),
    **dict.fromkeys(("testnet", "signet", "regtest"), (0x6F, 0xC4)),
}
#: BIP 173 defines no prefix for signet.
_SEGWIT_PREFIXES: Final[dict[Network, str]] = {
    network: "tb" if network == "signet" else currency
    for currency, network in CURRENCIES.items()
}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

_P2PKH: Final = 17
_P2SH: Final = 18
_LAST_WITNESS_VERSION: Final = 16


@attrs.frozen
class Hop:
    """One channel of a private route to the payee."""

    #: The node at the start of the channel: hex, 33 bytes.
    pubkey: str
    #: Block, transaction and output, such as ``"66051x263430x1800"``.
    short_channel_id: str
    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int


@attrs.frozen
class Fallback:
    """An on-chain address to pay if Lightning fails."""

    #: Witness version 0 to 16, 17 for P2PKH, 18 for P2SH; others are unknown.
    version: int
    #: Hex: witness program, key hash or script hash.
    program: str
    #: The address as shown by wallets; ``None`` if the version is unknown.
    address: str | None


@attrs.frozen
class Feature:
    """A feature bit that is set."""

    bit: int
    #: The name in BOLT #9, the same for required and optional; ``None`` if unknown.
    name: str | None

    @property
    def required(self) -> bool:
        """Return whether a payer must support the feature: its bit is even."""
        return self.bit % 2 == 0


class UnknownField(NamedTuple):
    """A field that is not interpreted.

    Its tag is unknown, or it is a hash or key of another length.
    """

    #: The bech32 character that names the field.
    tag: str
    #: The content, as bech32 characters.
    data: str


class Fields(NamedTuple):
    """The fields between timestamp and signature, as base-32 digits."""

    #: The first field of each known tag.
    known: dict[str, str]
    #: Further fields of the tags that may be repeated, in order.
    more: list[tuple[str, str]]
    #: Fields that a reader skips.
    unknown: list[UnknownField]

    def all(self, tag: str) -> list[str]:
        first = [self.known[tag]] if tag in self.known else []
        return first + [content for other, content in self.more if other == tag]


def split(digits: str, position: int, *, strict: bool) -> Fields:
    """Split the tagged fields.

    Args:
        digits: The digits of all fields.
        position: Position of the first one in the invoice, for errors.
        strict: Whether to reject fields that a reader would skip.

    Raises:
        InvoiceDecodeError: if a field extends past the end.
        InvoiceInvalidError: if `strict` and a field is repeated or of wrong length.
    """
    fields = Fields({}, [], [])
    known = fields.known
    start, end = 0, len(digits)
    while start <= end - _HEADER_LENGTH:
        # BOLT #11: "type (5 bits)", "data_length (10 bits, big-endian)", then the data.
        tag = _TAGS[digits[start]]
        length = _VALUES[digits[start + 1]] << 5 | _VALUES[digits[start + 2]]
        stop = start + _HEADER_LENGTH + length
        if stop > end:
            break
        content = digits[start + _HEADER_LENGTH : stop]
        if tag not in known and (tag in _ANY_LENGTH or _LENGTHS.get(tag) == length):
            known[tag] = content
        else:
            problem = _add_unusual(fields, tag, content)
            if problem and strict:
                raise InvoiceInvalidError(
                    f"the field {tag!r} at character {position + start} {problem}",
                    rule="field",
                )
        start = stop
    if start != end:
        raise InvoiceDecodeError(
            "a field exceeds the invoice", position=position + start
        )
    return fields


def _add_unusual(fields: Fields, tag: str, content: str) -> str | None:
    """Store a repeated or unknown field; return what is wrong with it, if anything."""
    problem = None
    if _LENGTHS.get(tag, len(content)) != len(content):
        # BOLT #11: "MUST fail the payment if any field with fixed data_length (p, h, s,
        # n) does not have the correct length (52, 52, 52, 53)." Before bolts pull 1243
        # readers skipped such a field, as the examples of BOLT #11 still show and
        # non-strict decoding still does.
        problem = "has a wrong length"
    elif tag in _REPEATABLE:
        fields.more.append((tag, content))
        return None
    elif tag in fields.known:
        # "MUST include exactly one p field", and so on; readers disagree about which of
        # two fields counts. Non-strict decoding uses the first.
        problem = "is repeated"
    fields.unknown.append(UnknownField(tag, _bech32.to_chars(content)))
    return problem


def parse_bytes(digits: str, *, strict: bool) -> bytes:
    """Return whole bytes; the remaining bits are padding."""
    length, padding = divmod(5 * len(digits), 8)
    value = int(digits or "0", 32)
    # "MUST pad field data to a multiple of 5 bits, using 0s."
    if strict and (padding > 4 or value & ((1 << padding) - 1)):
        raise InvoiceInvalidError("a field's padding is not zero", rule="padding")
    return (value >> padding).to_bytes(length)


def parse_number(digits: str, *, strict: bool) -> int:
    """Return a number of seconds or blocks; an empty field is zero."""
    # "if a c, x, or 9 field is provided which has a non-minimal data_length (i.e.
    # begins with 0 field elements): SHOULD treat the invoice as invalid." So zero has
    # no digits.
    if strict and digits[:1] == "0":
        raise InvoiceInvalidError("a number has leading zeros", rule="number")
    value = int(digits or "0", 32)
    if len(digits) > _NUMBER_LENGTH or value >= 1 << 64:
        raise InvoiceInvalidError("a number has more than 64 bits", rule="number")
    return value


def parse_description(known: Mapping[str, str], *, strict: bool) -> str | None:
    """Return the description in a ``d`` field; ``None`` if there is an ``h`` field."""
    # "MUST include either exactly one d or exactly one h field."
    if ("d" in known) == ("h" in known):
        problem = "both" if "d" in known else "neither"
        raise InvoiceInvalidError(
            f"{problem} a description and a description hash", rule="description"
        )
    if "h" in known:
        return None
    try:
        # "MUST set d to a valid UTF-8 string."
        return parse_bytes(known["d"], strict=strict).decode()
    except UnicodeDecodeError:
        raise InvoiceInvalidError(
            "the description is not UTF-8", rule="description"
        ) from None


def parse_features(digits: str, *, strict: bool) -> tuple[Feature, ...]:
    """Return the bits that are set in a ``9`` field, lowest first."""
    # Long fields are not cached: an attacker could fill the memory with them.
    parse = _parse_cached_features if len(digits) <= _USUAL_LENGTH else _parse_features
    return parse(digits, strict)


def _parse_features(digits: str, strict: bool) -> tuple[Feature, ...]:  # noqa: FBT001
    # "MUST use the minimum data_length possible to encode the non-zero bits with no 0
    # field-elements at the start", and without such bits "MUST omit the 9 field".
    if strict and digits[:1] in {"", "0"}:
        raise InvoiceInvalidError("the features have leading zeros", rule="number")
    value = int(digits or "0", 32)
    unknown = value & _UNKNOWN_REQUIRED
    if unknown:
        # "if the 9 field contains unknown even bits that are non-zero: MUST fail the
        # payment".
        bit = (unknown & -unknown).bit_length() - 1
        raise InvoiceInvalidError(
            f"the payer must support feature {bit}, which is unknown", rule="feature"
        )
    require_dependencies(value)
    return list_features(value)


def require_dependencies(value: int) -> None:
    """Check that the dependencies of all features are set.

    Raises:
        InvoiceInvalidError: with the feature that lacks a dependency.
    """
    for bit, needed in _DEPENDENCIES.items():
        # "if the feature vector does not set all known, transitive feature
        # dependencies: MUST NOT attempt the payment."
        if value >> bit & 3 and not value >> needed & 3:
            names = f"{_FEATURE_NAMES[bit]} without {_FEATURE_NAMES[needed]}"
            raise InvoiceInvalidError(
                f"the features contain {names}, on which it depends", rule="feature"
            )


#: A node announces the same features in all its invoices.
_parse_cached_features = lru_cache(maxsize=256)(_parse_features)


def list_features(value: int) -> tuple[Feature, ...]:
    """Return the bits that are set in a number, lowest first."""
    features: list[Feature] = []
    while value:
        lowest = value & -value
        bit = lowest.bit_length() - 1
        features.append(Feature(bit, _FEATURE_NAMES.get(bit & ~1)))
        value ^= lowest
    return tuple(features)


def parse_route(digits: str, *, strict: bool) -> tuple[Hop, ...]:
    data = parse_bytes(digits, strict=strict)
    if not data or len(data) % _HOP_LENGTH:
        # "r field MUST contain one or more ordered entries", each of 51 bytes.
        raise InvoiceInvalidError("a route has an incomplete hop", rule="route")
    return tuple(
        _parse_hop(data[start : start + _HOP_LENGTH])
        for start in range(0, len(data), _HOP_LENGTH)
    )


def _parse_hop(data: bytes) -> Hop:
    block, transaction, output = data[33:36], data[36:39], data[39:41]
    channel = "x".join(str(int.from_bytes(n)) for n in (block, transaction, output))
    return Hop(
        pubkey=data[:33].hex(),
        short_channel_id=channel,
        fee_base_msat=int.from_bytes(data[41:45]),
        fee_proportional_millionths=int.from_bytes(data[45:49]),
        cltv_expiry_delta=int.from_bytes(data[49:51]),
    )


def parse_fallback(digits: str, network: Network, *, strict: bool) -> Fallback:
    """Return the on-chain address of an ``f`` field."""
    if not digits:
        raise InvoiceInvalidError("a fallback address is empty", rule="fallback")
    version = int(digits[0], 32)
    known = version <= _P2SH
    program = parse_bytes(digits[1:], strict=strict)
    if known and len(program) not in _program_lengths(version, strict=strict):
        raise InvoiceInvalidError(
            f"a fallback address of version {version} has {len(program)} bytes",
            rule="fallback",
        )
    # "MUST skip over f fields that use an unknown version": it has no address here.
    address = _address(version, program, network) if known else None
    return Fallback(version, program.hex(), address)


def _program_lengths(version: int, *, strict: bool) -> range | tuple[int, ...]:
    if version in {_P2PKH, _P2SH}:
        return (20,)
    # BIP 341: a program of version 1 of any other length can be spent by anyone.
    if version == 1 and strict:
        return (32,)
    # BIP 141: a witness program has 2 to 40 bytes, that of version 0 has 20 or 32.
    return range(2, 41) if version else (20, 32)


def _address(version: int, program: bytes, network: Network) -> str:
    if version <= _LAST_WITNESS_VERSION:
        prefix = _SEGWIT_PREFIXES[network]
        return _bech32.encode_segwit(prefix, version, program)
    return _base58check(_BASE58_PREFIXES[network][version - _P2PKH], program)


def _base58check(prefix: int, payload: bytes) -> str:
    data = bytes([prefix]) + payload
    data += sha256(sha256(data).digest()).digest()[:4]
    number = int.from_bytes(data)
    chars = ""
    while number:
        number, digit = divmod(number, 58)
        chars = _BASE58[digit] + chars
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _BASE58[0] * zeros + chars
