"""Decode an invoice: checksum, amount, fields, signature, values, in this order.

BOLT #11 of the Lightning specification at commit a3772650, 11-payment-encoding.md.
An :class:`Invoice` exists only if all checks passed, so its fields need no others.

`decode` stops at the first rule that is broken; `check_rules` shows all of them. Both
use the same parsers, and the tests compare their results for every published invoice.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError
from . import _bech32, _qr, _secp256k1
from ._bech32 import BEGINNING, parse_hrp, prefix_error
from ._fields import (
    parse_bytes,
    parse_description,
    parse_fallback,
    parse_features,
    parse_number,
    parse_route,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .._core.money import Network
    from ._bech32 import Bech32
    from ._fields import Fallback, Feature, Fields, Hop, UnknownField


#: BOLT #11: "Default is 3600 (1 hour) if not specified."
DEFAULT_EXPIRY: Final = 3600
#: "MUST use an expiry delta of at least 18 when making the payment".
DEFAULT_MIN_FINAL_CLTV_EXPIRY: Final = 18

#: The limit of lnd and LDK: the capacity of the largest QR code.
MAX_LENGTH: Final = 7089
#: BOLT #11 has no limit; ours is twice the longest invoice published as an example.
MAX_LENGTH_LENIENT: Final = 16_384
_URI_SCHEME: Final = "lightning:"

#: BOLT #11: "timestamp: seconds-since-1970 (35 bits, big-endian)".
TIMESTAMP_LENGTH: Final = 7
#: "signature: compact ECDSA/secp256k1 signature of the above (520 bits: 64-byte R||S +
#: 1-byte recovery id)".
SIGNATURE_LENGTH: Final = 104
#: The digits of the tagged fields.
_FIELDS: Final = slice(TIMESTAMP_LENGTH, -SIGNATURE_LENGTH)
_SIGNATURE_BYTES: Final = 65
_SIGNATURE_MASK: Final = (1 << 520) - 1


# A dict, not slots: each order creates an invoice, and this takes a third less time.
@attrs.frozen(kw_only=True, repr=False, slots=False)
class Invoice:
    """A Lightning payment request with a verified signature.

    ``str(invoice)`` is the invoice itself, in lower case, without ``lightning:``.
    Hashes, secrets and keys are lower-case hex.
    """

    #: The invoice in lower case, without ``lightning:``.
    text: str
    network: Network
    #: Millisatoshi; ``None`` if the payer chooses the amount.
    amount_msat: int | None
    #: Time of creation: seconds since 1970, UTC.
    timestamp: int
    #: Seconds from `timestamp` until it can no longer be paid.
    expiry: int
    #: SHA-256 of the preimage that proves the payment: 32 bytes.
    payment_hash: str
    #: Prevents nodes on the route from probing the payee: 32 bytes. ``payment_addr``
    #: in lnd and at Aurpay.
    payment_secret: str
    #: Description of the purchase. Untrusted: escape it. ``None`` if there is a hash.
    description: str | None
    #: SHA-256 of a description that is published elsewhere.
    description_hash: str | None
    #: Data that the payer returns with the payment: hex.
    metadata: str | None
    #: Public key of the node that signed and receives the payment: 33 bytes.
    payee: str
    #: Minimum number of blocks for the last hop.
    min_final_cltv_expiry: int
    #: On-chain fallback addresses, preferred one first.
    fallbacks: tuple[Fallback, ...]
    #: Private routes to a payee without public channels.
    routes: tuple[tuple[Hop, ...], ...]
    #: The feature bits that are set, lowest first.
    features: tuple[Feature, ...]
    #: Unknown fields, not interpreted.
    unknown_fields: tuple[UnknownField, ...]
    #: Signature and recovery id: 65 bytes.
    signature: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return (
            f"Invoice(network={self.network!r}, amount_msat={self.amount_msat}, "
            f"payment_hash={self.payment_hash!r}, payee={self.payee!r})"
        )

    @property
    def created_at(self) -> datetime:
        """`timestamp` as a datetime: aware, UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC)

    @property
    def expires_at(self) -> datetime:
        """Time from which it cannot be paid: aware, UTC; at most `datetime.max`."""
        try:
            return self.created_at + timedelta(seconds=self.expiry)
        except OverflowError:  # an expiry has up to 64 bits
            return datetime.max.replace(tzinfo=UTC)

    @property
    def uri(self) -> str:
        """The URI that wallets open: ``lightning:`` and the invoice."""
        return _URI_SCHEME + self.text

    @property
    def qr_text(self) -> str:
        """The content of its QR code: `uri`, with the invoice in capitals.

        Capitals take fewer modules, as BOLT #11 recommends. The scheme is in lower
        case, because Android finds no wallet for ``LIGHTNING:``.
        """
        return "".join(_qr.segments(self.text))

    def qr_svg(self) -> str:
        """Return its QR code as an SVG without a fixed size, dark on white.

        Your page sets its size. Drawing takes tens of milliseconds; in an event loop,
        draw in a thread: ``await asyncio.to_thread(invoice.qr_svg)``.

        Raises:
            ImportError: segno is not installed (extra ``qr``).
            ValueError: the invoice has more than 4,278 characters, the most that a QR
                code holds.
        """
        return _qr.render_svg(self.text).decode()

    def qr_png(self, *, scale: int = 8) -> bytes:
        """Return its QR code as a PNG, black on white, for chats and mail.

        Args:
            scale: Pixels for each module, of which a usual invoice takes 60 to 70.

        Raises:
            ImportError: segno is not installed (extra ``qr``).
            ValueError: the invoice has more than 4,278 characters, the most that a QR
                code holds.
        """
        return _qr.render_png(self.text, scale)


