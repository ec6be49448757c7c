"""The QR code of an invoice as SVG, where segno is installed."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO


def has_qr() -> bool:
    """Whether codes can be drawn here: segno is an extra."""
    return find_spec("segno") is not None


def draw(invoice: str) -> bytes:
    """The code that wallets scan, dark on light with the four modules around it.

    Upper-case, as BOLT #11 recommends for QR codes: that takes the alphanumeric mode.
    Slow (tens of milliseconds), so not on the loop.
    """
    import segno

    code = segno.make(f"lightning:{invoice}".upper(), error="l", micro=False)
    svg = BytesIO()
    code.save(svg, kind="svg", border=4, light="#fff", omitsize=True, xmldecl=False)
    return svg.getvalue()
