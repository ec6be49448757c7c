"""ECDSA in plain Python against libsecp256k1, and edge cases of the group."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.bolt11 import _ecdsa, _secp256k1

from ..conftest import examples
from .builder import KEY, PAYEE

if TYPE_CHECKING:
    from aurpay_async.bolt11._secp256k1 import Curve

DIGEST = sha256(b"an invoice").digest()

private_keys = st.integers(1, _ecdsa.N - 1).map(lambda key: key.to_bytes(32))
digests = st.binary(min_size=32, max_size=32)


@pytest.fixture
def fast() -> Curve:
    pytest.importorskip("wallycore")
    return _secp256k1.curve()


def test_libsecp256k1_is_used_if_it_is_installed() -> None:
    pytest.importorskip("wallycore")
    assert _secp256k1.backend() == "wallycore"


@pytest.mark.parametrize("module", [None, ModuleType("wallycore")])
def test_plain_python_is_used_if_wallycore_is_missing_or_another_package(
    module: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wallycore", module)
    _secp256k1.curve.cache_clear()
    try:
        assert _secp256k1.backend() == "python"
    finally:
        _secp256k1.curve.cache_clear()


@pytest.mark.slow
def test_a_program_that_makes_warnings_errors_exits_with_0() -> None:
    """Here wallycore 1.5 crashes at shutdown if the last warning was an error."""
    code = """
import warnings
from aurpay_async import bolt11
print(bolt11.backend())
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        warnings.warn("x", DeprecationWarning)
    except DeprecationWarning:
        pass
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


def recover(
    curve: Curve, digest: bytes, signature: bytes, recovery_id: int
) -> bytes | None:
    """Return the public key that signed, if there is one."""
    try:
        return bytes(curve.recover(digest, bytes([31 + recovery_id]) + signature))
    except ValueError:
        return None


def test_the_published_key_of_bolt_11_signs_verifies_and_is_recovered(
    curve: Curve,
) -> None:
    assert _ecdsa.public_key(KEY).hex() == PAYEE
    signature, recovery_id = curve.sign(KEY, DIGEST)
    assert recover(curve, DIGEST, signature, recovery_id) == bytes.fromhex(PAYEE)
    assert curve.verify(bytes.fromhex(PAYEE), DIGEST, signature)


@examples(10)
@given(private_keys, digests)
def test_plain_python_signs_like_libsecp256k1(key: bytes, digest: bytes) -> None:
    pytest.importorskip("wallycore")
    plain = _ecdsa.sign(key, digest)
    assert plain == _secp256k1.curve().sign(key, digest)
    assert int.from_bytes(plain[0][32:]) <= _ecdsa.N // 2


@examples(20)
@given(digests, st.binary(min_size=64, max_size=64), st.integers(0, 3))
def test_plain_python_recovers_keys_like_libsecp256k1(
    digest: bytes, signature: bytes, recovery_id: int
) -> None:
    pytest.importorskip("wallycore")
    plain = recover(_ecdsa, digest, signature, recovery_id)
    fast = recover(_secp256k1.curve(), digest, signature, recovery_id)
    assert plain == fast


@examples(6)
@given(private_keys, digests, st.integers(0, 511))
def test_plain_python_verifies_like_libsecp256k1(
    key: bytes, digest: bytes, flipped: int
) -> None:
    pytest.importorskip("wallycore")
    fast = _secp256k1.curve()
    public_key = _ecdsa.public_key(key)
    signature, _ = _ecdsa.sign(key, digest)
    assert _ecdsa.verify(public_key, digest, signature)
    assert fast.verify(public_key, digest, signature)
    turned = (int.from_bytes(signature) ^ 1 << flipped).to_bytes(64)
    assert not _ecdsa.verify(public_key, digest, turned)
    assert not fast.verify(public_key, digest, turned)


@given(st.binary(min_size=33, max_size=33), st.sampled_from([None, 2, 3]))
def test_plain_python_validates_public_keys_like_libsecp256k1(
    raw: bytes, parity: int | None
) -> None:
    pytest.importorskip("wallycore")
    key = raw if parity is None else bytes([parity]) + raw[1:]
    assert _ecdsa.is_public_key(key) == _secp256k1.curve().is_public_key(key)


