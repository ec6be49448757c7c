"""``bolt11.decode`` against the bare curve, and against the registry's decoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from aurpay_async import bolt11
from aurpay_async.bolt11 import _bech32, _curve, _invoice, _secp256k1

from ._measure import row, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._measure import Row

#: Of Aurpay's documentation.
INVOICE = (
    "lnbc190440n1pnzu3jcpp5vyvhqq2deguqqdcth5z0hslaawcd4jqv68n9w88fkc9yqm476fwsdp5xscrj"
    "cehv3jkyvpsvg6rgdpnxgungwp4x56njdm9xa3x2dfnxfsscqzzsxqyz5vqsp5cfk04pxdn64fe0hde6u2q"
    "pkw7eu3fdequ8vw7r4le4trr3mwryks9qyyssqlavvjxan9jqus8hpdztrtfp6v0t7saqflxp2srruzf8a3"
    "sta0lajwfacpnpfdz7eaagrvrzwzhcwma8f4x3rnzf9yq7z6f67pd8lxmqqsxf4hh"
)


def optional(name: str) -> Any:
    """A package that may be missing, or not work with what is installed."""
    try:
        return __import__(name, fromlist=["_"])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is absent
        print(f"without {name}: {type(error).__name__}: {error}")
        return None


def rivals() -> dict[str, Callable[[], object]]:
    """What the registry has."""
    found: dict[str, Callable[[], object]] = {}
    if package := optional("bolt11"):
        found["bolt11"] = lambda: package.decode(INVOICE)
    if module := optional("pyln.proto.invoice"):
        found["pyln-proto"] = lambda: module.Invoice.decode(INVOICE)
    return found


def bare_recovers() -> dict[str, Callable[[], object]]:
    """One recovery of the invoice's key by libsecp256k1, through either binding."""
    parts = _bech32.decode(INVOICE)
    digest, signed = _invoice.signing_hash(parts), _invoice._signature(parts)
    found: dict[str, Callable[[], object]] = {}
    if wally := optional("wallycore"):
        with_header = bytes([31 + signed[-1]]) + signed[:-1]
        found["recover (wallycore)"] = lambda: wally.ec_sig_to_public_key(
            digest, with_header
        )
    if coincurve := optional("coincurve"):
        recover = coincurve.PublicKey.from_signature_and_message
        found["recover (coincurve)"] = lambda: recover(
            signed, digest, hasher=None
        ).format()
    return found


def compare(rounds: int) -> list[Row]:
    """With libsecp256k1 where it is, and in plain Python."""
    rows = []
    others = rivals()

    def in_python() -> _secp256k1.Curve:
        return _curve

    slow = dict.fromkeys(others, 2)

    def decode() -> object:
        return bolt11.decode(INVOICE)

    if bolt11.backend() == "wallycore":
        contestants = {"decode": decode, **bare_recovers(), **others}
        calls = {**dict.fromkeys(contestants, 200), **slow}
        times = take_turns(contestants, rounds=rounds, calls=calls)
        for name in contestants:
            if name.startswith("recover"):
                rows.append(
                    row("decode [fast]", name, times["decode"], times[name], hold=1.6)
                )
            elif name in others:
                ours, theirs = times["decode"], times[name]
                what = "decode [fast], times faster"
                rows.append(row(what, name, ours, theirs, hold=50, ceiling=False))
    with mock.patch.object(_secp256k1, "curve", in_python):
        contestants = {"decode": decode, **others}
        calls = {"decode": 5, **slow}
        times = take_turns(contestants, rounds=rounds, calls=calls)
        rows += [
            row("decode in plain Python", name, times["decode"], times[name], hold=1.0)
            for name in others
        ]
    return rows
