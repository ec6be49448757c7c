"""Sign invoices for the sandbox and for tests, never for mainnet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .._core.money import MAX_MSAT
from ..errors import InvalidRequestError, InvoiceInvalidError, shown
from . import _bech32, _ecdsa, _secp256k1
from ._fields import parse_fallback, require_dependencies
from ._invoice import TIMESTAMP_LENGTH, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.money import Network
    from ._fields import Hop

#: 1,023 words of 5 bits.
_MAX_FEATURES = 5115
_LAST_FALLBACK_VERSION = 18
_CHANNEL = re.compile(r"([0-9]{1,8})x([0-9]{1,8})x([0-9]{1,5})")


def sign(
    private_key: str,
    *,
    payment_hash: str,
    payment_secret: str,
    timestamp: int,
    amount_msat: int | None = None,
    network: Network = "regtest",
    description: str = "",
    description_hash: str | None = None,
    expiry: int | None = None,
    min_final_cltv_expiry: int | None = None,
    metadata: str | None = None,
    name_payee: bool = False,
    fallbacks: Iterable[tuple[int, str]] = (),
    routes: Iterable[Sequence[Hop]] = (),
    features: Iterable[int] = (8, 14),
) -> str:
    """Create and sign a BOLT #11 invoice that mainnet wallets reject.

    For tests and sandboxes: signing may run in plain Python, which is not safe for a
    key that protects money, so ``network="mainnet"`` is rejected.

    Args:
        private_key: 32 bytes in hex.
        payment_hash: 32 bytes in hex.
        payment_secret: 32 bytes in hex.
        timestamp: Seconds since 1970, UTC.
        amount_msat: Millisatoshi; ``None`` lets the payer choose.
        network: Any but ``mainnet``.
        description: Description of the purchase.
        description_hash: 32 bytes in hex, instead of the description.
        expiry: Seconds, at least 1; ``None`` omits it, and readers use 3,600.
        min_final_cltv_expiry: Blocks, at least 1; ``None`` omits it, and readers use
            18.
        metadata: Hex.
        name_payee: Whether to write the public key into the invoice as well.
        fallbacks: Version and program in hex of on-chain addresses.
        routes: Hops of private routes.
        features: Feature bits to set, including their dependencies.

    Returns:
        The invoice in lower case.

    Raises:
        InvalidRequestError: if a value cannot be part of an invoice.
    """
    if network == "mainnet" or str(network) not in _bech32.PREFIXES:
        raise InvalidRequestError(
            f"cannot sign invoices for {shown(network)}",
            field="network",
            hint='use "regtest"',
        )
    key = _bytes(private_key, "private_key", length=32)
    if not _ecdsa.is_private_key(key):
        raise InvalidRequestError("not a private key", field="private_key")
    named = _bech32.bytes_to_digits(_ecdsa.public_key(key)) if name_payee else None
    min_cltv = _number(min_final_cltv_expiry, "min_final_cltv_expiry")
    content = (
        ("p", "payment_hash", _data(payment_hash, "payment_hash", length=32)),
        ("s", "payment_secret", _data(payment_secret, "payment_secret", length=32)),
        _description(description, description_hash),
        ("m", "metadata", None if metadata is None else _data(metadata, "metadata")),
        ("n", "name_payee", named),
        ("x", "expiry", _number(expiry, "expiry")),
        ("c", "min_final_cltv_expiry", min_cltv),
        *(("f", "fallbacks", _fallback(*pair, network)) for pair in fallbacks),
        *(("r", "routes", _route(route)) for route in routes),
        ("9", "features", _features(features)),
    )
    seconds = _require_int(timestamp, "timestamp", 0, 1 << 35)
    digits = _bech32.to_digits(seconds, TIMESTAMP_LENGTH) + "".join(
        _field(tag, name, data) for tag, name, data in content if data is not None
    )
    hrp = _bech32.PREFIXES[network]
    if amount_msat is not None:
        msat = _require_int(amount_msat, "amount_msat", 1, MAX_MSAT + 1)
        hrp += _bech32.format_amount(msat)
    hashed = digest(hrp, int(digits, 32), len(digits))
    signature, recovery_id = _secp256k1.curve().sign(key, hashed)
    signed = signature + bytes([recovery_id])
    return _bech32.encode(hrp, digits + _bech32.bytes_to_digits(signed))


def _field(tag: str, name: str, data: str) -> str:
    if len(data) >= 1 << 10:
        # BOLT #11: "data_length (10 bits, big-endian)".
        raise InvalidRequestError("does not fit into 1,023 words", field=name)
    number = _bech32.CHARSET.index(tag)
    return _bech32.to_digits(number << 10 | len(data), 3) + data


def _bytes(text: str, name: str, *, length: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        # `from None`: the original message may contain a key.
        raise InvalidRequestError("must be hex", field=name) from None
    if length not in {None, len(data)}:
        raise InvalidRequestError(f"must be {length} bytes of hex", field=name)
    return data


def _data(text: str, name: str, *, length: int | None = None) -> str:
    return _bech32.bytes_to_digits(_bytes(text, name, length=length))


def _description(text: str, hashed: str | None) -> tuple[str, str, str]:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError("must be a str", field="description")
    if hashed is None:
        try:
            return "d", "description", _bech32.bytes_to_digits(text.encode())
        except UnicodeEncodeError:
            problem = "is not valid Unicode"
            raise InvalidRequestError(problem, field="description") from None
    if text:
        raise InvalidRequestError(
            "pass a description or its hash, not both", field="description_hash"
        )
    return "h", "description_hash", _data(hashed, "description_hash", length=32)


def _number(value: int | None, name: str) -> str | None:
    # Zero would be an empty field in BOLT #11, on which several readers fail.
    return None if value is None else _shortest(_require_int(value, name, 1, 1 << 64))


def _require_int(value: int, name: str, first: int, beyond: int) -> int:
    """Return `value` if it is an int from `first` to below `beyond`."""
    if type(value) is not int or not first <= value < beyond:
        raise InvalidRequestError(
            f"must be a whole number from {first} to {beyond - 1}, got {shown(value)}",
            field=name,
        )
    return value


def _shortest(value: int) -> str:
    return _bech32.to_digits(value, (value.bit_length() + 4) // 5)


def _features(bits: Iterable[int]) -> str | None:
    chosen = {_require_int(bit, "features", 0, _MAX_FEATURES) for bit in bits}
    value = sum(1 << bit for bit in chosen)
    try:
        require_dependencies(value)
    except InvoiceInvalidError as error:
        raise InvalidRequestError(str(error), field="features") from error
    # BOLT #11: "if 9 contains non-zero bits: MUST use the minimum data_length possible
    # to encode the non-zero bits with no 0 field-elements at the start. otherwise: MUST
    # omit the 9 field altogether."
    return _shortest(value) or None


def _fallback(version: int, program: str, network: Network) -> str:
    _require_int(version, "fallbacks", 0, _LAST_FALLBACK_VERSION + 1)
    digits = _bech32.to_digits(version, 1) + _data(program, "fallbacks")
    try:
        parse_fallback(digits, network, strict=True)
    except InvoiceInvalidError as error:
        raise InvalidRequestError(str(error), field="fallbacks") from error
    return digits


def _route(hops: Sequence[Hop]) -> str:
    if not hops:
        raise InvalidRequestError("a route has at least one hop", field="routes")
    return _bech32.bytes_to_digits(b"".join(map(_hop, hops)))


def _hop(hop: Hop) -> bytes:
    pubkey = _bytes(hop.pubkey, "routes", length=33)
    if not _secp256k1.curve().is_public_key(pubkey):
        raise InvalidRequestError("pubkey is not a public key", field="routes")
    channel = _CHANNEL.fullmatch(hop.short_channel_id)
    if channel is None:
        raise InvalidRequestError(
            f"not a short_channel_id: {shown(hop.short_channel_id)}",
            field="routes",
            hint='write it like "66051x263430x1800"',
        )
    block, transaction, output = map(int, channel.groups())
    fees = (hop.fee_base_msat, 4), (hop.fee_proportional_millionths, 4)
    sizes = (block, 3), (transaction, 3), (output, 2), *fees, (hop.cltv_expiry_delta, 2)
    return pubkey + b"".join(
        _require_int(number, "routes", 0, 1 << 8 * size).to_bytes(size)
        for number, size in sizes
    )