def test_a_nonce_out_of_range_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6979, 3.2 h: the group order is made smaller, so that it happens often."""
    import hmac

    small = 1 << 250
    monkeypatch.setattr(_ecdsa, "N", small)
    for number in range(1, 20):
        key = number.to_bytes(32)
        hashed = (int.from_bytes(DIGEST) % small).to_bytes(32)
        k, v = bytes(32), b"\1" * 32
        for separator in (b"\0", b"\1"):
            k = hmac.digest(k, v + separator + key + hashed, "sha256")
            v = hmac.digest(k, v, "sha256")
        while int.from_bytes(v := hmac.digest(k, v, "sha256")) >= small:
            k = hmac.digest(k, v + b"\0", "sha256")
            v = hmac.digest(k, v, "sha256")
        assert _ecdsa._nonce(key, DIGEST) == int.from_bytes(v)


ZERO, ONE = bytes(32), (1).to_bytes(32)
ORDER = _ecdsa.N.to_bytes(32)
FIELD = _ecdsa.P.to_bytes(32)


@pytest.mark.parametrize(
    ("signature", "recovery_id"),
    [
        (ZERO + ONE, 0),
        (ONE + ZERO, 0),
        (ORDER + ONE, 0),
        (ONE + ORDER, 0),
        ((5).to_bytes(32) + ONE, 0),  # no point of the curve has x = 5
        ((_ecdsa.P - _ecdsa.N).to_bytes(32) + ONE, 2),  # r + N is P, no coordinate
        ((2**256 - _ecdsa.N - 1).to_bytes(32) + ONE, 2),  # r + N is above P
    ],
)
def test_no_key_is_recovered_from_an_impossible_signature(
    signature: bytes, recovery_id: int, curve: Curve
) -> None:
    assert recover(curve, DIGEST, signature, recovery_id) is None
    assert not curve.verify(bytes.fromhex(PAYEE), DIGEST, signature)


def test_no_key_is_recovered_if_it_would_be_the_point_at_infinity(curve: Curve) -> None:
    x = int("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", 16)
    digest = (7).to_bytes(32)
    signature = x.to_bytes(32) + digest
    assert recover(curve, digest, signature, 0) is None


def test_a_key_is_recovered_if_the_x_coordinate_exceeds_the_group_order(
    curve: Curve,
) -> None:
    # Both 2 and 2 + N are x coordinates: four points, and so four keys.
    signature = (2).to_bytes(32) + ONE
    keys = [recover(curve, DIGEST, signature, i) for i in range(4)]
    assert None not in keys
    assert len(set(keys)) == 4
    assert curve.verify(keys[2] or b"", DIGEST, signature)


def test_a_high_s_signature_is_not_valid(curve: Curve) -> None:
    signature, _ = curve.sign(KEY, DIGEST)
    negated_s = (_ecdsa.N - int.from_bytes(signature[32:])).to_bytes(32)
    assert not curve.verify(bytes.fromhex(PAYEE), DIGEST, signature[:32] + negated_s)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\x02" + ZERO,
        b"\x04" + bytes.fromhex(PAYEE)[1:],
        b"\x02" + FIELD,
        b"\x02" + (5).to_bytes(32),
        bytes.fromhex(PAYEE) + b"\x00",
    ],
)
def test_invalid_public_keys_are_rejected(key: bytes, curve: Curve) -> None:
    assert not curve.is_public_key(key)
    assert not curve.verify(key, DIGEST, ONE + ONE)


@pytest.mark.parametrize("key", [ZERO, ORDER, b"", KEY + b"\x00"])
def test_invalid_private_keys_are_rejected(key: bytes) -> None:
    assert not _ecdsa.is_private_key(key)


def test_a_point_can_be_added_to_itself_and_to_its_opposite() -> None:
    generator = _ecdsa._G
    twice = _ecdsa._add(generator, generator)
    assert _ecdsa._affine(twice) == _ecdsa._affine(_ecdsa._double(generator))
    x, y, z = generator
    assert _ecdsa._add(generator, (x, _ecdsa.P - y, z)) == _ecdsa._INFINITY
    assert _ecdsa._double(_ecdsa._INFINITY)[2] == 0


@examples(5)
@given(st.integers(0, _ecdsa.N - 1), st.integers(0, _ecdsa.N - 1))
def test_a_sum_of_two_multiples_equals_the_multiple_of_the_sum(
    first: int, second: int
) -> None:
    """Check a * G + b * G against (a + b) * G, computed from different digits."""
    generator = _ecdsa._G
    once = _ecdsa._multiply_two(first, generator, second)
    other = _ecdsa._multiply_two((first + second) % _ecdsa.N, generator, 0)
    assert once[2] == other[2] == 0 or _ecdsa._affine(once) == _ecdsa._affine(other)
