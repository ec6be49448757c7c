"""Select the implementation of secp256k1: libsecp256k1, or plain Python without it.

The tests compare the results of both.
"""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any, Protocol, final
from warnings import catch_warnings, simplefilter, warn

from . import _ecdsa


class Curve(Protocol):
    """ECDSA over secp256k1 on bytes: the functions that `_ecdsa` describes."""

    def recover(self, digest: bytes, signature: bytes, /) -> bytes | bytearray: ...

    def verify(self, public_key: bytes, digest: bytes, signature: bytes, /) -> bool: ...

    def is_public_key(self, public_key: bytes, /) -> bool: ...

    def sign(self, private_key: bytes, digest: bytes, /) -> tuple[bytes, int]: ...


@cache
def curve() -> Curve:
    """Return the fastest installed implementation."""
    try:
        # Its generated types lack a __module__: Python 3.12 and later warn about it.
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)
            import wallycore  # optional, and slow to import
        atexit.register(_silence_shutdown_warning)
        return _WallyCurve(wallycore)
    except (ImportError, AttributeError):  # not installed, or another package
        return _ecdsa


def _silence_shutdown_warning() -> None:
    # wallycore creates one more such type at interpreter shutdown, and crashes if the
    # warning is an error (in a test run). Python then uses the filters of the last
    # warning, so one is issued here. Remove it when importing wallycore does not warn.
    simplefilter("ignore", DeprecationWarning)
    warn("aurpay_async: shutdown", DeprecationWarning, stacklevel=1)


def backend() -> str:
    """Return the library that verifies signatures: ``"wallycore"`` or ``"python"``."""
    return "python" if curve() is _ecdsa else "wallycore"


@final
class _WallyCurve:
    """secp256k1 by libsecp256k1, called through Blockstream's libwally (wallycore)."""

    def __init__(self, wally: Any) -> None:  # noqa: ANN401 - it has no types
        self.recover = wally.ec_sig_to_public_key
        self._verify = wally.ec_sig_verify
        self._is_public_key = wally.ec_public_key_verify
        self._sign = wally.ec_sig_from_bytes
        self._ecdsa = wally.EC_FLAG_ECDSA
        self._recoverable = wally.EC_FLAG_ECDSA | wally.EC_FLAG_RECOVERABLE

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
