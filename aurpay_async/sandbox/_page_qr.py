"""The QR code of an invoice as SVG, where segno is installed."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO


def can_render_qr() -> bool:
    """Return whether QR codes can be rendered: segno is an optional dependency."""
    return find_spec("segno") is not None


def render_qr(invoice: str) -> bytes:
    """Render the QR code of an invoice, dark on light, with a border of four modules.

    Upper-case, as BOLT #11 recommends: this allows the compact alphanumeric mode. It
    takes tens of milliseconds, so call it outside the event loop.
    """
    import segno

    code = segno.make(f"lightning:{invoice}".upper(), error="l", micro=False)
    svg = BytesIO()
    code.save(svg, kind="svg", border=4, light="#fff", omitsize=True, xmldecl=False)
    return svg.getvalue()
