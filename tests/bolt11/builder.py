"""Build signed invoices that `bolt11.sign` rejects."""

from __future__ import annotations

from aurpay_async.bolt11 import _bech32, _ecdsa
from aurpay_async.bolt11._invoice import digest

#: The key that BOLT #11 publishes for its examples.
KEY = bytes.fromhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734")
PAYEE = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

TIMESTAMP = 1496314658
PAYMENT_HASH = "0001020304050607080900010203040506070809000102030405060708090102"
PAYMENT_SECRET = "11" * 32


def encode_hex(hexadecimal: str) -> str:
    """Return base-32 digits of bytes."""
    return _bech32.bytes_to_digits(bytes.fromhex(hexadecimal))


def encode_text(description: str) -> str:
    """Return base-32 digits of a string."""
    return _bech32.bytes_to_digits(description.encode())


def encode_field(tag: str, digits: str) -> str:
    """Return a tagged field."""
    head = _bech32.CHARSET.index(tag) << 10 | len(digits)
    return _bech32.to_digits(head, 3) + digits


#: What every valid invoice has.
BASICS = (
    ("p", encode_hex(PAYMENT_HASH)),
    ("s", encode_hex(PAYMENT_SECRET)),
    ("d", encode_text("1 cup coffee")),
)


def build(
    *fields: tuple[str, str],
    hrp: str = "lnbcrt",
    high_s: bool = False,
    tail: str = "",
    key: bytes = KEY,
) -> str:
    """Return a correctly signed invoice of exactly these fields."""
    content = "".join(encode_field(tag, digits) for tag, digits in fields)
    digits = _bech32.to_digits(TIMESTAMP, 7) + content + tail
    signature, recovery_id = _ecdsa.sign(key, digest(hrp, int(digits, 32), len(digits)))
    if high_s:
        s = _ecdsa.N - int.from_bytes(signature[32:])
        signature, recovery_id = signature[:32] + s.to_bytes(32), recovery_id ^ 1
    signed = _bech32.bytes_to_digits(signature + bytes([recovery_id]))
    return _bech32.encode(hrp, digits + signed)
