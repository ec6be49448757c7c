"""Decompress a response body, up to `MAX_BODY` bytes.

Gateways compress unasked, and label what they did not compress. A
label is believed where the body is what it says; else a body that begins as JSON does
is taken as it came. Whether it is JSON, and says anything, is decided elsewhere.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from ..errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

#: At most this much of an answer is held, unpacked; documented ones have under 20 KiB.
MAX_BODY: Final = 1024 * 1024

#: Encodings one over the other, and members of one gzip stream; two of each are known.
_MAX_LAYERS: Final = 4
_MAX_MEMBERS: Final = 16

#: For each encoding, the formats to try, as zlib numbers them: 32 is gzip or zlib by
#: its header. "deflate" is zlib by RFC 9110, 8.4.1.2, and raw where it is misread.
_FORMATS: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": (zlib.MAX_WBITS | 32,),
    "x-gzip": (zlib.MAX_WBITS | 32,),
    "deflate": (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS),
}


def unpack(packed: bytes, encoding: str) -> tuple[bytes, str | None]:
    """The first `MAX_BODY` bytes of a body, and what is wrong with it.

    Args:
        packed: What came, or the beginning of it.
        encoding: The answer's ``Content-Encoding``. Asked for nothing packed, some
            gateways pack all the same.
    """
    body, body_error = _unpack_layers(packed, encoding) if encoding else (packed, None)
    if len(body) > MAX_BODY:
        return body[:MAX_BODY], f"is longer than {MAX_BODY} bytes"
    return body, body_error


def _unpack_layers(body: bytes, encoding: str) -> tuple[bytes, str | None]:
    names = [name.strip().lower() for name in encoding.split(",")]
    layers = [name for name in reversed(names) if name not in {"", "identity"}]
    if len(layers) > _MAX_LAYERS:
        return body, f"is packed {len(layers)} times"
    for name in layers:
        unpacked, whole = _inflate(body, _FORMATS.get(name, ()))
        if whole:
            body = unpacked
        elif _begins_as_json(body):
            continue
        elif name in _FORMATS:
            return unpacked, f"is not the {name} it says it is"
        else:
            return body, f"is packed with {shown(name)}, which was not asked for"
    return body, None


def _inflate(packed: bytes, formats: tuple[int, ...]) -> tuple[bytes, bool]:
    """What can be unpacked, and whether that is all of it, or too much."""
    best = b""
    for wbits in formats:
        body, whole = _inflate_members(packed, wbits)
        if whole:
            return body, True
        best = best or body
    return best, False


def _inflate_members(packed: bytes, wbits: int) -> tuple[bytes, bool]:
    body = b""
    for _ in range(_MAX_MEMBERS):
        unpacker = zlib.decompressobj(wbits)
        try:
            body += unpacker.decompress(packed, MAX_BODY + 1 - len(body))
        except zlib.error:
            return body, False
        if len(body) > MAX_BODY:
            return body, True
        # What follows a whole stream, and is none, is padding.
        packed = unpacker.unused_data
        if not unpacker.eof or not packed.startswith(b"\x1f\x8b"):
            return body, unpacker.eof
    return body, False


def _begins_as_json(body: bytes) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
