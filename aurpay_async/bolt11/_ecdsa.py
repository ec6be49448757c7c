"""ECDSA over secp256k1 in plain Python, used if libsecp256k1 is not installed.

Verifying and recovering handle public data only, so nothing here is constant-time; sign
with published test keys only, never with a key that protects money.

Points are Jacobian ``(x, y, z)`` for ``(x/z**2, y/z**3)``, which avoids inversions;
a `z` of 0 is infinity. A sum of two multiples shares its doublings (Straus)
and writes both factors in windowed non-adjacent form, so that it needs few additions.
"""

from __future__ import annotations

import hmac
from functools import cache
from hashlib import sha256
from typing import Final

#: SEC 2, 2.4.1: y**2 = x**3 + 7 over the integers modulo P; G generates order N.
P: Final = 2**256 - 2**32 - 977
N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G: Final = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
    1,
)

_Point = tuple[int, int, int]
_INFINITY: Final[_Point] = (1, 1, 0)

#: Window widths: the odd multiples of G are cached, those of another point are not.
_G_WIDTH: Final = 8
_WIDTH: Final = 5


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the compressed public key of a 65-byte signature (SEC 1, 4.1.6).

    The first byte is 31 + the recovery id, which selects one of the points with this
    ``r``.

    Raises:
        ValueError: if there is no key.
    """
    recovery_id = signature[0] - 31
    r, s = int.from_bytes(signature[1:33]), int.from_bytes(signature[33:])
    x = r + N * (recovery_id >> 1)
    is_valid = 0 < r < N and 0 < s < N and x < P
    point = _lift(x, odd=recovery_id & 1) if is_valid else None
    if point is None:
        raise ValueError("r or s is invalid")
    inverse = pow(r, -1, N)
    z = int.from_bytes(digest)
    key = _multiply_two(-z * inverse % N, point, s * inverse % N)
    if not key[2]:
        raise ValueError("the key is infinity")
    return _compress(key)


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Verify a 64-byte low-S signature with a public key (SEC 1, 4.1.4)."""
    point = _decompress(public_key)
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    # libsecp256k1 rejects high-S as well: such a signature was altered.
    if point is None or not (0 < r < N and 0 < s <= N // 2):
        return False
    inverse = pow(s, -1, N)
    z = int.from_bytes(digest)
    result = _multiply_two(z * inverse % N, point, r * inverse % N)
    return result[2] != 0 and _affine(result)[0] % N == r


def is_public_key(public_key: bytes) -> bool:
    """Return whether 33 bytes are a compressed point of the curve."""
    return _decompress(public_key) is not None


def sign(private_key: bytes, digest: bytes) -> tuple[bytes, int]:
    """Return a 64-byte low-S signature (nonce of RFC 6979) and its recovery id."""
    key, z = int.from_bytes(private_key), int.from_bytes(digest)
    nonce = _nonce(private_key, digest)
    x, y = _affine(_multiply_two(nonce, _G, 0))
    r = x % N
    s = pow(nonce, -1, N) * (z + r * key) % N
    recovery_id = (x >= N) << 1 | y & 1
    if s > N // 2:
        s, recovery_id = N - s, recovery_id ^ 1
    return r.to_bytes(32) + s.to_bytes(32), recovery_id


def is_private_key(private_key: bytes) -> bool:
    return len(private_key) == 32 and 0 < int.from_bytes(private_key) < N


def public_key(private_key: bytes) -> bytes:
    return _compress(_multiply_two(int.from_bytes(private_key), _G, 0))


def _nonce(private_key: bytes, digest: bytes) -> int:
    """Return the nonce of RFC 6979, 3.2, with SHA-256."""
    reduced = (int.from_bytes(digest) % N).to_bytes(32)
    key, value = bytes(32), b"\x01" * 32
    for separator in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + separator + private_key + reduced, sha256)
        value = hmac.digest(key, value, sha256)
    while True:
        value = hmac.digest(key, value, sha256)
        candidate = int.from_bytes(value)
        if 0 < candidate < N:
            return candidate
        key = hmac.digest(key, value + b"\x00", sha256)
        value = hmac.digest(key, value, sha256)


def _lift(x: int, *, odd: int) -> _Point | None:
    square = (x * x * x + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        return None
    return x, y if y & 1 == odd else P - y, 1


def _decompress(public_key: bytes) -> _Point | None:
    if len(public_key) != 33 or public_key[0] not in {2, 3}:
        return None
    x = int.from_bytes(public_key[1:])
    return _lift(x, odd=public_key[0] & 1) if x < P else None


def _compress(point: _Point) -> bytes:
    x, y = _affine(point)
    return bytes([2 + (y & 1)]) + x.to_bytes(32)


def _affine(point: _Point) -> tuple[int, int]:
    x, y, z = point
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def _double(point: _Point) -> _Point:
    # No point of this curve has y = 0, so only infinity doubles to infinity.
    x, y, z = point
    yy = y * y % P
    s = 4 * x * yy % P
    m = 3 * x * x % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def _add(left: _Point, right: _Point) -> _Point:
    """Return the sum of two points; `right` is not infinity."""
    x1, y1, z1 = left
    if not z1:
        return right
    x2, y2, z2 = right
    zz1 = z1 * z1 % P
    if z2 == 1:  # the cached multiples of G are affine
        u1, s1 = x1, y1
    else:
        zz2 = z2 * z2 % P
        u1, s1 = x1 * zz2 % P, y1 * zz2 * z2 % P
    h = (x2 * zz1 - u1) % P
    r = (y2 * zz1 * z1 - s1) % P
    if not h:
        return _INFINITY if r else _double(left)
    hh = h * h % P
    hhh = h * hh % P
    v = u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, h * z1 * z2 % P


def _multiply_two(base_factor: int, point: _Point, factor: int) -> _Point:
    """Return ``base_factor * G + factor * point``."""
    base_digits, base_table = _naf(base_factor, _G_WIDTH), _base_table()
    digits, table = _naf(factor, _WIDTH), _odd_multiples(point, _WIDTH)
    result = _INFINITY
    for index in range(max(len(base_digits), len(digits)) - 1, -1, -1):
        result = _double(result)
        if index < len(digits) and (digit := digits[index]):
            result = _add(result, _signed(table, digit))
        if index < len(base_digits) and (digit := base_digits[index]):
            result = _add(result, _signed(base_table, digit))
    return result


def _signed(table: list[_Point], digit: int) -> _Point:
    x, y, z = table[abs(digit) >> 1]
    return (x, y, z) if digit > 0 else (x, P - y, z)


def _naf(factor: int, width: int) -> list[int]:
    """Return the windowed non-adjacent form of `factor`, lowest digit first."""
    digits: list[int] = []
    modulus = 1 << width
    while factor:
        digit = 0
        if factor & 1:
            digit = factor % modulus
            if digit >= modulus >> 1:
                digit -= modulus
            factor -= digit
        digits.append(digit)
        factor >>= 1
    return digits


def _odd_multiples(point: _Point, width: int) -> list[_Point]:
    twice = _double(point)
    multiples = [point]
    for _ in range((1 << width - 2) - 1):
        multiples.append(_add(twice, multiples[-1]))
    return multiples


@cache
def _base_table() -> list[_Point]:
    return [(*_affine(point), 1) for point in _odd_multiples(_G, _G_WIDTH)]
