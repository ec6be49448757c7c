"""Make an invoice: for the sandbox and for tests, never for the main network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidRequestError, shown
from . import _bech32, _curve, _hrp, _secp256k1
from ._invoice import TIMESTAMP_LENGTH, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._network import Network
    from ._fields import Hop


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
    """Make and sign a BOLT #11 invoice that no mainnet wallet takes.

    For tests and sandboxes: the arithmetic may run in plain Python, which is not safe
    for a key that guards money, so ``network="mainnet"`` is refused.

    Args:
        private_key: 32 bytes in hex.
        payment_hash: 32 bytes in hex.
        payment_secret: 32 bytes in hex.
        timestamp: Seconds since 1970, UTC.
        amount_msat: Millisatoshi; ``None`` lets the payer choose.
        network: Any but ``mainnet``.
        description: What is paid for.
        description_hash: 32 bytes in hex, instead of the description.
        expiry: Seconds; ``None`` leaves it to the reader, who takes 3,600.
        min_final_cltv_expiry: Blocks; ``None`` leaves it to the reader: 18.
        metadata: Hex.
        name_payee: Whether to write the public key into the invoice as well.
        fallbacks: Version and program in hex of on-chain addresses.
        routes: Hops of private routes.
        features: Feature bits to set.

    Returns:
        The invoice in lower case.

    Raises:
        InvalidRequestError: if a value cannot be part of an invoice.

    .. versionadded:: 0.1.0
    """
    if network == "mainnet" or network not in _hrp.PREFIXES:
        raise InvalidRequestError(
            f"invoices for {shown(network)} are not signed here",
            field="network",
            hint='use "regtest"',
        )
    key = _bytes(private_key, "private_key", length=32)
    if not _curve.is_private_key(key):
        raise InvalidRequestError("not a private key", field="private_key")
    content = [
        ("p", _data(payment_hash, "payment_hash", length=32)),
        ("s", _data(payment_secret, "payment_secret", length=32)),
        _description(description, description_hash),
        ("m", _data(metadata, "metadata")),
        ("n", _bech32.bytes_to_digits(_curve.public_key(key)) if name_payee else None),
        ("x", _number(expiry, "expiry")),
        ("c", _number(min_final_cltv_expiry, "min_final_cltv_expiry")),
        *(("f", _fallback(version, program)) for version, program in fallbacks),
        *(("r", _route(route)) for route in routes),
        ("9", _features(features)),
    ]
    digits = _timestamp(timestamp) + "".join(
        _field(tag, data) for tag, data in content if data is not None
    )
    hrp = _hrp.PREFIXES[network] + _amount(amount_msat)
    hashed = digest(hrp, int(digits, 32), len(digits))
    signature, recovery_id = _secp256k1.curve().sign(key, hashed)
    signed = signature + bytes([recovery_id])
    return _bech32.encode(hrp, digits + _bech32.bytes_to_digits(signed))


def _field(tag: str, data: str) -> str:
    if len(data) >= 1 << 10:
        # BOLT #11: "data_length (10 bits, big-endian)".
        raise InvalidRequestError("longer than 1,023 words", field=tag)
    number = _bech32.CHARSET.index(tag)
    return _bech32.to_digits(number << 10 | len(data), 3) + data


def _bytes(text: str, name: str, *, length: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        # `from None`: the message of the original may quote a key.
        raise InvalidRequestError("must be hex", field=name) from None
    if length not in {None, len(data)}:
        raise InvalidRequestError(f"must be {length} bytes of hex", field=name)
    return data


def _data(text: str | None, name: str, *, length: int | None = None) -> str | None:
    if text is None:
        return None
    return _bech32.bytes_to_digits(_bytes(text, name, length=length))


def _description(text: str, hashed: str | None) -> tuple[str, str | None]:
    if hashed is None:
        return "d", _bech32.bytes_to_digits(text.encode())
    if text:
        raise InvalidRequestError(
            "give a description or its hash, not both", field="description_hash"
        )
    return "h", _data(hashed, "description_hash", length=32)


def _number(value: int | None, name: str) -> str | None:
    if value is None:
        return None
    if not 0 <= value < 1 << 64:
        raise InvalidRequestError("must be 0 or more, below 2**64", field=name)
    return _shortest(value)


def _shortest(value: int) -> str:
    return _bech32.to_digits(value, (value.bit_length() + 4) // 5)


def _timestamp(value: int) -> str:
    if not 0 <= value < 1 << 35:
        raise InvalidRequestError("must be 0 or more, below 2**35", field="timestamp")
    return _bech32.to_digits(value, TIMESTAMP_LENGTH)


def _amount(msat: int | None) -> str:
    if msat is None:
        return ""
    if not 0 < msat <= _hrp.MAX_MSAT:
        raise InvalidRequestError(
            "must be above 0 and at most all bitcoins", field="amount_msat"
        )
    return _hrp.format_amount(msat)


def _features(bits: Iterable[int]) -> str | None:
    # BOLT #11: "if 9 contains non-zero bits: SHOULD use the minimum data_length
    # possible; otherwise: MUST omit the 9 field altogether."
    return _shortest(sum(1 << bit for bit in set(bits))) or None


def _fallback(version: int, program: str) -> str:
    data = _bech32.bytes_to_digits(_bytes(program, "fallbacks"))
    return _bech32.to_digits(version, 1) + data


def _route(hops: Sequence[Hop]) -> str:
    return _bech32.bytes_to_digits(b"".join(map(_hop, hops)))


def _hop(hop: Hop) -> bytes:
    block, transaction, output = map(int, hop.short_channel_id.split("x"))
    return (
        _bytes(hop.pubkey, "routes", length=33)
        + block.to_bytes(3)
        + transaction.to_bytes(3)
        + output.to_bytes(2)
        + hop.fee_base_msat.to_bytes(4)
        + hop.fee_proportional_millionths.to_bytes(4)
        + hop.cltv_expiry_delta.to_bytes(2)
    )
