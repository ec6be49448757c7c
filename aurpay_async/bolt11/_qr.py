"""QR codes, drawn by segno (extra `qr`).

BOLT #11: a writer "SHOULD use upper case for QR codes (see BIP-0173)", which fits into
the compact alphanumeric mode; and "the current recommendation is to either use
'lightning:' as a prefix". The prefix stays in lower case, in a segment of its own:
"scheme matching in the Android framework is case-sensitive, unlike the formal RFC"
(``Intent.setData``), and so is that of some wallets.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segno import QRCode


def segments(invoice: str) -> tuple[str, str]:
    """Return the parts of an invoice's QR code."""
    return "lightning:", invoice.upper()


def make_code(*parts: str) -> QRCode:
    """Return a QR code with the lowest level of error correction, or a free higher one.

    It is shown on a screen, where larger modules are worth more.

    Raises:
        ImportError: segno is not installed.
        ValueError: no QR code holds so many characters.
    """
    try:
        import segno
    except ImportError as error:
        raise ImportError(
            "QR codes need segno: pip install 'aurpay-async[qr]'"
        ) from error
    make: Any = segno.make  # its annotations lack the list of segments
    code: QRCode = make([*parts], error="l", micro=False)
    return code


def render_svg(invoice: str) -> bytes:
    """Return the QR code of an invoice as an SVG without a size of its own."""
    return _render(invoice, kind="svg", light="#fff", omitsize=True, xmldecl=False)


def render_png(invoice: str, scale: int) -> bytes:
    """Return the QR code of an invoice as a PNG; `scale` is the pixels of a module."""
    return _render(invoice, kind="png", scale=scale)


def _render(invoice: str, **options: Any) -> bytes:  # noqa: ANN401 - of segno
    file = BytesIO()
    # The standard requires a border of four modules.
    make_code(*segments(invoice)).save(file, border=4, **options)
    return file.getvalue()
