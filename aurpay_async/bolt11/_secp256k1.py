"""Which arithmetic the curve runs on: libsecp256k1 if it is there, else plain Python.

Both give the same answers; the tests hold them against each other.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any, Protocol, final
from warnings import catch_warnings, simplefilter, warn

from . import _curve


class Curve(Protocol):
    """ECDSA over secp256k1 on bytes."""

    def recover(
        self, digest: bytes, signature: bytes, recovery_id: int, /
    ) -> bytes | None:
        """The compressed public key that made this signature, if there is one."""
        ...

    def verify(self, public_key: bytes, digest: bytes, signature: bytes, /) -> bool:
        """Whether this key made this signature, which must be low-S."""
        ...

    def is_public_key(self, public_key: bytes, /) -> bool:
        """Whether 33 bytes are a compressed point of the curve."""
        ...

    def sign(self, private_key: bytes, digest: bytes, /) -> tuple[bytes, int]:
        """A 64-byte low-S signature (RFC 6979) and its recovery id."""
        ...


@cache
def curve() -> Curve:
    """The faster of what this machine has."""
    try:
        # Its generated types lack a __module__, of which Python 3.12 and later warn.
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)
            import wallycore  # optional, and slow to load
        atexit.register(_let_it_end)
        return _Wally(wallycore)
    except (ImportError, AttributeError):  # missing, or something else by this name
        return _curve


def _let_it_end() -> None:
    # wallycore makes one more such type while the interpreter ends; where the warning
    # is an error (a test run), it crashes. Python then goes by the filters that it saw
    # last, so it is shown these. Can go when importing wallycore no longer warns.
    simplefilter("ignore", DeprecationWarning)
    warn("aurpay_async: end", DeprecationWarning, stacklevel=1)


def backend() -> str:
    """What verifies signatures here: ``"wallycore"`` or ``"python"``.

    .. versionadded:: 0.1.0
    """
    return "python" if curve() is _curve else "wallycore"


@final
class _Wally:
    """libsecp256k1, through Blockstream's libwally."""

    def __init__(self, wally: Any) -> None:  # noqa: ANN401 - it has no types
        self._recover = wally.ec_sig_to_public_key
        self._verify = wally.ec_sig_verify
        self._is_public_key = wally.ec_public_key_verify
        self._sign = wally.ec_sig_from_bytes
        self._ecdsa = wally.EC_FLAG_ECDSA
        self._recoverable = wally.EC_FLAG_ECDSA | wally.EC_FLAG_RECOVERABLE

    def recover(
        self, digest: bytes, signature: bytes, recovery_id: int, /
    ) -> bytes | None:
        try:
            # The header byte of Bitcoin's signed messages: 27 + id, + 4 if compressed.
            header = bytes([31 + recovery_id])
            return bytes(self._recover(digest, header + signature))
        except ValueError:
            return None

    def verify(self, public_key: bytes, digest: bytes, signature: bytes, /) -> bool:
        try:
            self._verify(public_key, digest, self._ecdsa, signature)
        except ValueError:
            return False
        return True

    def is_public_key(self, public_key: bytes, /) -> bool:
        try:
            self._is_public_key(public_key)
        except ValueError:
            return False
        return True

    def sign(self, private_key: bytes, digest: bytes, /) -> tuple[bytes, int]:
        signature = bytes(self._sign(private_key, digest, self._recoverable))
        return signature[1:], signature[0] - 31