def decode(text: str, *, strict: bool = True) -> Invoice:
    """Decode a BOLT #11 invoice and verify its signature.

    The invoice may be all upper case and may begin with ``lightning:`` in any case.
    Nothing else is cut off: the error says where an invoice begins in a BIP 21 URI, in
    ``lightning://...`` or after blanks.
    Expiry is not checked: see :attr:`Invoice.expires_at`.

    Args:
        text: The invoice.
        strict: Reject what BOLT #11 forbids a writer and allows a reader, and values
            about which readers disagree: repeated fields, hashes and keys of wrong
            length, non-zero padding, numbers, features or amounts with leading zeros,
            an amount of zero, a recovery id that is not the named payee's, a taproot
            fallback that anyone can spend, more than 7,089 characters.

            ``False`` accepts these: the first of repeated fields counts, a hash or
            key of wrong length is an unknown field, an amount of zero is ``None``.
            What BOLT #11 tells a payer to fail is still rejected, and so are
            amounts of more than 20 digits or 21 million bitcoins, numbers of more
            than 64 bits and more than 16,384 characters, which it does not limit.

    Raises:
        InvoiceDecodeError: it cannot be decoded; `position` says where.
        InvoiceInvalidError: it is decoded but must not be paid; `rule` says why.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        message = f"an invoice must be a str, not {type(text).__name__}"
        raise InvoiceDecodeError(message, position=0)
    limit = MAX_LENGTH if strict else MAX_LENGTH_LENIENT
    offset = len(_URI_SCHEME) if text[: len(_URI_SCHEME)].lower() == _URI_SCHEME else 0
    if len(text) - offset > limit:
        raise InvoiceDecodeError(
            f"more than {limit} characters", position=offset + limit
        )
    parts = _decode_text(text, offset)
    network, amount_msat = parse_hrp(parts.hrp, offset=offset, strict=strict)
    start = offset + len(parts.hrp) + 1 + TIMESTAMP_LENGTH
    fields = split(parts.digits[_FIELDS], start, strict=strict)
    known = fields.known
    signature = _signature(parts)
    return Invoice(
        text=parts.text,
        network=network,
        amount_msat=amount_msat,
        timestamp=int(parts.digits[:TIMESTAMP_LENGTH], 32),
        expiry=parse_number(known["x"], strict=strict)
        if "x" in known
        else DEFAULT_EXPIRY,
        payment_hash=_required(known, "p", strict=strict),
        payment_secret=_required(known, "s", strict=strict),
        description=parse_description(known, strict=strict),
        description_hash=parse_bytes(known["h"], strict=strict).hex()
        if "h" in known
        else None,
        metadata=parse_bytes(known["m"], strict=strict).hex() if "m" in known else None,
        payee=_payee(parts, signature, known.get("n"), strict=strict),
        min_final_cltv_expiry=parse_number(known["c"], strict=strict)
        if "c" in known
        else DEFAULT_MIN_FINAL_CLTV_EXPIRY,
        fallbacks=_fallbacks(fields, network, strict=strict) if "f" in known else (),
        routes=_routes(fields, strict=strict) if "r" in known else (),
        features=parse_features(known["9"], strict=strict) if "9" in known else (),
        unknown_fields=tuple(fields.unknown),
        signature=signature.hex(),
    )


def _decode_text(text: str, offset: int) -> Bech32:
    """Return the invoice that begins at `offset`; its prefix is checked first."""
    if not BEGINNING.match(text, offset):
        raise prefix_error(text, offset)
    parts = _bech32.decode(text[offset:], offset=offset)
    if len(parts.digits) < TIMESTAMP_LENGTH + SIGNATURE_LENGTH:
        raise InvoiceDecodeError(
            "too short for a timestamp and a signature",
            position=offset + len(parts.hrp) + 1,
        )
    return parts


def digest(hrp: str, value: int, length: int) -> bytes:
    """Return the hash to sign of a prefix and `length` digits of data.

    BOLT #11: "SHA-256 hash of: the human-readable part (as UTF-8 bytes) concatenated
    with the data part (excluding the signature), with 0 bits appended to pad to a byte
    boundary".
    """
    padding = -5 * length % 8
    data = (value << padding).to_bytes((5 * length + padding) // 8)
    return sha256(hrp.encode("ascii") + data).digest()


def _signature(parts: Bech32) -> bytes:
    """Return the signature and the recovery id: 65 bytes."""
    return (parts.value & _SIGNATURE_MASK).to_bytes(_SIGNATURE_BYTES)


def _payee(parts: Bech32, signed: bytes, named: str | None, *, strict: bool) -> str:
    """Return the key that signed the invoice; `named` is the one in its ``n`` field."""
    length = len(parts.digits) - SIGNATURE_LENGTH
    hashed = digest(parts.hrp, parts.value >> 5 * SIGNATURE_LENGTH, length)
    signature, recovery_id = signed[:-1], signed[-1]
    key: bytes | bytearray | None = None
    # "followed by a trailing 1-byte recovery id in {0,1,2,3}".
    if recovery_id < 4:
        # The header byte of Bitcoin's signed messages: 27 + id, + 4 if compressed.
        header = bytes([31 + recovery_id])
        with suppress(ValueError):
            key = _secp256k1.curve().recover(hashed, header + signature)
    if named is not None:
        payee = _verify_payee(named, hashed, signature, strict=strict)
        # Readers that recover the key in spite of this must get the same payee. Without
        # this check, an invoice could be written with 256 different recovery ids.
        if strict and key != payee:
            raise InvoiceInvalidError(
                "the recovery id is not the payee's", rule="signature"
            )
        return payee.hex()
    if key is None:
        raise InvoiceInvalidError(
            "no public key can be recovered from the signature", rule="signature"
        )
    return key.hex()


def _verify_payee(
    named: str, hashed: bytes, signature: bytes, *, strict: bool
) -> bytes:
    # "if a valid n field is provided: MUST use the n field to validate the signature
    # instead of performing public-key recovery." A signature that is not low-S "MUST
    # fail the payment" then, which this verification asks for.
    curve = _secp256k1.curve()
    key = parse_bytes(named, strict=strict)
    if not curve.is_public_key(key):
        raise InvoiceInvalidError("the payee is not a public key", rule="payee")
    if not curve.verify(key, hashed, signature):
        raise InvoiceInvalidError("the signature is not the payee's", rule="signature")
    return key


_REQUIRED: Final = {"p": "payment hash", "s": "payment secret"}


def _required(known: Mapping[str, str], tag: str, *, strict: bool) -> str:
    if tag not in known:
        name = _REQUIRED[tag]
        raise InvoiceInvalidError(f"the {name} is missing", rule=name.replace(" ", "-"))
    return parse_bytes(known[tag], strict=strict).hex()


def _fallbacks(
    fields: Fields, network: Network, *, strict: bool
) -> tuple[Fallback, ...]:
    return tuple(
        parse_fallback(digits, network, strict=strict) for digits in fields.all("f")
    )


def _routes(fields: Fields, *, strict: bool) -> tuple[tuple[Hop, ...], ...]:
    routes = tuple(parse_route(digits, strict=strict) for digits in fields.all("r"))
    is_public_key = _secp256k1.curve().is_public_key
    keys = (bytes.fromhex(hop.pubkey) for route in routes for hop in route)
    if not all(map(is_public_key, keys)):
        raise InvoiceInvalidError("a hop has an invalid public key", rule="route")
    return routes


class RuleCheck(NamedTuple):
    """The result of checking one rule."""

    name: str
    #: A sentence that says how the rule is broken.
    problem: str | None


def check_rules(text: str) -> Iterator[RuleCheck]:
    """Check every rule, up to the first failure after which nothing can be decoded.

    Args:
        text: An invoice, with or without ``lightning:``.
    """
    offset = len(_URI_SCHEME) if text[: len(_URI_SCHEME)].lower() == _URI_SCHEME else 0
    length = len(text) - offset
    problem = f"more than {MAX_LENGTH:,} characters" if length > MAX_LENGTH else None
    yield RuleCheck("length", problem)
    if length > MAX_LENGTH_LENIENT:
        return
    try:
        parts = _decode_text(text, offset)
    except InvoiceError as error:
        yield RuleCheck("text", str(error))
        return
    yield RuleCheck("text", None)
    yield _check("prefix", lambda: parse_hrp(parts.hrp, offset=offset, strict=True))
    start = offset + len(parts.hrp) + 1 + TIMESTAMP_LENGTH
    read_fields = partial(split, parts.digits[_FIELDS], start)
    yield _check("fields", partial(read_fields, strict=True))
    try:
        fields = read_fields(strict=False)
    except InvoiceError:
        return
    for name, check in _RULES.items():
        yield _check(name, partial(check, parts, fields))


def _check(name: str, check: Callable[[], object]) -> RuleCheck:
    try:
        check()
    except InvoiceError as error:
        return RuleCheck(name, str(error))
    return RuleCheck(name, None)


#: In the order of the output.
_RULES: Final[dict[str, Callable[[Bech32, Fields], object]]] = {
    "description": lambda _, fields: (
        parse_description(fields.known, strict=True),
        parse_bytes(fields.known.get("h", ""), strict=True),
    ),
    "payment_hash": lambda _, fields: _required(fields.known, "p", strict=True),
    "payment_secret": lambda _, fields: _required(fields.known, "s", strict=True),
    "metadata": lambda _, fields: parse_bytes(fields.known.get("m", ""), strict=True),
    "expiry": lambda _, fields: parse_number(fields.known.get("x", ""), strict=True),
    "min_final_cltv_expiry": lambda _, fields: parse_number(
        fields.known.get("c", ""), strict=True
    ),
    "features": lambda _, fields: (
        "9" in fields.known and parse_features(fields.known["9"], strict=True)
    ),
    # The network only decides how an address is encoded.
    "fallbacks": lambda _, fields: _fallbacks(fields, "mainnet", strict=True),
    "routes": lambda _, fields: _routes(fields, strict=True),
    "signature": lambda parts, fields: _payee(
        parts, _signature(parts), fields.known.get("n"), strict=True
    ),
}
