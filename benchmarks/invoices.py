"""``bolt11.decode`` against bare libsecp256k1, and against other decoders on PyPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from aurpay_async import bolt11
from aurpay_async.bolt11 import _bech32, _ecdsa, _invoice, _secp256k1

from ._measure import make_row, measure_in_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._measure import Row

#: An invoice in Aurpay's documentation.
INVOICE = (
    "lnbc190440n1pnzu3jcpp5vyvhqq2deguqqdcth5z0hslaawcd4jqv68n9w88fkc9yqm476fwsdp5xscrj"
    "cehv3jkyvpsvg6rgdpnxgungwp4x56njdm9xa3x2dfnxfsscqzzsxqyz5vqsp5cfk04pxdn64fe0hde6u2q"
    "pkw7eu3fdequ8vw7r4le4trr3mwryks9qyyssqlavvjxan9jqus8hpdztrtfp6v0t7saqflxp2srruzf8a3"
    "sta0lajwfacpnpfdz7eaagrvrzwzhcwma8f4x3rnzf9yq7z6f67pd8lxmqqsxf4hh"
)


def import_optional(name: str) -> Any:
    """Return a module that may be missing, or incompatible."""
    try:
        return __import__(name, fromlist=["_"])
    except Exception as error:  # noqa: BLE001 - it may be incompatible
        print(f"without {name}: {type(error).__name__}: {error}")
        return None


def other_decoders() -> dict[str, Callable[[], object]]:
    """Return the installed decoders of PyPI."""
    found: dict[str, Callable[[], object]] = {}
    if package := import_optional("bolt11"):
        found["bolt11"] = lambda: package.decode(INVOICE)
    if module := import_optional("pyln.proto.invoice"):
        found["pyln-proto"] = lambda: module.Invoice.decode(INVOICE)
    return found


def bare_recoveries() -> dict[str, Callable[[], object]]:
    """Return a key recovery of the invoice, for each binding of libsecp256k1."""
    parts = _bech32.decode(INVOICE)
    digest = _invoice.digest(parts.hrp, parts.value >> 520, len(parts.digits) - 104)
    signed = _invoice._signature(parts)
    found: dict[str, Callable[[], object]] = {}
    if wally := import_optional("wallycore"):
        with_header = bytes([31 + signed[-1]]) + signed[:-1]
        found["recover (wallycore)"] = lambda: wally.ec_sig_to_public_key(
            digest, with_header
        )
    if coincurve := import_optional("coincurve"):
        recover = coincurve.PublicKey.from_signature_and_message
        found["recover (coincurve)"] = lambda: recover(
            signed, digest, hasher=None
        ).format()
    return found


def compare(rounds: int) -> list[Row]:
    """Measure with libsecp256k1, if it is installed, and in plain Python."""
    rows = []
    others = other_decoders()

    def in_python() -> _secp256k1.Curve:
        return _ecdsa

    slow = dict.fromkeys(others, 2)

    def decode() -> object:
        return bolt11.decode(INVOICE)

    if bolt11.backend() == "wallycore":
        contestants = {"decode": decode, **bare_recoveries(), **others}
        calls = {**dict.fromkeys(contestants, 200), **slow}
        times = measure_in_turns(contestants, rounds=rounds, calls=calls)
        for name in contestants:
            if name.startswith("recover"):
                rows.append(
                    make_row(
                        "decode [fast]", name, times["decode"], times[name], hold=1.6
                    )
                )
            elif name in others:
                ours, theirs = times["decode"], times[name]
                what = "decode [fast], times faster"
                rows.append(make_row(what, name, ours, theirs, hold=50, ceiling=False))
    with mock.patch.object(_secp256k1, "curve", in_python):
        contestants = {"decode": decode, **others}
        calls = {"decode": 5, **slow}
        times = measure_in_turns(contestants, rounds=rounds, calls=calls)
        rows += [
            make_row(
                "decode in plain Python", name, times["decode"], times[name], hold=1.0
            )
            for name in others
        ]
    return rows
